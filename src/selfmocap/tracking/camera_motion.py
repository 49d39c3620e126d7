"""Camera-motion compensation: estimate the shift of the background from frame to frame.

Tracks are moved by it, so that a panning camera neither swaps identities nor makes static objects look alive
(compare BoT-SORT, Aharon et al. 2022, section 3.2).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from selfmocap.tracking.detectors.window import RgbImage, Window

_MAX_THUMBNAIL_SIDE_PX = 320
_GRID_STEP_PX = 16
"""Distance between two tracked points, px of the thumbnail."""
_MIN_POINTS, _MIN_TRACKED_FRACTION = 12, 0.15
"""Background points, and the fraction of them that must be tracked, below which no shift is estimated."""
_FLOW_WINDOW_PX = (15, 15)
_MAX_ROUND_TRIP_ERROR_PX = 0.7
"""Largest distance between a point and where it returns to when tracked forward and back, px of the thumbnail."""
_CUT_MIN_DIFFERENCE, _CUT_MAX_TRACKED_FRACTION = 12.0, 0.05
"""Mean difference in grey levels, and fraction of tracked points, of two scenes."""
_PERSON_HALF_WIDTH = 0.35
"""Half side of the square around a person that is left out, over the side of their window."""

GreyImage = UInt8[np.ndarray, "rows columns"]


def grey_thumbnail(image: RgbImage) -> GreyImage:
    """Convert a frame to grey, at most 320 px long."""
    import cv2

    scale = min(1.0, _MAX_THUMBNAIL_SIDE_PX / max(image.shape[:2]))
    size = tuple(max(round(n * scale), 1) for n in image.shape[1::-1])
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def show_different_scenes(one: GreyImage, other: GreyImage) -> bool:
    """Decide whether two thumbnails show different scenes: they differ, and few points can be tracked.

    Points are tracked after the histograms are equalised, so that a change of the light does not count. They are also
    tracked from the shift of the whole image (phase correlation), so that a fast pan does not."""
    import cv2

    if cv2.absdiff(one, other).mean() < _CUT_MIN_DIFFERENCE:
        return False
    one, other = cv2.equalizeHist(one), cv2.equalizeHist(other)
    window = cv2.createHanningWindow(one.shape[::-1], cv2.CV_32F)
    (dx, dy), _ = cv2.phaseCorrelate(one.astype(np.float32), other.astype(np.float32), window)
    shift_back = np.array([[1, 0, -dx], [0, 1, -dy]], np.float32)
    shifted = cv2.warpAffine(other, shift_back, one.shape[::-1], borderMode=cv2.BORDER_REFLECT)
    tracked = [_track_forward_and_back(one, image, _grid(*one.shape))[1].mean() for image in (other, shifted)]
    return bool(max(tracked) < _CUT_MAX_TRACKED_FRACTION)


def background_shift(
    before: GreyImage, after: GreyImage, width: int, people: Sequence[Window]
) -> tuple[float, float]:
    """Estimate the shift (x, y) of the background between two thumbnails of frames `width` px wide, px of the frame.

    The shift is the median over a grid of points outside the people's windows, tracked forward and back with
    Lucas-Kanade; (0, 0) if too few are tracked."""
    scale = before.shape[1] / width
    grid = _grid(*before.shape)
    grid = grid[~_covered(grid, people, scale)]
    if len(grid) < _MIN_POINTS:
        return (0.0, 0.0)
    steps, tracked = _track_forward_and_back(before, after, grid)
    if tracked.sum() < max(_MIN_POINTS, _MIN_TRACKED_FRACTION * len(grid)):
        return (0.0, 0.0)
    dx, dy = (np.median(steps[tracked], axis=0) / scale).tolist()
    return (dx, dy)


def _track_forward_and_back(
    before: GreyImage, after: GreyImage, grid: Float32[np.ndarray, "n 2"]
) -> tuple[Float32[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """Return the displacement of each point, and whether tracking back returns to where it was."""
    forward, _ = _lucas_kanade(before, after, grid)
    back, tracked = _lucas_kanade(after, before, forward)
    return forward - grid, tracked & (np.linalg.norm(back - grid, axis=-1) < _MAX_ROUND_TRIP_ERROR_PX)


def _lucas_kanade(
    before: GreyImage, after: GreyImage, points: Float32[np.ndarray, "n 2"]
) -> tuple[Float32[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    import cv2

    ends, status, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, points.copy(), winSize=_FLOW_WINDOW_PX, maxLevel=3
    )
    return ends, status[:, 0] > 0


def _grid(rows: int, columns: int) -> Float32[np.ndarray, "n 2"]:
    half = _GRID_STEP_PX // 2
    x, y = np.meshgrid(np.arange(half, columns, _GRID_STEP_PX), np.arange(half, rows, _GRID_STEP_PX))
    return np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32)


def _covered(
    points: Float32[np.ndarray, "n 2"], people: Sequence[Window], scale: float
) -> Bool[np.ndarray, " n"]:
    """Return which points of the thumbnail lie on a person."""
    inside = np.zeros(len(points), bool)
    for window in people:
        center = np.array([window.x, window.y]) * scale
        inside |= (np.abs(points - center) < _PERSON_HALF_WIDTH * window.side * scale).all(axis=-1)
    return inside
