"""Where people stand upright, by histograms of oriented gradients (Dalal and Triggs 2005): a second opinion in crowds,
by the classifier that OpenCV brings along."""

from functools import cache
from typing import Any

import numpy as np
from jaxtyping import UInt8

from selfmocap.tracking.detectors.window import Window

_WIDTH, _MOST_ENLARGED = 1280, 2.0
"""px of the image that is searched, and how far a smaller one is enlarged: who is found is 96 px tall there."""
_PERSON = 0.75
"""Height of a person in that of the rectangle that is found."""
_WINDOW = 1.6
"""Side of a window over the person's height."""
_THRESHOLD = -0.2
"""Of the classifier: who looks into the windows decides."""


def standing(image: UInt8[np.ndarray, "height width 3"]) -> list[Window]:
    """Windows that may hold somebody who stands."""
    import cv2

    scale = min(_WIDTH / image.shape[1], _MOST_ENLARGED)
    how = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    searched = cv2.resize(image, None, fx=scale, fy=scale, interpolation=how)
    found, _ = _detector().detectMultiScale(
        searched, hitThreshold=_THRESHOLD, winStride=(8, 8), padding=(16, 16), scale=1.05, groupThreshold=1
    )
    # Several threads search: in what order they find people varies.
    boxes = np.array(sorted(np.asarray(found).reshape(-1, 4).tolist())).reshape(-1, 4) / scale
    return [Window(x + w / 2, y + h / 2, _WINDOW * _PERSON * h) for x, y, w, h in boxes.tolist()]


@cache
def _detector() -> Any:
    import cv2

    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return detector
