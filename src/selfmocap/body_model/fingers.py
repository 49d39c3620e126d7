"""The fingers of the default body: 30 joints with their axes, limits and skinning, for a body that is asked for them.

The rotation of a finger joint is a product of three, about the joint's own axes: flexion towards the palm, spread
towards the little finger, twist about the finger. These three coordinates are equal for mirrored hands, and 0 in the
body's rest pose, a relaxed hand.
"""

import functools
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, PosedBody, ShapedBody
from selfmocap.body_model.skeleton import ALL_JOINT_NAMES, FINGER_JOINT_NAMES, FINGERS, HAND_SIDES, JOINT
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import shortest_arc
from selfmocap.io.npz import check_format, read_npz

FINGERS_FORMAT, FINGERS_VERSION = "selfmocap-fingers", 1
_KEYS = {"body_sha256", "J_template", "J_shapedirs", "vertices", "weights_joint", "weights", "tips"}

_FIXED = (0, 0)
_FINGER_LIMITS_DEG = ((-30, 95), (-20, 20), _FIXED), ((-5, 115), _FIXED, _FIXED), ((-15, 85), _FIXED, _FIXED)
_THUMB_LIMITS_DEG = (
    ((-35, 45), (-40, 40), (-30, 30)),
    ((-15, 70), _FIXED, _FIXED),
    ((-25, 85), _FIXED, _FIXED),
)
"""Ranges of the three joints from the palm to the tip, degrees: flexion from the straight finger, spread and twist from
the rest pose. From the norms of the American Academy of Orthopaedic Surgeons (flexion 90, 100 and 90; thumb 50 and 80),
somewhat widened."""


@dataclass(frozen=True, eq=False)
class FingerAnatomy:
    """The fingers of the default body in its rest pose and mean shape, in the order of FINGER_JOINT_NAMES."""

    joints: Float[Tensor, "30 3"]
    """In the axes of the body, metres."""
    tips: Float[Tensor, "10 3"]
    """The ends of the fingers on the skin, metres."""
    axes: Float[Tensor, "30 3 3"]
    """Axes of flexion, spread and twist of each joint, as columns."""
    low: Float[Tensor, "30 3"]
    """Lowest coordinates, radians."""
    high: Float[Tensor, "30 3"]
    """Highest coordinates, radians."""
    R_straight: Float[Tensor, "30 3 3"]
    """Rotation in the world, the wrist fixed, from the rest pose to straight fingers in the plane of the palm: the rest
    pose of SMPL-H."""


@functools.cache
def _arrays() -> dict[str, np.ndarray]:
    path = Path(str(files("selfmocap"))) / "assets" / "fingers.npz"
    arrays = read_npz(path)
    check_format(path, arrays, FINGERS_FORMAT, FINGERS_VERSION, _KEYS)
    return arrays


def _tip_vertices() -> Tensor:
    return torch.from_numpy(_arrays()["tips"].astype(np.int64))


def has_fingers(body: Body) -> bool:
    """Return whether `with_fingers` can be applied to a body: to the default body only."""
    return body.identity.endswith(f"sha256:{_arrays()['body_sha256']}")


def with_fingers(body: Body) -> Body:
    """Return the default body with 54 joints: its own 24, then FINGER_JOINT_NAMES, which share the hands' skin.

    While the fingers rest (identity), all vertices are where they are without finger joints. Raises ValueError for
    another body, or for the default body with some of its vertices only."""
    arrays, moved = _arrays(), torch.from_numpy(_arrays()["vertices"].astype(np.int64))
    if not has_fingers(body) or moved.max() >= len(body.vertex_joint) or len(body.weights) != len(JOINT):
        raise ValueError(
            f"expected the whole default body, which has fingers, found {body.identity.split()[0]} with "
            f"{len(body.vertex_joint)} vertices and {len(body.weights)} joints"
        )
    like, (joints, vertices) = body.weights, (len(FINGER_JOINT_NAMES), body.weights.shape[1])
    fractions = torch.zeros(joints, len(moved))
    rows = torch.from_numpy(arrays["weights_joint"].astype(np.int64)).T
    fractions.scatter_add_(0, rows, torch.from_numpy(arrays["weights"]).T)
    hands = [JOINT[f"{side}_hand"] for side in HAND_SIDES]
    weights = torch.cat([body.weights, like.new_zeros(joints, vertices)])
    moved = moved.to(like.device)
    weights[len(JOINT) :, moved] = fractions.to(like) * body.weights[hands][:, moved].sum(0)
    weights[hands] = 0
    shapedirs = torch.from_numpy(arrays["J_shapedirs"]).permute(2, 0, 1).flatten(1)
    return replace(
        body,
        J_template=torch.cat([body.J_template, torch.from_numpy(arrays["J_template"]).to(like)]),
        J_shapedirs=torch.cat([body.J_shapedirs, shapedirs.to(like)], dim=1),
        weights=weights,
    )


def body_for(parameters: BodyParameters, body: Body) -> Body:
    """Return the body with as many joints as the parameters have: with fingers, or unchanged."""
    return with_fingers(body) if parameters.R_parent_joint.shape[-3] > len(body.weights) else body


@functools.cache
def finger_anatomy() -> FingerAnatomy:
    """Return the anatomy of the default body's fingers, float64."""
    body = with_fingers(Body.load()).to(torch.float64)
    joints = dict(zip(ALL_JOINT_NAMES, body.J_template, strict=True))
    tips = body.v_template.unflatten(-1, (3, -1)).T[_tip_vertices()]
    rows = []
    for (side, finger), tip in zip(((s, f) for s in HAND_SIDES for f in FINGERS), tips, strict=True):
        rows += _finger_rows(joints, side, finger, tip)
    axes, low, high, straight = (torch.stack(column) for column in zip(*rows, strict=True))
    return FingerAnatomy(body.J_template[len(JOINT) :], tips, axes, low, high, straight)


def _finger_rows(joints: dict[str, Tensor], side: str, finger: str, tip: Tensor) -> list[tuple[Tensor, ...]]:
    """Compute the axes, limits and straightening rotation of the three joints of a finger."""
    wrist, index, little = (joints[f"{side}_{part}"] for part in ("wrist", "index1", "pinky1"))
    sign = 1.0 if side == "left" else -1.0
    forward = (index + little) / 2 - wrist
    back_of_hand = _unit(sign * torch.linalg.cross(index - little, forward))
    points = [*(joints[f"{side}_{finger}{n}"] for n in (1, 2, 3)), tip]
    bones = [_unit(end - start) for start, end in zip(points, points[1:], strict=False)]
    in_palm = _unit(bones[0] - (bones[0] @ back_of_hand) * back_of_hand)
    if finger == "thumb":  # It flexes towards the little finger, and its first bone counts as straight.
        straight, towards, limits = bones[0], little - points[2], _THUMB_LIMITS_DEG
        along = _unit(tip - points[1])
    else:
        straight, towards, limits = in_palm, -back_of_hand, _FINGER_LIMITS_DEG
        along = _unit(tip - points[0])
    flexion = _unit(torch.linalg.cross(along, towards))
    axes = torch.stack([flexion, sign * torch.linalg.cross(along, flexion), sign * along], dim=-1)
    rows = []
    for above, bone, ranges in zip([straight, *bones], bones, limits, strict=False):
        low, high = torch.tensor(ranges, dtype=torch.float64).deg2rad().unbind(-1)
        bend = torch.atan2(torch.linalg.cross(above, bone) @ flexion, above @ bone)
        rest = torch.stack([bend, bend.new_zeros(()), bend.new_zeros(())])
        rows.append((axes, low - rest, high - rest, shortest_arc(bone, straight)))
    return rows


def _unit(v: Tensor) -> Tensor:
    return v / v.norm()


def finger_rotations(coordinates: Float[Tensor, "*batch 30 3"]) -> Float[Tensor, "*batch 30 3 3"]:
    """Compute `R_parent_joint` of the finger joints from their coordinates, radians."""
    axes = finger_anatomy().axes.to(coordinates)
    return axes @ roma.euler_to_rotmat("XYZ", list(coordinates.unbind(-1))) @ axes.mT


def finger_coordinates(R_parent_joint: Float[Tensor, "*batch 30 3 3"]) -> Float[Tensor, "*batch 30 3"]:
    """Compute the coordinates of finger joints, radians: the inverse of `finger_rotations`."""
    axes = finger_anatomy().axes.to(R_parent_joint)
    return torch.as_tensor(roma.rotmat_to_euler("XYZ", axes.mT @ R_parent_joint @ axes))


def relative_to_straight(R_parent_joint: Float[Tensor, "*batch 30 3 3"]) -> Float[Tensor, "*batch 30 3 3"]:
    """Convert rotations of finger joints from the body's rest pose to straight fingers, SMPL-H's rest pose."""
    R, (above, straight) = R_parent_joint.unflatten(-3, (-1, 3)), _straightening(R_parent_joint)
    return (above @ R @ straight.mT).flatten(-4, -3)


def relative_to_rest(R_parent_joint: Float[Tensor, "*batch 30 3 3"]) -> Float[Tensor, "*batch 30 3 3"]:
    """Convert rotations of finger joints from straight fingers, SMPL-H's rest pose, to the body's rest pose."""
    R, (above, straight) = R_parent_joint.unflatten(-3, (-1, 3)), _straightening(R_parent_joint)
    return (above.mT @ R @ straight).flatten(-4, -3)


def _straightening(
    like: Tensor,
) -> tuple[Float[Tensor, "fingers joints 3 3"], Float[Tensor, "fingers joints 3 3"]]:
    """Return the straightening rotations of the joint above and of each finger joint, finger by finger."""
    straight = finger_anatomy().R_straight.to(like).unflatten(0, (-1, 3))
    return torch.cat([torch.eye(3).to(like).expand_as(straight[:, :1]), straight[:, :-1]], dim=1), straight


def hand_bones(shaped: ShapedBody) -> Float[Tensor, "2 5 4 3"]:
    """Return the bones of both hands of a body with fingers in the rest pose, metres: for each finger from the wrist to
    its first joint, between its joints, and to its end on the skin."""
    joints, hands = shaped.joints, len(HAND_SIDES)
    wrists = joints[[JOINT[f"{side}_wrist"] for side in HAND_SIDES]]
    tips = shaped.rest.T[_tip_vertices()].view(hands, len(FINGERS), 1, 3)
    points = torch.cat([joints[len(JOINT) :].view(hands, len(FINGERS), 3, 3), tips], dim=2)
    return points.diff(dim=2, prepend=wrists[:, None, None].expand(-1, len(FINGERS), -1, -1))


def fingertips(posed: PosedBody) -> dict[str, Float[Tensor, "*batch 3"]]:
    """Return the ends of the fingers of the whole default body, `left_index_tip` and so on, metres."""
    names = [f"{side}_{finger}_tip" for side in HAND_SIDES for finger in FINGERS]
    return dict(zip(names, posed.vertices[..., _tip_vertices(), :].unbind(-2), strict=True))
