"""The detection of one person in one frame, and measures on detections."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.tracking.confidence import VISIBLE, WINDOW_RELATIVE
from selfmocap.tracking.detectors.window import Window

MASK_SIDE = 128
"""Side of a detection's mask, px."""
MASK_FOREGROUND = 127
"""Value of a mask pixel above which it belongs to the person."""
_WINDOW_MARGIN = 1.5
"""Side of a window over the longer side of the keypoints' bounding box."""
_MIN_WINDOW_SIDE_PX = 8.0

_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_LIMBS = (
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)


class PersonBox(NamedTuple):
    """A person found in an image, without keypoints; px of the image."""

    left: float
    top: float
    right: float
    bottom: float
    score: float
    """In [0, 1]."""


@dataclass(frozen=True, eq=False)
class Detection:
    """One detected person in one frame."""

    keypoints: Float[np.ndarray, "keypoints 2"]
    """px of the frame."""
    confidence: Float[np.ndarray, " keypoints"]
    """In [0, 1]; 0 if a keypoint is not detected."""
    score: float
    """Probability that this is a person, in [0, 1]."""
    window: Window
    """Region of interest in which to search for the same person in the next frame."""
    mask: UInt8[np.ndarray, "side side"] | None = None
    """255 times the probability that a pixel of `mask_window` belongs to the person; None without masks."""
    mask_window: Window | None = None
    agreement: float = 1.0
    """Fraction of the torso and limb keypoints in the frame on which a second model agrees; 1 without one."""


def translated(detection: Detection, shift: tuple[float, float]) -> Detection:
    """Move a detection `shift` px to the right and down."""
    window, mask = detection.window, detection.mask_window
    return replace(
        detection,
        keypoints=detection.keypoints + np.array(shift, detection.keypoints.dtype),
        window=replace(window, x=window.x + shift[0], y=window.y + shift[1]),
        mask_window=mask and replace(mask, x=mask.x + shift[0], y=mask.y + shift[1]),
    )


def body_distance(a: Detection, b: Detection, points: KeypointSet) -> float:
    """Compute the median distance of the torso and limb keypoints, in fifths of the window's side.

    The unit is about the length of a torso."""
    rows = _indices(points, _TORSO + _LIMBS)
    distance = np.linalg.norm(a.keypoints[rows] - b.keypoints[rows], axis=-1)
    return float(np.median(distance)) / (0.1 * (a.window.side + b.window.side))


def relative_extent(detection: Detection) -> float:
    """Divide the longer side of the keypoints' bounding box by the window's side: about 0.65 for a standing person."""
    return float(np.ptp(detection.keypoints, axis=0).max()) / detection.window.side


def visible_box(detection: Detection, width: int, height: int) -> Float[np.ndarray, " 4"]:
    """Compute the box around the visible keypoints (left, top, right, bottom; px), cut at the frame's edges."""
    visible = detection.keypoints[detection.confidence > VISIBLE]
    if not len(visible):
        return np.zeros(4)
    low, high = visible.min(axis=0).clip(0), np.minimum(visible.max(axis=0), [width, height])
    return np.concatenate([low, high]).astype(float)


def fraction_on_mask(detection: Detection, other: Detection) -> float:
    """Compute the fraction of visible keypoints that lie on the other person's mask; 0 if there is no mask."""
    points = detection.keypoints[detection.confidence > VISIBLE]
    if other.mask is None or other.mask_window is None or not len(points):
        return 0.0
    matrix = other.mask_window.matrix(MASK_SIDE)
    columns, rows = np.rint(points @ matrix[:, :2].T + matrix[:, 2]).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < MASK_SIDE) & (rows < MASK_SIDE)
    return float((other.mask[rows[inside], columns[inside]] > MASK_FOREGROUND).sum()) / len(points)


def window_around(keypoints: Float[np.ndarray, "n 2"], confidence: Float[np.ndarray, " n"]) -> Window:
    """Compute an upright window around the more confident keypoints, for detectors that return no window."""
    visible = keypoints[confidence >= WINDOW_RELATIVE * float(confidence.max())]
    low, high = visible.min(axis=0), visible.max(axis=0)
    center = (low + high) / 2
    side = max(_WINDOW_MARGIN * float((high - low).max()), _MIN_WINDOW_SIDE_PX)
    return Window(float(center[0]), float(center[1]), side)


def _indices(points: KeypointSet, names: tuple[str, ...]) -> list[int]:
    return [points.index(name) for name in names]
