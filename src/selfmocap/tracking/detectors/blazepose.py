"""BlazePose: detect people and their 33 keypoints with two models (Bazarevsky et al. 2020, arXiv:2006.10204).

The person detector proposes windows. The landmark model detects the keypoints, the mask and the next window of the
person in one. Outputs equal those of MediaPipe 0.10.21's graphs of the same models to 0.001 px."""

from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.tracking.detectors.detection import MASK_SIDE, Detection, PersonBox
from selfmocap.tracking.detectors.keypoint_calibration import (
    keypoint_calibration,
    known_confidence,
    probability,
    single_features,
)
from selfmocap.tracking.detectors.litert import litert_model
from selfmocap.tracking.detectors.nanodet import NanoDet
from selfmocap.tracking.detectors.pose_detection import DETECTOR_SIDE, detect_people, window_of_circle
from selfmocap.tracking.detectors.pose_landmarks import PoseLandmarker, PoseLandmarks
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window

_MIN_DETECTION_SCORE = 0.2
"""Score of the person detector from which a window is passed on; the landmark model's score then decides."""
_MIN_BOX_SCORE = 0.3
"""Score of NanoDet from which a box is returned."""
_BOX_SCALES = (1.4, 1.7)
"""Sides of the windows, over the longer side of a found box, in which its person is looked for."""
MIN_PERSON_SCORE = 0.5
"""Score of the landmark model from which a window holds a person."""


class BlazePose:
    """BlazePose's person detector and landmark model."""

    name = "blazepose"
    points: KeypointSet = keypoint_set("mediapipe-33")

    def __init__(self, variant: Literal["full", "heavy"] = "full") -> None:
        self._detector, self._landmarker = litert_model("pose_detection"), PoseLandmarker(variant)
        self._calibration, self._person_detector = keypoint_calibration(variant), NanoDet()

    def find_people(self, image: RgbImage, region: Window | None) -> list[PersonBox]:
        """Return a box for each person whom NanoDet finds in the image, or in an upright square region of it."""
        boxes, scores = self._person_detector.detect_people(image, region, _MIN_BOX_SCORE)
        rows = np.concatenate([boxes, scores[:, None]], axis=1).tolist()
        return [PersonBox._make(row) for row in rows]

    def rois_of_box(self, image: RgbImage, box: PersonBox) -> list[Window]:
        """Return regions of interest for the person in a found box, for a whole body and for parts of one."""
        return [window_of_box(box, scale) for scale in _BOX_SCALES]

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return a region of interest for each person found in a square tile of the image."""
        people = detect_people(self._detector, crop_window(image, tile, DETECTOR_SIDE), _MIN_DETECTION_SCORE)
        return [window_of_circle(*tile.to_image(person)) for person in people]

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if the landmark model reports none."""
        found = self._landmarker.detect_landmarks(image, roi)
        if found.score < MIN_PERSON_SCORE:
            return None
        features = single_features(found.visibility, found.window)
        confidence = probability(self._calibration.blazepose, features)
        return detection_of(found, roi, found.keypoints, confidence, image.shape)


def detection_of(
    found: PoseLandmarks, roi: Window, keypoints: Float[np.ndarray, "33 2"], confidence: Float[np.ndarray, " 33"],
    shape: tuple[int, ...],
) -> Detection:  # fmt: skip
    """Return the detection of a person in a window of an image of `shape`, with keypoints and their confidence; 0
    outside the image."""
    return Detection(
        keypoints=keypoints.astype(np.float32),
        confidence=known_confidence(keypoints, confidence, shape),
        score=found.score,
        window=found.window,
        mask=mask_bytes(found.mask),
        mask_window=roi,
    )


def window_of_box(box: PersonBox, scale: float) -> Window:
    """Return an upright window with the centre of a box, and `scale` times its longer side."""
    longer = max(box.right - box.left, box.bottom - box.top)
    return Window((box.left + box.right) / 2, (box.top + box.bottom) / 2, scale * longer)


def mask_bytes(mask: Float[np.ndarray, "side side"]) -> UInt8[np.ndarray, "small small"]:
    """Resize a probability map to MASK_SIDE and multiply it by 255."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(mask), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small * 255).astype(np.uint8)
