"""The scores of a row of a table: those of `evaluate`, and how often a limb points the wrong way in depth."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.adaptation.objective import Evidence
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT
from selfmocap.evaluation.evaluate import joint_errors, means, surface_errors

_LIMB_BONES = [
    (JOINT[f"{side}_{one}"], JOINT[f"{side}_{other}"])
    for side in ("left", "right")
    for one, other in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
_DEEP = 0.05
"""Metres of depth from which on a bone's direction counts."""
_AT_ONCE = 64
HARM_MM = 2.0
"""A clip is harmed if its error grows by more than this."""


def scores_of(
    body: Body, estimate: BodyParameters, truth: BodyParameters, evidence: Evidence
) -> dict[str, Any]:
    """All scores of the frames of `evidence`, `depth_sign_errors`, and `clips_mpjpe_mm`, a mean a clip. Both sides are
    in the camera frame, a row a frame."""
    with torch.no_grad():
        found = [
            _errors(body, estimate[now], truth[now]) for now in torch.arange(len(evidence)).split(_AT_ONCE)
        ]
        joints, true_joints = (torch.cat(parts) for parts in list(zip(*found, strict=True))[1:])
    errors = joint_errors(joints, true_joints, evidence.seen.frame_index, float(evidence.fps[0]))
    clips = [errors["mpjpe_mm"][evidence.clip == number] for number in evidence.clip.unique()]
    return means([errors | _joined([part[0] for part in found])]) | {
        "depth_sign_errors": _number(depth_signs_wrong(joints, true_joints)),
        "clips_mpjpe_mm": [round(float(clip.mean()), 3) for clip in clips],
    }


def _errors(
    body: Body, estimate: BodyParameters, truth: BodyParameters
) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    ours, theirs = body.pose(estimate), body.pose(truth)
    root = JOINT["pelvis"]
    surface = surface_errors(ours.vertices, theirs.vertices, ours.joints[:, root], theirs.joints[:, root])
    return surface, ours.joints, theirs.joints


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def depth_signs_wrong(
    estimate: Float[Tensor, "time 24 3"], truth: Float[Tensor, "time 24 3"]
) -> Bool[Tensor, " bones"]:
    """Of every limb bone (upper and lower arms and legs) of every frame that truly reaches more than 5 cm towards the
    camera or away from it: whether the estimated one points the other way. Camera frame, metres."""
    start, end = (torch.tensor(ends) for ends in zip(*_LIMB_BONES, strict=True))
    depth, true_depth = ((joints[:, end] - joints[:, start])[..., 2] for joints in (estimate, truth))
    return ((depth > 0) != (true_depth > 0))[true_depth.abs() > _DEEP]


def _number(wrong: Bool[Tensor, " bones"]) -> float | None:
    return round(float(wrong.float().mean()), 4) if len(wrong) else None


def harm(
    before_mm: Sequence[float], after_mm: Sequence[float], accepted: Sequence[bool] | None = None
) -> dict[str, Any]:
    """How many clips get worse in 3D: the share whose error grows by more than HARM_MM and, where a self-check gave its
    verdict, how often that agrees with the truth."""
    better = [after < before for before, after in zip(before_mm, after_mm, strict=True)]
    worse = [after > before + HARM_MM for before, after in zip(before_mm, after_mm, strict=True)]
    found: dict[str, Any] = {"clips": len(better), "harmed": round(sum(worse) / len(worse), 4)}
    if accepted is not None:
        found["self_check"] = {
            f"{verdict} and {fate}": sum(
                a == yes and b == good for a, b in zip(accepted, better, strict=True)
            )
            for verdict, yes in (("accepted", True), ("rejected", False))
            for fate, good in (("better", True), ("worse", False))
        }
    return found
