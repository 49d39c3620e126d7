"""How the background moves from frame to frame: people are followed against it, so that a camera that pans neither
hands one person's place to another nor makes what stands still look alive."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from selfmocap.tracking.detectors.window import Window

_LONGEST = 320
_APART = 16
"""Small px between two points that are followed."""
_FEWEST, _SHARE = 12, 0.15
"""Points of the background, and share of all of them, without which nothing is said."""
_REACH = (15, 15)
_DIFFERENT, _CUT = 12.0, 0.1
"""Mean difference in grey levels, and share of the points found again, of two scenes."""

View = UInt8[np.ndarray, "rows columns"]


def small_view(image: UInt8[np.ndarray, "height width 3"]) -> View:
    """The frame in grey, at most 320 px long."""
    import cv2

    scale = min(1.0, _LONGEST / max(image.shape[:2]))
    size = tuple(max(round(n * scale), 1) for n in image.shape[1::-1])
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def is_cut(before: View, after: View) -> bool:
    """Whether two consecutive views show different scenes: they differ, and nothing of one is found in the other.
    In real clips 24 to 100 percent of the points are found again; at a cut none is."""
    import cv2

    if cv2.absdiff(before, after).mean() < _DIFFERENT:
        return False
    _, found = _followed(before, after, _grid(*before.shape))
    return bool(found.mean() < _CUT)


def background_shift(before: View, after: View, width: int, people: Sequence[Window]) -> tuple[float, float]:
    """By how much the background has moved between two views of frames `width` px wide, px of the frame: the median
    over a grid of points outside the people's windows that are found again there and back (Lucas and Kanade)."""
    scale = before.shape[1] / width
    grid = _grid(*before.shape)
    grid = grid[~_covered(grid, people, scale)]
    if len(grid) < _FEWEST:
        return (0.0, 0.0)
    steps, found = _followed(before, after, grid)
    if found.sum() < max(_FEWEST, _SHARE * len(grid)):
        return (0.0, 0.0)
    across, down = (np.median(steps[found], axis=0) / scale).tolist()
    return (across, down)


def _followed(
    before: View, after: View, grid: Float32[np.ndarray, "n 2"]
) -> tuple[Float32[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    """How far each point goes, and whether the way back leads to where it was."""
    there, _ = _tracked(before, after, grid)
    back, found = _tracked(after, before, there)
    return there - grid, found & (np.linalg.norm(back - grid, axis=-1) < 0.7)


def _tracked(
    before: View, after: View, points: Float32[np.ndarray, "n 2"]
) -> tuple[Float32[np.ndarray, "n 2"], Bool[np.ndarray, " n"]]:
    import cv2

    ends, found, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, points.copy(), winSize=_REACH, maxLevel=3
    )
    return ends, found[:, 0] > 0


def _grid(rows: int, columns: int) -> Float32[np.ndarray, "n 2"]:
    x, y = np.meshgrid(np.arange(_APART // 2, columns, _APART), np.arange(_APART // 2, rows, _APART))
    return np.stack([x.ravel(), y.ravel()], axis=-1).astype(np.float32)


def _covered(
    points: Float32[np.ndarray, "n 2"], people: Sequence[Window], scale: float
) -> Bool[np.ndarray, " n"]:
    inside = np.zeros(len(points), bool)
    for window in people:
        middle = np.array([window.x, window.y]) * scale
        inside |= (np.abs(points - middle) < 0.35 * window.side * scale).all(axis=-1)
    return inside
