"""Decide whether a camera is static: whether the background of a video stays in its place in the image."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from selfmocap.tracking.camera_motion import GreyImage
from selfmocap.tracking.camera_path.tracks import (
    PeopleMask,
    find_corners,
    track_forward_and_back,
    work_image,
)
from selfmocap.tracking.detectors.window import RgbImage

MAX_STATIC_SHIFT = 0.003
"""Fraction of the image's diagonal by which the background of a static camera may move: 2 px of 640. A hand that holds
a camera still moves it by several times as much."""
SAMPLED_FRAMES = 24
"""Frames, spread over the video, that suffice to decide."""
_CLEARLY_MOVED = 4 * MAX_STATIC_SHIFT
_MAX_POINTS, _MIN_POINTS = 200, 12
_INLIER_PX = 1.0
_MIN_FRACTION = 0.3
"""Fraction of the background's points that must follow one motion."""
_MAX_LOST_FRACTION = 0.5
"""Fraction of the sampled frames in which the background may not be tracked."""


@dataclass(frozen=True)
class BackgroundMotion:
    """How far the background moves in the image."""

    shift: float
    """Greatest mean distance of the background's points from where they were in the first frame, as a fraction of the
    image's diagonal; infinite where it has points that cannot be tracked."""
    certainty: float
    """Fraction of the background's points that move in this way (median of the frames); 0 where it has no points, as a
    plain wall, or they cannot be tracked."""

    @property
    def is_static(self) -> bool:
        """True where the background stays in its place."""
        return self.shift < MAX_STATIC_SHIFT


@dataclass(frozen=True, eq=False)
class _View:
    grey: GreyImage
    people: PeopleMask
    motion: np.ndarray
    """(3, 3): px of the first frame to px of this one."""


def background_motion(frames: Iterable[tuple[RgbImage, PeopleMask]]) -> BackgroundMotion:
    """Measure the motion of the background over some frames of a video, with masks of the people (True) of the size of
    `work_image`. Ends early where the motion is clear.

    Each frame is compared with a reference, at first the first frame. Where too little of the reference is left, the
    frame before becomes the reference, so that errors hardly add up and a slow pan is found."""
    reference = previous = None
    shift, lost, corners, fractions = 0.0, 0, 0, []
    for image, people in frames:
        view = _View(work_image(image)[0], people, np.eye(3))
        if reference is None or previous is None:
            reference = previous = view
            continue
        found = _similarity(reference, view)
        if found is None and previous is not reference:
            reference = previous
            found = _similarity(reference, view)
        if found is None:
            lost += 1
            corners = max(corners, len(_corners(view, view)))
            reference = view = replace(view, motion=reference.motion)
        else:
            view = replace(view, motion=found.motion @ reference.motion)
            fractions.append(found.fraction)
            shift = max(shift, _shift(view, found.points))
        previous = view
        if shift > _CLEARLY_MOVED:
            break
    if lost > _MAX_LOST_FRACTION * (lost + len(fractions)):
        return BackgroundMotion(np.inf if corners >= _MIN_POINTS else shift, 0.0)
    return BackgroundMotion(shift, float(np.median(fractions)) if fractions else 0.0)


@dataclass(frozen=True, eq=False)
class _Step:
    """The motion of the background from one view to another."""

    motion: np.ndarray
    """(3, 3) similarity transform."""
    points: np.ndarray
    """(n, 2) points that follow it, px of the later view."""
    fraction: float
    """Fraction of all points that follow it."""


def _similarity(before: _View, after: _View) -> _Step | None:
    """Estimate the motion of the background; None where less than _MIN_FRACTION of its points follow one."""
    import cv2

    points = _corners(before, after)
    if len(points) < _MIN_POINTS:
        return None
    moved, tracked = track_forward_and_back(before.grey, after.grey, points)
    if tracked.sum() < _MIN_POINTS:
        return None
    motion, inliers = cv2.estimateAffinePartial2D(
        points[tracked], moved[tracked], method=cv2.RANSAC, ransacReprojThreshold=_INLIER_PX
    )
    if motion is None or inliers.sum() < _MIN_FRACTION * len(points):
        return None
    following = moved[tracked][inliers[:, 0] > 0]
    return _Step(np.concatenate([motion, [[0.0, 0.0, 1.0]]]), following, len(following) / len(points))


def _corners(view: _View, other: _View) -> Float[np.ndarray, "n 2"]:
    """Find corners of a view outside the people of both views."""
    return find_corners(view.grey, view.people | other.people, np.zeros((0, 2)), _MAX_POINTS)


def _shift(view: _View, points: np.ndarray) -> float:
    """Compute the mean distance of the points from where they were in the first frame, over the image's diagonal."""
    first = np.linalg.solve(view.motion, np.concatenate([points, np.ones((len(points), 1))], axis=1).T).T
    return float(np.linalg.norm(points - first[:, :2], axis=1).mean() / np.hypot(*view.grey.shape))
