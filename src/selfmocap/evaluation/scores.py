"""The table of scores: errors of joints and vertices per frame, and their means. docs/reference/conventions.md defines
the scores."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES
from selfmocap.losses.metrics import (
    absolute_error,
    acceleration_error,
    procrustes_error,
    root_aligned_error,
    translation_aligned_error,
)

FrameErrors = dict[str, Float[Tensor, "_"]]
"""Values of each score: one per frame, for accelerations one per three consecutive frames. The name has the unit."""


def joint_errors(
    estimate: Float[Tensor, "time 24 3"],
    truth: Float[Tensor, "time 24 3"],
    frame_index: Int[Tensor, " time"],
    fps: float,
) -> FrameErrors:
    """Compute all scores of joints (metres, both in one frame of reference).

    Accelerations are compared where three frames are consecutive by their `frame_index`."""
    root = JOINT["pelvis"]
    follows = frame_index.diff() == 1
    acceleration_mm = estimate.new_zeros(0)
    if len(estimate) > 2:
        acceleration_mm = 1000 * acceleration_error(estimate, truth).mean(-1)[follows[:-1] & follows[1:]]
    return {
        "mpjpe_mm": 1000 * root_aligned_error(estimate, truth, estimate[:, root], truth[:, root]).mean(-1),
        "pa_mpjpe_mm": 1000 * procrustes_error(estimate, truth).mean(-1),
        "absolute_mpjpe_mm": 1000 * absolute_error(estimate, truth).mean(-1),
        "translation_aligned_mpjpe_mm": 1000 * translation_aligned_error(estimate, truth).mean(-1),
        "acceleration_error_mm_per_frame2": acceleration_mm,
        "acceleration_error_m_per_s2": acceleration_mm / 1000 * fps**2,
    }


def surface_errors(
    estimate: Float[Tensor, "time vertices 3"],
    truth: Float[Tensor, "time vertices 3"],
    estimate_root: Float[Tensor, "time 3"],
    truth_root: Float[Tensor, "time 3"],
) -> FrameErrors:
    """Compute all scores of the vertices of one body (metres, both in one frame of reference)."""
    return {
        "surface_mm": 1000 * root_aligned_error(estimate, truth, estimate_root, truth_root).mean(-1),
        "absolute_surface_mm": 1000 * absolute_error(estimate, truth).mean(-1),
    }


def concat_errors(parts: Sequence[FrameErrors]) -> FrameErrors:
    """Concatenate the errors of consecutive parts that have the same scores."""
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def mean_scores(parts: Sequence[FrameErrors]) -> dict[str, Any]:
    """Compute the mean of each score over the frames of all parts (None if there are no values), and count `frames` and
    `joints`."""
    names = dict.fromkeys(name for errors in parts for name in errors)
    values = {name: torch.cat([e[name] for e in parts if name in e]) for name in names}
    scores: dict[str, Any] = {
        n: round(float(v.double().mean()), 3) if len(v) else None for n, v in values.items()
    }
    return scores | {"frames": sum(len(e["mpjpe_mm"]) for e in parts), "joints": len(JOINT_NAMES)}
