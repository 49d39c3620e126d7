"""Masks of the people in whole frames, from their keypoints."""

from collections.abc import Callable, Sequence

import numpy as np

from selfmocap.tracking.camera_path.tracks import PeopleMask
from selfmocap.tracking.observations import Observations

_MARGIN = 0.2
"""Distance around the keypoints' hull that may show the person, in half sides of their box: hair, hands, clothes."""


def people_masks(people: Sequence[Observations]) -> Callable[[int, tuple[int, int], float], PeopleMask]:
    """Return a function of a frame's index, the shape (height, width) of the mask, and its px per px of the frame. The
    mask is True inside the convex hull of the keypoints of each person, and around it."""
    rows = [{int(index): row for row, index in enumerate(person.frame_index)} for person in people]

    def mask(frame: int, shape: tuple[int, int], scale: float) -> PeopleMask:
        import cv2

        covered = np.zeros(shape, np.uint8)
        for person, row_of in zip(people, rows, strict=True):
            if (row := row_of.get(frame)) is None:
                continue
            points = person.keypoints[row][person.keypoint_confidence[row] > 0].numpy()
            if not len(points):
                continue
            hull = cv2.convexHull(np.rint((points + 0.5) * scale - 0.5).astype(np.int32))
            cv2.fillPoly(covered, [hull], (1,))
            margin = _MARGIN * float(person.boxes[row, 2]) * scale
            cv2.polylines(covered, [hull], True, (1,), max(round(2 * margin), 1))
        return covered.astype(bool)

    return mask
