"""SMPL's 24 joints over anny's bones, the T-pose, forward kinematics and linear blend skinning."""

import numpy as np
from scipy.spatial.transform import Rotation

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
PARENTS = np.array([-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21])
JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}
_OTHER_SIDE = {"left": "right", "right": "left"}
JOINT_MIRROR = np.array(
    [JOINT["_".join(_OTHER_SIDE.get(word, word) for word in name.split("_"))] for name in JOINT]
)
"""Each joint's counterpart on the other side."""

BONES_OF_JOINT = {
    "pelvis": ("root", "pelvis", "spine05"), "spine1": ("spine04", "spine03"), "spine2": ("spine02",),
    "spine3": ("spine01",), "neck": ("neck",), "head": ("head", "eye"), "collar": ("clavicle", "shoulder01"),
    "shoulder": ("upperarm",), "elbow": ("lowerarm",), "wrist": ("wrist", "metacarpal"), "hand": ("finger",),
    "hip": ("upperleg",), "knee": ("lowerleg",), "ankle": ("foot",), "foot": ("toe",),
}  # fmt: skip
"""The bones (by the beginning of their names) that rotate with each joint; the first is the joint's position."""

FOOT_YAW = np.deg2rad(5.0)
"""Angle by which the feet of the T-pose point outwards."""


def joint_of_bones(bone_names: tuple[str, ...]) -> np.ndarray:
    """Return (B,) the joint that each bone rotates with."""
    side = {"L": "left_", "R": "right_"}
    owner = {prefix: joint for joint, prefixes in BONES_OF_JOINT.items() for prefix in prefixes}
    joints = []
    for name in bone_names:
        joint = owner[max((prefix for prefix in owner if name.startswith(prefix)), key=len)]
        joints.append(JOINT[joint] if joint in JOINT else JOINT[side[name[-1]] + joint])
    return np.array(joints)


def joint_heads(bone_names: tuple[str, ...]) -> np.ndarray:
    """Return (24, B) joints as means of bone heads: hands of four knuckles, feet of the toes' bases, else one bone."""
    matrix = np.zeros((len(JOINT_NAMES), len(bone_names)))
    joints = joint_of_bones(bone_names)
    for index, joint in enumerate(JOINT_NAMES):
        if joint.endswith("_hand"):
            bones = [
                b
                for b in np.flatnonzero(joints == index)
                if bone_names[b][6:9] in ("2-1", "3-1", "4-1", "5-1")
            ]
        elif joint.endswith("_foot"):
            bones = [b for b in np.flatnonzero(joints == index) if bone_names[b][4:6] == "-1"]
        else:
            bones = [np.flatnonzero(joints == index)[0]]
        matrix[index, bones] = 1 / len(bones)
    return matrix


def swing(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Compute the smallest rotations (..., 3, 3) from directions `start` (..., 3) to `end` (not opposite)."""
    a = start / np.linalg.norm(start, axis=-1, keepdims=True)
    b = np.broadcast_to(end / np.linalg.norm(end, axis=-1, keepdims=True), a.shape)
    both = (a + b)[..., :, None]
    cosine = (a * b).sum(-1)[..., None, None]
    return np.eye(3) - both @ np.swapaxes(both, -1, -2) / (1 + cosine) + 2 * b[..., :, None] * a[..., None, :]


def apply(rotations: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Multiply (..., 3, 3) by (..., 3)."""
    return (rotations @ vectors[..., None])[..., 0]


def t_pose_rotations(heads: np.ndarray, bone_names: tuple[str, ...]) -> np.ndarray:
    """Convert bone heads (N, B, 3) in MakeHuman's A-pose to the world rotation (N, 24, 3, 3) of each joint into the
    T-pose: arms along x, palms down, legs vertical, soles level, feet `FOOT_YAW` outwards; trunk, collars and
    head as is."""
    rotations = np.broadcast_to(np.eye(3), (len(heads), len(JOINT_NAMES), 3, 3)).copy()
    at = dict(zip(bone_names, np.moveaxis(heads, 1, 0), strict=True))
    joints = np.moveaxis(joint_heads(bone_names) @ heads, 1, 0)
    down = np.array([0.0, -1.0, 0.0])
    for side, suffix, sign in (("left", "L", 1.0), ("right", "R", -1.0)):
        position = {
            name.removeprefix(f"{side}_"): joints[JOINT[name]] for name in JOINT if name.startswith(side)
        }
        outwards = np.array([sign, 0.0, 0.0])
        upper_arm = swing(position["elbow"] - position["shoulder"], outwards)
        forearm = swing(apply(upper_arm, position["wrist"] - position["elbow"]), outwards) @ upper_arm
        along = at[f"finger3-1.{suffix}"] - position["wrist"]
        across = at[f"finger2-1.{suffix}"] - at[f"finger5-1.{suffix}"]
        hand = np.swapaxes(_frame(along * sign, across), -1, -2)
        thigh = swing(position["knee"] - position["hip"], down)
        shin = swing(apply(thigh, position["ankle"] - position["knee"]), down) @ thigh
        toes = position["foot"] - position["ankle"]
        yaw = sign * FOOT_YAW - np.arctan2(toes[..., 0], toes[..., 2])
        foot = Rotation.from_rotvec(yaw[:, None] * np.array([0.0, 1.0, 0.0])).as_matrix()
        turned = {"shoulder": upper_arm, "elbow": forearm, "wrist": hand, "hand": hand,
                  "hip": thigh, "knee": shin, "ankle": foot, "foot": foot}  # fmt: skip
        for joint, rotation in turned.items():
            rotations[:, JOINT[f"{side}_{joint}"]] = rotation
    return rotations


def _frame(x: np.ndarray, near_z: np.ndarray) -> np.ndarray:
    """Compute frames (..., 3, 3), axes in columns: x is given, z is the nearest to `near_z`."""
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    y = np.cross(near_z, x)
    y /= np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], -1)


def posed_heads(heads: np.ndarray, rotations: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Compute forward kinematics: rest heads (N, J, 3) and world rotations (N, J, 3, 3) to posed heads; the root
    stays."""
    posed = np.empty(np.broadcast_shapes(heads.shape, rotations.shape[:-1]), rotations.dtype)
    posed[:, 0] = heads[:, 0]
    for joint, parent in enumerate(parents[1:], start=1):
        posed[:, joint] = posed[:, parent] + apply(rotations[:, parent], heads[:, joint] - heads[:, parent])
    return posed


def skinning_maps(heads: np.ndarray, rotations: np.ndarray, posed: np.ndarray) -> np.ndarray:
    """Compute (N, J, 3, 4): each joint's map x -> R x + t from the rest pose to the world."""
    return np.concatenate([rotations, (posed - apply(rotations, heads))[..., None]], -1)


def skin(vertices: np.ndarray, maps: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute linear blend skinning of (N, V, 3) vertices with (N, J, 3, 4) maps and (V, J) weights."""
    blended = (weights @ maps.reshape(*maps.shape[:2], 12)).reshape(len(maps), len(weights), 3, 4)
    return apply(blended[..., :3], vertices) + blended[..., 3]


def world_rotations(R_parent_joint: np.ndarray) -> np.ndarray:
    """Convert (N, 24, 3, 3) rotations relative to the parents to rotations in the world."""
    rotations = R_parent_joint.copy()
    for joint, parent in enumerate(PARENTS[1:], start=1):
        rotations[:, joint] = rotations[:, parent] @ R_parent_joint[:, joint]
    return rotations


def pose_features(R_parent_joint: np.ndarray) -> np.ndarray:
    """Compute (N, 207) SMPL's pose feature: R - I of joints 1 to 23, row by row."""
    return (R_parent_joint[:, 1:] - np.eye(3, dtype=R_parent_joint.dtype)).reshape(len(R_parent_joint), -1)
