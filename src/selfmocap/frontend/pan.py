"""How the background moves from frame to frame: people are followed against it, so that a camera that pans neither
hands one person's place to another nor makes what stands still look alive."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from selfmocap.frontend.windows import Window

_LONGEST = 320
_APART = 16
"""Small px between two points that are followed."""
_FEWEST = 12
"""Points of the background without which nothing is said."""

View = UInt8[np.ndarray, "rows columns"]


def small_view(image: UInt8[np.ndarray, "height width 3"]) -> View:
    """The frame in grey, at most 320 px long."""
    import cv2

    scale = min(1.0, _LONGEST / max(image.shape[:2]))
    size = tuple(max(round(n * scale), 1) for n in image.shape[1::-1])
    return cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)


def background_shift(before: View, after: View, width: int, people: Sequence[Window]) -> tuple[float, float]:
    """By how much the background has moved between two views of frames `width` px wide, px of the frame: the median
    over a grid of points outside the people's windows that are found again there and back (Lucas and Kanade)."""
    import cv2

    scale = before.shape[1] / width
    grid = _grid(before.shape[0], before.shape[1])
    grid = grid[~_covered(grid, people, scale)]
    if len(grid) < _FEWEST:
        return (0.0, 0.0)
    there, _, _ = cv2.calcOpticalFlowPyrLK(before, after, grid, None, winSize=(15, 15), maxLevel=3)
    back, found, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=(15, 15), maxLevel=3)
    kept = (found[:, 0] > 0) & (np.linalg.norm(back - grid, axis=-1) < 0.7)
    if kept.sum() < _FEWEST:
        return (0.0, 0.0)
    across, down = (np.median((there - grid)[kept], axis=0) / scale).tolist()
    return (across, down)


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
