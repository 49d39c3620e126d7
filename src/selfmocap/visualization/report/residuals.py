"""The residual of a motion's keypoints in each frame, as the curve of the report."""

from selfmocap.body_model.motion import Motion
from selfmocap.losses.keypoint_residuals import keypoint_residuals_px
from selfmocap.tracking.observations import Observations


def keypoint_px_by_frame(motion: Motion, observations: Observations) -> list[float | None]:
    """Compute the residual of each frame, px of the crop; None for frames without observed keypoints.

    The number `keypoint_px` of report.json is the mean of these residuals, weighted by the confidence of the frames."""
    residuals, weights = keypoint_residuals_px(motion, observations)
    return [
        round(px, 3) if weight > 0 else None
        for px, weight in zip(residuals.tolist(), weights.tolist(), strict=True)
    ]


def residual_curves(
    before: Motion, after: Motion, observations: Observations
) -> dict[str, list[float | None]]:
    """Compute the residual of every frame of the second motion, before and after."""
    curves = {}
    for when, motion in (("before", before), ("after", after)):
        px = keypoint_px_by_frame(motion, observations)
        by_index = dict(zip(motion.frame_index.tolist(), px, strict=True))
        curves[when] = [by_index.get(index) for index in after.frame_index.tolist()]
    return curves
