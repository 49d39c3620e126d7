"""Measure the agreement of a motion with the observations, for `report.json`."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.tensors import runs_between
from selfmocap.losses.keypoint_residuals import keypoint_residuals_px
from selfmocap.losses.reprojection import body_mask, has_next_frame, reproject
from selfmocap.losses.self_supervised import compare, intersection_over_union
from selfmocap.pipeline.postprocessing.scale import stature
from selfmocap.pipeline.postprocessing.smoothness_metrics import smoothness_metrics
from selfmocap.pipeline.samples import CapturedPerson
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.config import FLOW_BLOCK
from selfmocap.tracking.observations import Observations, spread_rows

MAX_IMAGE_FRAMES = 120
"""Frames whose masks and flow are compared."""
_MAX_RESIDUAL_PX = 8.0
"""A frame with a larger residual, or a confidence below VISIBLE, is reported by `low_confidence_ranges`."""


def person_diagnostics(
    before: Motion, after: Motion, person: CapturedPerson, body: Body, height: float | None
) -> dict[str, Any]:
    """Measure a person's motion before adaptation and after post-processing, for `report.json`; `height` is the stature
    that the user gives, metres."""
    is_scaled = after.provenance["postprocessing"]["stature"] is not None
    return {
        "before": motion_diagnostics(before, person, body),
        "after": motion_diagnostics(after, person, body),
        "pops": after.provenance["postprocessing"]["pops"],
        "low_confidence_ranges": low_confidence_ranges(after, person.observations),
        "stature": round(float(stature(body, after.parameters.betas)), 3),
        "stature_from": "height" if height is not None else "floor" if is_scaled else "proportions",
    }


def motion_diagnostics(motion: Motion, person: CapturedPerson, body: Body) -> dict[str, float | None]:
    """Compute the scores of a motion for `report.json`.

    `keypoint_px` is the robust residual of all frames, weighted by confidence, px of the 128 px crop. `mask_iou` and
    `flow_px` (px of the crop per frame) are means over some frames, None without masks or flow. The others are the
    `smoothness_metrics`."""
    px, confidence = keypoint_residuals_px(motion, person.observations)
    rows = spread_rows(len(person.observations), MAX_IMAGE_FRAMES, FLOW_BLOCK)
    iou, flow_px = _image_scores(motion, person.rows(rows), body)
    return {
        "keypoint_px": _rounded((px * confidence).sum() / confidence.sum()),
        "mask_iou": _rounded(iou),
        "flow_px": _rounded(flow_px),
        **{name: _rounded(torch.tensor(value)) for name, value in smoothness_metrics(motion).items()},
    }


def low_confidence_ranges(motion: Motion, observations: Observations) -> list[tuple[int, int, str]]:
    """Return the first and last frame (of the video) of each run of unreliable frames, and the reason."""
    px, _ = keypoint_residuals_px(motion, observations)
    reasons = {
        "not observed: interpolated": motion.filled,
        "low keypoint confidence": ~motion.filled & (motion.confidence < VISIBLE),
        "far from the observed keypoints": px > _MAX_RESIDUAL_PX,
    }
    ranges = []
    for reason, flags in reasons.items():
        index = motion.frame_index[flags]
        if len(index):
            runs = runs_between(index.diff() > 1)
            ranges += [(int(index[first]), int(index[end - 1]), reason) for first, end in runs]
    return sorted(ranges)


def _image_scores(motion: Motion, observations: Observations, body: Body) -> tuple[Tensor, Tensor]:
    """Compute the mean overlap of masks and the mean difference of flow; NaN without masks or flow."""
    observations = observations.in_set(DEFAULT_KEYPOINTS.name)
    motion = motion[torch.isin(motion.frame_index, observations.frame_index)]
    overlaps, flows = [], []
    for rows in torch.arange(len(motion)).split(FLOW_BLOCK):
        estimate, observed = motion[rows], observations[rows]
        if observed.masks is not None:
            certain = (
                torch.ones_like(observed.masks) if observed.mask_certain is None else observed.mask_certain
            )
            rendered = body_mask(body, estimate.parameters, estimate.camera, observed.boxes)
            shares = intersection_over_union((rendered & certain).float(), observed.masks & certain)
            overlaps.append(shares[observed.masks.any(-1).any(-1)])
        if observed.flow is not None:
            follows = has_next_frame(estimate.frame_index)
            with torch.no_grad():
                projection = reproject(
                    body,
                    estimate.parameters,
                    estimate.camera,
                    observed.boxes,
                    follows,
                    DEFAULT_KEYPOINTS.name,
                )
            flows.append(compare(projection, replace(observed, masks=None)).motion[follows])
    empty = torch.zeros(0)
    return torch.cat([empty, *overlaps]).mean(), torch.cat([empty, *flows]).mean()


def _rounded(value: Tensor) -> float | None:
    return round(float(value), 4) if value.isfinite() else None
