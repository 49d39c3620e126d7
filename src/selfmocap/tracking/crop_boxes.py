"""The square windows that a network sees: around the keypoints, smoothed in time (Kanazawa et al. 2019)."""

import numpy as np
from jaxtyping import Float, Int

MARGIN = 1.2
"""Half side over the half extent of the keypoints (Tung et al. 2017)."""

_SEEN = 0.3
_MEDIAN, _SIGMA = 11, 3.0
_SMALLEST = 8.0


def boxes(
    keypoints: Float[np.ndarray, "time keypoints 2"],
    confidence: Float[np.ndarray, "time keypoints"],
    frame_index: Int[np.ndarray, " time"],
) -> Float[np.ndarray, "time 3"]:
    """Square windows (centre x, centre y, half side; px), each run of consecutive frames smoothed by a median over
    11 frames and a Gaussian of 3 frames. A frame with fewer than two confident keypoints takes its neighbours' box."""
    raw = np.stack(
        [_around(points[seen > _SEEN]) for points, seen in zip(keypoints, confidence, strict=True)]
    )
    known = np.flatnonzero(np.isfinite(raw[:, 0]))
    if not len(known):
        raw = np.stack([_around(points) for points in keypoints])
        known = np.arange(len(raw))
    filled = np.stack([np.interp(frame_index, frame_index[known], raw[known, k]) for k in range(3)], axis=1)
    runs = np.split(filled, np.flatnonzero(np.diff(frame_index) > 1) + 1)
    return np.concatenate([_smooth(run) for run in runs]).astype(np.float32)


def _around(points: Float[np.ndarray, "seen 2"]) -> Float[np.ndarray, " 3"]:
    if len(points) < 2:
        return np.full(3, np.nan)
    low, high = points.min(axis=0), points.max(axis=0)
    return np.array([*(low + high) / 2, max(MARGIN * (high - low).max() / 2, _SMALLEST)])


def _smooth(run: Float[np.ndarray, "time 3"]) -> Float[np.ndarray, "time 3"]:
    from scipy.ndimage import gaussian_filter1d, median_filter

    return gaussian_filter1d(
        median_filter(run, size=(_MEDIAN, 1), mode="nearest"), _SIGMA, axis=0, mode="nearest"
    )
