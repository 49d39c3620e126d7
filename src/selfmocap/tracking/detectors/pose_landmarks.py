"""BlazePose's landmark models: keypoints, mask and next window of the person in a window (arXiv:2006.10204)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from selfmocap.tracking.detectors.litert import litert_model, sigmoid
from selfmocap.tracking.detectors.pose_detection import window_of_circle
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window

_INPUT_SIDE = 256
"""Side of the models' input, px."""
_KEYPOINTS, _POINTS = 33, 39
"""Keypoints of the body; with the points that place the next window."""
_REFINEMENT_REACH = 3
"""Cells on each side of a landmark over which its heatmap is averaged."""
_MIN_PEAK = 0.5
"""Probability in the heatmap from which a landmark is refined."""


@dataclass(frozen=True, eq=False)
class PoseLandmarks:
    """What a landmark model returns for one window."""

    keypoints: Float[np.ndarray, "33 2"]
    """px of the image, in the order of "mediapipe-33"."""
    visibility: Float[np.ndarray, " 33"]
    """Probability that a keypoint is not occluded, times the probability that it is in the image."""
    score: float
    """Probability that the window holds a person."""
    window: Window
    """The person's window in the next frame."""
    mask: Float[np.ndarray, "256 256"]
    """Probability that a pixel of the window belongs to the person."""


class PoseLandmarker:
    """BlazePose's landmark model, full or heavy (four times as slow, with a sixth of the gross errors)."""

    def __init__(self, variant: Literal["full", "heavy"]) -> None:
        self._model = litert_model(f"pose_landmark_{variant}")

    def detect_landmarks(self, image: RgbImage, window: Window) -> PoseLandmarks:
        """Detect the landmarks of the person in a window, whatever the model's score of there being one."""
        crop = crop_window(image, window, _INPUT_SIDE)
        outputs = self._model(crop[None].astype(np.float32) / np.float32(255))
        table = outputs["Identity"][0].reshape(_POINTS, 5)
        points = window.to_image(_refine(table[:, :2] / _INPUT_SIDE, outputs["Identity_3"][0]))
        return PoseLandmarks(
            keypoints=points[:_KEYPOINTS],
            visibility=sigmoid(table[:_KEYPOINTS, 3]) * sigmoid(table[:_KEYPOINTS, 4]),
            score=float(outputs["Identity_1"][0, 0]),
            window=window_of_circle(points[33], points[34]),
            mask=sigmoid(outputs["Identity_2"][0, :, :, 0]),
        )


def _refine(
    points: Float[np.ndarray, "39 2"], heatmaps: Float[np.ndarray, "size size 39"]
) -> Float[np.ndarray, "39 2"]:
    """Move each point (fractions of the window) to the mean of its heatmap around it, if the heatmap peaks there.

    The refinement of MediaPipe's graph; without it, keypoints are 8 to 9 px of 256 off."""
    size, reach = heatmaps.shape[0], np.arange(-_REFINEMENT_REACH, _REFINEMENT_REACH + 1)
    cells = np.floor(points * size).astype(int)
    columns, rows = cells[:, :1] + reach, cells[:, 1:] + reach
    across, down = columns.clip(0, size - 1)[:, None, :], rows.clip(0, size - 1)[:, :, None]
    known = (across == columns[:, None, :]) & (down == rows[:, :, None])
    weights = known * sigmoid(heatmaps[down, across, np.arange(len(points))[:, None, None]])
    total = weights.sum(axis=(1, 2))
    peaks = ((cells >= 0) & (cells < size)).all(axis=-1) & (weights.max(axis=(1, 2)) >= _MIN_PEAK)
    sums = np.stack(
        [np.einsum("nij,nj->n", weights, columns), np.einsum("nij,ni->n", weights, rows)], axis=-1
    )
    refined = sums / np.where(peaks, total * size, 1)[:, None]
    return np.where(peaks[:, None], refined, points).astype(points.dtype)
