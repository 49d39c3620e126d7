"""Dissolves: find where one shot fades into the next, or out and in again.

Every frame of a dissolve is a mixture of the frames before and after it, and their weights change gradually. So neither
a pan, whose frames are no mixture, nor a cut, whose weights change at once, is a dissolve.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float32

from selfmocap.tracking.camera_motion import GreyImage, show_different_scenes

_WINDOW_SECONDS = (0.5, 1.0, 2.0)
"""Windows in which a dissolve is looked for."""
_MIN_WINDOW_FRAMES, _MAX_WINDOW_FRAMES = 6, 120
_MIN_MIXED_FRAMES = 3
"""Frames in which neither scene has more than _PURE_WEIGHT."""
_PURE_WEIGHT = 0.85
_WEIGHT_NOISE = 0.1
"""Largest change of a weight in the wrong direction."""
_MIN_DIFFERENCE, _MIN_CONTRAST = 12.0, 5.0
"""Mean difference of two scenes, and standard deviation within each, grey levels."""
_MAX_MISFIT = 0.4
"""Largest difference (rms) between a frame and the mixture, over that between the two scenes."""
_SMALL_WIDTH = 32
"""px: little enough that people and hand-held cameras hardly move from frame to frame."""

SmallImage = Float32[np.ndarray, " pixels"]


@dataclass(frozen=True, eq=False)
class Dissolve:
    """A window whose frames are mixtures of its first and its last frame."""

    first_frame: int
    last_frame: int
    middle: int
    """First frame in which the later scene outweighs the earlier one."""
    contrast: float
    """Difference (rms) between the two scenes, grey levels."""
    scenes: tuple[GreyImage, GreyImage]


def small_image(thumbnail: GreyImage) -> SmallImage:
    """Scale a thumbnail down to 32 px in width."""
    import cv2

    rows, columns = thumbnail.shape
    size = (_SMALL_WIDTH, max(round(_SMALL_WIDTH * rows / columns), 1))
    return cv2.resize(thumbnail, size, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()


def window_lengths(fps: float) -> list[int]:
    """Return the frames between the first and the last frame of each window."""
    lengths = (round(seconds * fps) for seconds in _WINDOW_SECONDS)
    return sorted({min(max(length, _MIN_WINDOW_FRAMES), _MAX_WINDOW_FRAMES) for length in lengths})


def dissolve_in(
    small: Sequence[SmallImage], scenes: tuple[GreyImage, GreyImage], last_frame: int
) -> Dissolve | None:
    """Decide whether the frames of a window that ends at `last_frame` look like a dissolve between two pictures;
    `scenes` are the thumbnails of the first and the last one."""
    if np.abs(small[0] - small[-1]).mean() < _MIN_DIFFERENCE:
        return None
    images = np.stack(small)
    images -= images.mean(1, keepdims=True)
    ends = images[[0, -1]]
    contrast = _rms(ends[0] - ends[1])
    gram = ends @ ends.T
    if _rms(ends).min() < _MIN_CONTRAST or np.linalg.det(gram) <= 0:
        return None
    weights = np.linalg.solve(gram, ends @ images.T)
    misfit = _rms(images - weights.T @ ends).max()
    before, after = weights
    mixed = (np.maximum(before, after) < _PURE_WEIGHT).sum()
    wrong_way = max(np.diff(before).max(), -np.diff(after).min())
    if misfit > _MAX_MISFIT * contrast or mixed < _MIN_MIXED_FRAMES or wrong_way > _WEIGHT_NOISE:
        return None
    first_frame = last_frame + 1 - len(small)
    return Dissolve(
        first_frame, last_frame, first_frame + int((after >= before).argmax()), float(contrast), scenes
    )


def _rms(values: np.ndarray) -> "np.ndarray | np.floating":
    return np.sqrt((values**2).mean(-1))


def distinct_dissolves(windows: Iterable[Dissolve]) -> Iterator[Dissolve]:
    """Yield one window of each dissolve, from all its windows in the order of their last frames.

    Of windows that overlap, that of the greatest contrast counts: it begins and ends with the pure scenes. A change
    within one scene, such as that of the light, is no dissolve."""
    best: Dissolve | None = None
    for window in chain(windows, [None]):
        if best is not None and window is not None and window.first_frame <= best.last_frame:
            best = max(best, window, key=lambda one: one.contrast)
            continue
        if best is not None and show_different_scenes(*best.scenes):
            yield best
        best = window
