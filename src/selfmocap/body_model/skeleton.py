"""Names of joints and keypoints, and the relations between keypoint sets. No other module has joint indices."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
"""The 24 joints of SMPL in SMPL's order; joint 0 is the root."""

JOINT_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)

JOINT = {name: index for index, name in enumerate(JOINT_NAMES)}

HAND_SIDES = ("left", "right")
"""The order of a person's hands."""

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
"""The fingers in SMPL-H's order."""

FINGER_JOINT_NAMES = tuple(f"{s}_{finger}{n}" for s in HAND_SIDES for finger in FINGERS for n in (1, 2, 3))
"""The 30 finger joints in SMPL-H's order, from the palm to the tip. They follow SMPL's 24 joints in a body with
fingers."""

ALL_JOINT_NAMES = JOINT_NAMES + FINGER_JOINT_NAMES

ALL_JOINT_PARENTS = JOINT_PARENTS + tuple(
    JOINT[f"{name.split('_')[0]}_hand"] if name.endswith("1") else len(JOINT_NAMES) + row - 1
    for row, name in enumerate(FINGER_JOINT_NAMES)
)
"""Parents of the joints of a body with fingers; the first joint of each finger is a child of the hand."""

ALL_JOINTS = {name: index for index, name in enumerate(ALL_JOINT_NAMES)}


def mirrored_name(name: str) -> str:
    """Return the name of the same part on the other side of the person."""
    for side, other in (("left", "right"), ("right", "left")):
        if name.startswith(f"{side}_"):
            return other + name.removeprefix(side)
        if name.endswith(f"_{side}"):
            return name.removesuffix(side) + other
    return name


def mirror_permutation(names: tuple[str, ...]) -> tuple[int, ...]:
    """Return for each name the index of its mirrored name."""
    return tuple(names.index(mirrored_name(name)) for name in names)


JOINT_MIRROR = mirror_permutation(JOINT_NAMES)


@dataclass(frozen=True)
class KeypointSet:
    """An ordered set of keypoints of a detector or a data set."""

    name: str
    names: tuple[str, ...]
    """Unique keypoint names; left and right are the person's."""
    landmarks: tuple[tuple[str, ...], ...]
    """The body landmarks whose mean is each keypoint. Names of joints end in `_joint`; other landmarks are on the
    surface: a detector's hip is up to 3 cm from the hip joint."""
    parents: tuple[int, ...]
    """For drawing: the keypoint that each is connected to, or -1."""

    @cached_property
    def mirror(self) -> tuple[int, ...]:
        """For each keypoint the index of its mirror image."""
        return mirror_permutation(self.names)

    def index(self, name: str) -> int:
        """Return the index of a keypoint."""
        return self.names.index(name)

    def indices_in(self, source: "KeypointSet") -> tuple[int | None, ...]:
        """Return for each keypoint of this set the index of the keypoint of `source` with the same landmarks.

        None if `source` has no such keypoint; a joint never replaces a surface point."""
        where = {landmarks: index for index, landmarks in enumerate(source.landmarks)}
        return tuple(where.get(landmarks) for landmarks in self.landmarks)


def _keypoint_set(name: str, *rows: tuple[str, str, str]) -> KeypointSet:
    names = tuple(row[0] for row in rows)
    return KeypointSet(
        name=name,
        names=names,
        landmarks=tuple(tuple(row[1].split("+")) for row in rows),
        parents=tuple(names.index(row[2]) if row[2] else -1 for row in rows),
    )


_COCO_PARENTS = {
    "nose": "", "left_eye": "nose", "right_eye": "nose", "left_ear": "left_eye", "right_ear": "right_eye",
    "left_shoulder": "nose", "right_shoulder": "nose", "left_elbow": "left_shoulder",
    "right_elbow": "right_shoulder", "left_wrist": "left_elbow", "right_wrist": "right_elbow",
    "left_hip": "left_shoulder", "right_hip": "right_shoulder", "left_knee": "left_hip", "right_knee": "right_hip",
    "left_ankle": "left_knee", "right_ankle": "right_knee",
}  # fmt: skip
_FOOT_PARENTS = {
    "left_big_toe": "left_ankle", "left_small_toe": "left_big_toe", "left_heel": "left_ankle",
    "right_big_toe": "right_ankle", "right_small_toe": "right_big_toe", "right_heel": "right_ankle",
}  # fmt: skip
_COCO_23 = tuple((name, name, parent) for name, parent in (_COCO_PARENTS | _FOOT_PARENTS).items())

_MEDIAPIPE_ORDER = (
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
).split()
_MEDIAPIPE_PARENTS = _COCO_PARENTS | {
    "left_eye_inner": "nose", "left_eye": "left_eye_inner", "left_eye_outer": "left_eye",
    "left_ear": "left_eye_outer", "right_eye_inner": "nose", "right_eye": "right_eye_inner",
    "right_eye_outer": "right_eye", "right_ear": "right_eye_outer", "mouth_left": "mouth_right",
    "mouth_right": "nose", "left_pinky": "left_wrist", "right_pinky": "right_wrist", "left_index": "left_wrist",
    "right_index": "right_wrist", "left_thumb": "left_wrist", "right_thumb": "right_wrist",
    "left_heel": "left_ankle", "right_heel": "right_ankle", "left_foot_index": "left_heel",
    "right_foot_index": "right_heel",
}  # fmt: skip
_MEDIAPIPE_LANDMARKS = {"left_foot_index": "left_big_toe", "right_foot_index": "right_big_toe"}

_BODY_25 = (
    ("nose", "nose", "neck"), ("neck", "left_shoulder+right_shoulder", "mid_hip"),
    ("right_shoulder", "right_shoulder", "neck"), ("right_elbow", "right_elbow", "right_shoulder"),
    ("right_wrist", "right_wrist", "right_elbow"), ("left_shoulder", "left_shoulder", "neck"),
    ("left_elbow", "left_elbow", "left_shoulder"), ("left_wrist", "left_wrist", "left_elbow"),
    ("mid_hip", "left_hip+right_hip", ""), ("right_hip", "right_hip", "mid_hip"),
    ("right_knee", "right_knee", "right_hip"), ("right_ankle", "right_ankle", "right_knee"),
    ("left_hip", "left_hip", "mid_hip"), ("left_knee", "left_knee", "left_hip"),
    ("left_ankle", "left_ankle", "left_knee"), ("right_eye", "right_eye", "nose"), ("left_eye", "left_eye", "nose"),
    ("right_ear", "right_ear", "right_eye"), ("left_ear", "left_ear", "left_eye"),
    ("left_big_toe", "left_big_toe", "left_ankle"), ("left_small_toe", "left_small_toe", "left_big_toe"),
    ("left_heel", "left_heel", "left_ankle"), ("right_big_toe", "right_big_toe", "right_ankle"),
    ("right_small_toe", "right_small_toe", "right_big_toe"), ("right_heel", "right_heel", "right_ankle"),
)  # fmt: skip

_HUMAN36M_17 = (
    ("pelvis", "pelvis_joint", ""), ("right_hip", "right_hip_joint", "pelvis"),
    ("right_knee", "right_knee_joint", "right_hip"), ("right_ankle", "right_ankle_joint", "right_knee"),
    ("left_hip", "left_hip_joint", "pelvis"), ("left_knee", "left_knee_joint", "left_hip"),
    ("left_ankle", "left_ankle_joint", "left_knee"), ("spine", "spine2_joint", "pelvis"),
    ("thorax", "neck_joint", "spine"), ("neck", "head_joint", "thorax"), ("head", "head_top", "neck"),
    ("left_shoulder", "left_shoulder_joint", "thorax"), ("left_elbow", "left_elbow_joint", "left_shoulder"),
    ("left_wrist", "left_wrist_joint", "left_elbow"), ("right_shoulder", "right_shoulder_joint", "thorax"),
    ("right_elbow", "right_elbow_joint", "right_shoulder"), ("right_wrist", "right_wrist_joint", "right_elbow"),
)  # fmt: skip

_LSP_14 = (
    ("right_ankle", "right_ankle_joint", "right_knee"), ("right_knee", "right_knee_joint", "right_hip"),
    ("right_hip", "right_hip_joint", "neck"), ("left_hip", "left_hip_joint", "neck"),
    ("left_knee", "left_knee_joint", "left_hip"), ("left_ankle", "left_ankle_joint", "left_knee"),
    ("right_wrist", "right_wrist_joint", "right_elbow"), ("right_elbow", "right_elbow_joint", "right_shoulder"),
    ("right_shoulder", "right_shoulder_joint", "neck"), ("left_shoulder", "left_shoulder_joint", "neck"),
    ("left_elbow", "left_elbow_joint", "left_shoulder"), ("left_wrist", "left_wrist_joint", "left_elbow"),
    ("neck", "neck_joint", ""), ("head_top", "head_top", "neck"),
)  # fmt: skip

_SMPL_24 = tuple(
    (name, f"{name}_joint", JOINT_NAMES[parent] if parent >= 0 else "")
    for name, parent in zip(JOINT_NAMES, JOINT_PARENTS, strict=True)
)

KEYPOINT_SETS = {
    keypoint_set.name: keypoint_set
    for keypoint_set in (
        _keypoint_set("smpl-24", *_SMPL_24),
        _keypoint_set("coco-17", *((name, name, parent) for name, parent in _COCO_PARENTS.items())),
        _keypoint_set("coco-23", *_COCO_23),
        _keypoint_set(
            "coco-23+smpl-24",
            *_COCO_23,
            *((head, head, f"{parent}_joint" if parent else "left_hip") for _, head, parent in _SMPL_24),
        ),
        _keypoint_set(
            "mediapipe-33",
            *(
                (name, _MEDIAPIPE_LANDMARKS.get(name, name), _MEDIAPIPE_PARENTS[name])
                for name in _MEDIAPIPE_ORDER
            ),
        ),
        _keypoint_set("body-25", *_BODY_25),
        _keypoint_set("human36m-17", *_HUMAN36M_17),
        _keypoint_set("lsp-14", *_LSP_14),
    )
}
"""Keypoint sets by name. `coco-23` (COCO-17 with toes and heels) is the input of the networks; `coco-23+smpl-24`, which
includes the body's joints, is available for synthetic people only."""

_HAND_ORDER = (
    "wrist thumb_cmc thumb_mcp thumb_ip thumb_tip index_mcp index_pip index_dip index_tip middle_mcp middle_pip "
    "middle_dip middle_tip ring_mcp ring_pip ring_dip ring_tip pinky_mcp pinky_pip pinky_dip pinky_tip"
).split()
HAND_KEYPOINTS = _keypoint_set(
    "hand-21",
    ("wrist", "wrist", ""),
    *(
        (name, name, former if former.split("_")[0] == name.split("_")[0] else "wrist")
        for former, name in pairwise(_HAND_ORDER)
    ),
)
"""The keypoints of a hand in MediaPipe's order: the wrist, then three joints of each finger (cmc, mcp, ip of the
thumb, mcp, pip, dip of the others) and its tip. Not one of KEYPOINT_SETS, which are those of whole bodies."""

DEFAULT_KEYPOINTS = KEYPOINT_SETS["coco-23"]
WITH_JOINTS = KEYPOINT_SETS["coco-23+smpl-24"]


def keypoint_set(name: str) -> KeypointSet:
    """Return the keypoint set of a name. Raises ValueError that lists the names for an unknown one."""
    if name not in KEYPOINT_SETS:
        raise ValueError(f"no keypoint set {name!r}; choose from {', '.join(KEYPOINT_SETS)}")
    return KEYPOINT_SETS[name]
