"""Pedestrian detector on histograms of oriented gradients (Dalal and Triggs 2005), for crowds.

It proposes windows where BlazePose's person detector does not separate neighbours. The classifier comes with OpenCV.
"""

from functools import cache
from typing import Any

import numpy as np

from selfmocap.tracking.detectors.window import RgbImage, Window

_SEARCH_WIDTH_PX, _MAX_ENLARGEMENT = 1280, 2.0
"""Width of the image that is searched, and how far a smaller image is enlarged; people are found from 96 px height."""
_PERSON_HEIGHT = 0.75
"""Height of a person over the height of the detector's rectangle."""
_WINDOW_SCALE = 1.6
"""Side of a window over the person's height."""
_MIN_SCORE = -0.2
"""Score of the classifier; low, because the landmarker then decides."""


def detect_pedestrians(image: RgbImage) -> list[Window]:
    """Return windows that may hold a standing person, sorted."""
    import cv2

    scale = min(_SEARCH_WIDTH_PX / image.shape[1], _MAX_ENLARGEMENT)
    interpolation = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    searched = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)
    rectangles, _ = _detector().detectMultiScale(
        searched, hitThreshold=_MIN_SCORE, winStride=(8, 8), padding=(16, 16), scale=1.05, groupThreshold=1
    )
    # OpenCV searches in several threads: the order of the rectangles varies from run to run.
    boxes = np.array(sorted(np.asarray(rectangles).reshape(-1, 4).tolist())).reshape(-1, 4) / scale
    return [Window(x + w / 2, y + h / 2, _WINDOW_SCALE * _PERSON_HEIGHT * h) for x, y, w, h in boxes.tolist()]


@cache
def _detector() -> Any:
    import cv2

    detector = cv2.HOGDescriptor()
    detector.setSVMDetector(np.array(cv2.HOGDescriptor.getDefaultPeopleDetector(), np.float32))
    return detector
