"""Square crop boxes around the keypoints of a person, smoothed over time (Kanazawa et al. 2019)."""

import numpy as np
from jaxtyping import Float, Int

from selfmocap.tracking.confidence import VISIBLE

BOX_MARGIN = 1.2
"""Half side of a box over the half extent of the keypoints (Tung et al. 2017)."""

_MEDIAN_FRAMES, _SIGMA_FRAMES = 11, 3.0
_MIN_HALF_SIDE_PX = 8.0


def smoothed_boxes(
    keypoints: Float[np.ndarray, "time keypoints 2"],
    confidence: Float[np.ndarray, "time keypoints"],
    frame_index: Int[np.ndarray, " time"],
) -> Float[np.ndarray, "time 3"]:
    """Compute square boxes (centre x, centre y, half side; px) around the visible keypoints.

    Each run of consecutive frames is smoothed by a median over 11 frames and a Gaussian of 3 frames. A frame with fewer
    than two visible keypoints takes its box from its neighbours; if no frame has two, all keypoints count."""
    raw = np.stack([_box(p[c > VISIBLE]) for p, c in zip(keypoints, confidence, strict=True)])
    known = np.flatnonzero(np.isfinite(raw[:, 0]))
    if not len(known):
        raw = np.stack([_box(points) for points in keypoints])
        known = np.arange(len(raw))
    filled = np.stack([np.interp(frame_index, frame_index[known], raw[known, k]) for k in range(3)], axis=1)
    runs = np.split(filled, np.flatnonzero(np.diff(frame_index) > 1) + 1)
    return np.concatenate([_smooth(run) for run in runs]).astype(np.float32)


def _box(points: Float[np.ndarray, "visible 2"]) -> Float[np.ndarray, " 3"]:
    """Compute the box around some points; NaN for fewer than two."""
    if len(points) < 2:
        return np.full(3, np.nan)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array([*(low + high) / 2, max(BOX_MARGIN * float((high - low).max()) / 2, _MIN_HALF_SIDE_PX)])


def _smooth(run: Float[np.ndarray, "time 3"]) -> Float[np.ndarray, "time 3"]:
    from scipy.ndimage import gaussian_filter1d, median_filter

    return gaussian_filter1d(
        median_filter(run, size=(_MEDIAN_FRAMES, 1), mode="nearest"), _SIGMA_FRAMES, axis=0, mode="nearest"
    )
