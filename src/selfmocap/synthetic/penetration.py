"""Measure by capsules how deep the limbs of a body penetrate each other. It is cheap enough for every frame."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT

LIMB_RADIUS_QUANTILE, TRUNK_RADIUS_QUANTILE = 0.4, 0.1
"""A capsule's radius is this quantile of the distances from its bone to the skin of its part, so that it lies inside.
The trunk is flat, and wider at its ends than at the waist."""
_SIDES = ("left", "right")
_LIMBS = (
    *((f"{s}_{a}", f"{s}_{b}") for s in _SIDES for a, b in (
        ("hip", "knee"), ("knee", "ankle"), ("ankle", "foot"),
        ("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand"),
    )),
)  # fmt: skip
"""Bones whose capsules reach from joint to joint."""
_TRUNK = (
    ("pelvis", "left_hip"),
    ("pelvis", "right_hip"),
    ("spine2", "left_shoulder"),
    ("spine2", "right_shoulder"),
)
"""The trunk is four upright capsules, at _TRUNK_FRACTION of the width of hips or shoulders, below and above the waist.
"""
_TRUNK_FRACTION = 0.4
_TESTED_PARTS = (
    ("elbow", "trunk"), ("wrist", "trunk"), ("elbow", "head"), ("wrist", "head"), ("elbow", "hip"), ("wrist", "hip"),
    ("wrist", "knee"), ("elbow", "elbow"), ("elbow", "wrist"), ("wrist", "wrist"), ("hip", "hip"), ("knee", "knee"),
    ("knee", "ankle"), ("ankle", "ankle"), ("hip", "knee"), ("shoulder", "shoulder"), ("knee", "trunk"),
)  # fmt: skip
"""Pairs of parts that are tested: limbs of one side with those of the other, and an arm with a leg or the trunk."""


@dataclass(frozen=True, eq=False)
class Capsules:
    """Capsules that move with the joints of one body."""

    joint: Int[Tensor, " capsules"]
    ends: Float[Tensor, "capsules 2 3"]
    """In the joint's frame, relative to the joint, metres."""
    radius: Float[Tensor, " capsules"]
    pairs: Int[Tensor, "pairs 2"]
    """Pairs of capsules that are tested."""


def body_capsules(body: Body, betas: Float[Tensor, " betas"]) -> Capsules:
    """Build the capsules of a body of one shape."""
    shaped = body.shape(betas)
    joints, skin = shaped.joints, shaped.rest.mT
    segments = [
        (start, joints[JOINT[start]], joints[JOINT[end]], _skin_of(body, skin, start))
        for start, end in _LIMBS
    ]
    names = [start for start, _ in _LIMBS]
    head = skin[body.vertex_joint == JOINT["head"]]
    segments.append(
        ("head", joints[JOINT["head"]], head[head[:, 1].argmax()] * torch.tensor([0.0, 0.94, 0.0]), head)
    )
    names.append("head")
    waist = joints[JOINT["spine1"]]
    for start, side in _TRUNK:
        below, above = (
            (joints[JOINT[start]], waist) if start == "pelvis" else (waist, joints[JOINT["spine3"]])
        )
        across = torch.tensor([1.0, 0, 0]) * joints[JOINT[side]] * _TRUNK_FRACTION
        near = _skin_of(body, skin, start)
        near = near[near[:, 0] * across[0] > 0]
        forward = torch.stack([*torch.zeros(2), near[:, 2].mean()])
        flat = torch.tensor([1.0, 1.0, 0.0])
        segments.append((start, (below + across) * flat + forward, (above + across) * flat + forward, near))
        names.append("trunk")
    inside = [TRUNK_RADIUS_QUANTILE if name == "trunk" else LIMB_RADIUS_QUANTILE for name in names]
    radius = torch.stack(
        [_radius(a, b, near, q) for (_, a, b, near), q in zip(segments, inside, strict=True)]
    )
    joint = torch.tensor([JOINT[start] for start, *_ in segments])
    ends = torch.stack([torch.stack([a, b]) - joints[JOINT[start]] for start, a, b, _ in segments])
    return Capsules(joint, ends, radius, _pairs(names))


def penetration_depth(
    shape: Capsules,
    R_world_joint: Float[Tensor, "*batch 24 3 3"],
    p_world_joint: Float[Tensor, "*batch 24 3"],
) -> Float[Tensor, "*batch"]:
    """Compute the largest penetration of a capsule into another, metres; 0 without any."""
    R, p = R_world_joint[..., shape.joint, :, :], p_world_joint[..., shape.joint, :]
    ends = (R.unsqueeze(-3) @ shape.ends.unsqueeze(-1)).squeeze(-1) + p.unsqueeze(-2)
    a, b = ends[..., shape.pairs[:, 0], :, :], ends[..., shape.pairs[:, 1], :, :]
    distance = _segment_distance(a[..., 0, :], a[..., 1, :], b[..., 0, :], b[..., 1, :])
    return (shape.radius[shape.pairs].sum(-1) - distance).amax(-1).clamp_min(0)


def _skin_of(body: Body, skin: Float[Tensor, "vertices 3"], part: str) -> Float[Tensor, "part 3"]:
    return skin[body.vertex_joint == JOINT[part]]


def _radius(
    a: Float[Tensor, "3"], b: Float[Tensor, "3"], skin: Float[Tensor, "part 3"], quantile: float
) -> Float[Tensor, ""]:
    along = ((skin - a) @ (b - a) / (b - a).square().sum()).clamp(0, 1)[:, None]
    return torch.quantile((skin - a - along * (b - a)).norm(dim=1), quantile)


def _pairs(names: list[str]) -> Int[Tensor, "pairs 2"]:
    def part(name: str) -> str:
        return name.split("_")[-1]

    def side(name: str) -> str:
        return name.split("_")[0]

    arm, leg = ("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")
    pairs = []
    for i, first in enumerate(names):
        for j, second in enumerate(names[:i]):
            kinds = {(part(first), part(second)), (part(second), part(first))}
            same_limb = side(first) == side(second) and any(
                part(first) in limb and part(second) in limb for limb in (arm, leg)
            )
            if kinds & set(_TESTED_PARTS) and not same_limb:
                pairs.append((i, j))
    return torch.tensor(pairs)


def _segment_distance(
    a0: Float[Tensor, "*batch 3"],
    a1: Float[Tensor, "*batch 3"],
    b0: Float[Tensor, "*batch 3"],
    b1: Float[Tensor, "*batch 3"],
) -> Float[Tensor, "*batch"]:
    """Compute the least distance between two segments: at the inner minimum if it lies on both, else at one of the
    ends."""
    u, v, w = a1 - a0, b1 - b0, a0 - b0
    uu, uv, vv, uw, vw = ((x * y).sum(-1) for x, y in ((u, u), (u, v), (v, v), (u, w), (v, w)))
    s = ((uv * vw - vv * uw) / (uu * vv - uv * uv).clamp_min(1e-12)).clamp(0, 1)
    t = ((uv * s + vw) / vv.clamp_min(1e-12)).clamp(0, 1)
    s = ((uv * t - uw) / uu.clamp_min(1e-12)).clamp(0, 1)
    return (w + s[..., None] * u - t[..., None] * v).norm(dim=-1)
