"""What is found of one person in one frame."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.tracking.detectors.window import Window

MASK_SIDE = 128
"""Pixels a side of a found person's mask."""

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


@dataclass(frozen=True, eq=False)
class Pose:
    """One person in one frame."""

    keypoints: Float[np.ndarray, "keypoints 2"]
    """px of the frame."""
    confidence: Float[np.ndarray, " keypoints"]
    """In [0, 1]; 0 is not seen."""
    score: float
    """In [0, 1]: that this is a person."""
    window: Window
    """Where to look for the same person in the next frame."""
    mask: UInt8[np.ndarray, "side side"] | None = None
    """255 times the probability that a pixel of `mask_window` is this person's; None where nothing measures it."""
    mask_window: Window | None = None


def moved(pose: Pose, shift: tuple[float, float]) -> Pose:
    """The same pose, `shift` px farther right and down."""
    window, mask = pose.window, pose.mask_window
    return replace(
        pose,
        keypoints=pose.keypoints + np.array(shift, pose.keypoints.dtype),
        window=replace(window, x=window.x + shift[0], y=window.y + shift[1]),
        mask_window=mask and replace(mask, x=mask.x + shift[0], y=mask.y + shift[1]),
    )


def body_distance(a: Pose, b: Pose, points: KeypointSet) -> float:
    """Median distance of the torso's and limbs' keypoints, in fifths of the window's side (about a torso's length)."""
    chosen = _indices(points, _TORSO + _LIMBS)
    distance = np.linalg.norm(a.keypoints[chosen] - b.keypoints[chosen], axis=-1)
    return float(np.median(distance)) / (0.1 * (a.window.side + b.window.side))


def limb_confidence(pose: Pose, points: KeypointSet) -> float:
    """Mean confidence of those keypoints of torso, arms and legs that lie in the frame; 0 where fewer than four do."""
    chosen = pose.confidence[_indices(points, _TORSO + _LIMBS)]
    inside = chosen[chosen > 0]
    return float(inside.mean()) if len(inside) >= len(_TORSO) else 0.0


def extent(pose: Pose) -> float:
    """Longer side of the box around all keypoints over the window's side: about 0.65 for a person who stands."""
    return float(np.ptp(pose.keypoints, axis=0).max()) / pose.window.side


def share_within(pose: Pose, other: Pose) -> float:
    """Share of a pose's confident keypoints that lie on the other person's mask; 0 where there is no mask."""
    points = pose.keypoints[pose.confidence > 0.3]
    if other.mask is None or other.mask_window is None or not len(points):
        return 0.0
    matrix = other.mask_window.matrix(MASK_SIDE)
    columns, rows = np.rint(points @ matrix[:, :2].T + matrix[:, 2]).astype(int).T
    inside = (columns >= 0) & (rows >= 0) & (columns < MASK_SIDE) & (rows < MASK_SIDE)
    return float((other.mask[rows[inside], columns[inside]] > 127).sum()) / len(points)


def window_of(keypoints: Float[np.ndarray, "n 2"], confidence: Float[np.ndarray, " n"]) -> Window:
    """An upright window around the more confident keypoints, for detectors that do not say where to look next."""
    seen = keypoints[confidence >= 0.3 * confidence.max()]
    low, high = seen.min(axis=0), seen.max(axis=0)
    middle = (low + high) / 2
    return Window(float(middle[0]), float(middle[1]), max(1.5 * float((high - low).max()), 8.0))


def _indices(points: KeypointSet, names: tuple[str, ...]) -> list[int]:
    return [points.index(name) for name in names]
