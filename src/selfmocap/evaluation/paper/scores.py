"""Scores of a row of a table: those of `evaluate`, and how often a limb extends the wrong way in depth."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.adaptation.objective import FittingData
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT
from selfmocap.evaluation.scores import (
    FrameErrors,
    concat_errors,
    joint_errors,
    mean_scores,
    surface_errors,
)

_LIMB_BONES = [
    (JOINT[f"{side}_{start}"], JOINT[f"{side}_{end}"])
    for side in ("left", "right")
    for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]
_MIN_BONE_DEPTH = 0.05
"""Bones that extend less in depth do not count, metres."""
_FRAMES_PER_CHUNK = 64
REGRESSION_MM = 2.0
"""A clip whose error grows by more than this is a regression."""


def score_bodies(
    body: Body, estimate: BodyParameters, truth: BodyParameters, data: FittingData
) -> dict[str, Any]:
    """Compute all scores of the frames of `data`, `depth_sign_errors`, and `clips_mpjpe_mm`, the mean of each clip.

    Estimate and truth are in the camera frame, one row per frame."""
    with torch.no_grad():
        chunks = [
            _chunk_errors(body, estimate[rows], truth[rows])
            for rows in torch.arange(len(data)).split(_FRAMES_PER_CHUNK)
        ]
        joints, true_joints = (torch.cat(parts) for parts in list(zip(*chunks, strict=True))[1:])
    errors = joint_errors(joints, true_joints, data.observations.frame_index, float(data.fps[0]))
    clips = [errors["mpjpe_mm"][data.clip == number] for number in data.clip.unique()]
    wrong = wrong_depth_signs(joints, true_joints)
    return mean_scores([errors | concat_errors([chunk[0] for chunk in chunks])]) | {
        "depth_sign_errors": round(float(wrong.float().mean()), 4) if len(wrong) else None,
        "clips_mpjpe_mm": [round(float(clip.mean()), 3) for clip in clips],
    }


def _chunk_errors(
    body: Body, estimate: BodyParameters, truth: BodyParameters
) -> tuple[FrameErrors, Tensor, Tensor]:
    """Compute errors of vertices, and return the estimated and the true joints."""
    posed, true_posed = body.pose(estimate), body.pose(truth)
    root = JOINT["pelvis"]
    surface = surface_errors(
        posed.vertices, true_posed.vertices, posed.joints[:, root], true_posed.joints[:, root]
    )
    return surface, posed.joints, true_posed.joints


def wrong_depth_signs(
    estimate: Float[Tensor, "time 24 3"], truth: Float[Tensor, "time 24 3"]
) -> Bool[Tensor, " bones"]:
    """Compute whether limb bones (upper and lower arms and legs) extend the wrong way in depth.

    Returns one value per frame and bone that truly extends more than 5 cm towards the camera or away from it. Joints
    are in the camera frame, metres."""
    start, end = (torch.tensor(ends) for ends in zip(*_LIMB_BONES, strict=True))
    depth, true_depth = ((joints[:, end] - joints[:, start])[..., 2] for joints in (estimate, truth))
    return ((depth > 0) != (true_depth > 0))[true_depth.abs() > _MIN_BONE_DEPTH]


def regressions(
    before_mm: Sequence[float], after_mm: Sequence[float], accepted: Sequence[bool] | None = None
) -> dict[str, Any]:
    """Compute the fraction of clips whose error grows by more than REGRESSION_MM and, with `accepted`, count how often
    the held-out check agrees with the truth."""
    better = [after < before for before, after in zip(before_mm, after_mm, strict=True)]
    worse = [after > before + REGRESSION_MM for before, after in zip(before_mm, after_mm, strict=True)]
    found: dict[str, Any] = {"clips": len(better), "fraction": round(sum(worse) / len(worse), 4)}
    if accepted is not None:
        found["heldout_check"] = {
            f"{verdict} and {effect}": sum(
                a == is_accepted and b == is_better for a, b in zip(accepted, better, strict=True)
            )
            for verdict, is_accepted in (("accepted", True), ("rejected", False))
            for effect, is_better in (("better", True), ("worse", False))
        }
    return found
