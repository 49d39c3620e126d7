"""MediaPipe's legacy interface to the same two models, for installations where the Tasks graphs cannot be built."""

import threading
from typing import Any

import numpy as np

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.tracking.detectors.detection import Detection, window_around
from selfmocap.tracking.detectors.mediapipe import calibrated_confidence, mask_bytes, quiet_stderr
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window

_INPUT_SIDE = 320
"""Side of the image that the models are given, px."""


class MediaPipeLegacy:
    """Run MediaPipe 0.10.21's `solutions.pose` on windows of the image.

    It reports no presence: a landmark inside the image counts as present, and the person's score is the mean visibility
    of the landmarks. Calls from several threads run one after the other."""

    name = "mediapipe-legacy"
    points: KeypointSet = keypoint_set("mediapipe-33")

    def __init__(self) -> None:
        with quiet_stderr():
            from mediapipe.python.solutions.pose import Pose

            self._solution: Any = Pose(
                static_image_mode=True,
                model_complexity=1,
                enable_segmentation=True,
                smooth_segmentation=False,
            )
            self._solution.process(np.zeros((_INPUT_SIDE, _INPUT_SIDE, 3), np.uint8))
        self._lock = threading.Lock()

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return the region of interest of the one person found in a tile of the image."""
        detection = self.detect_in_roi(image, tile)
        return [] if detection is None else [detection.window]

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if there is none."""
        with self._lock:
            result = self._solution.process(crop_window(image, roi, _INPUT_SIDE))
        if result.pose_landmarks is None or result.segmentation_mask is None:
            return None
        landmarks = result.pose_landmarks.landmark
        keypoints = roi.to_image(np.array([[point.x, point.y] for point in landmarks]))
        visibility = np.array([point.visibility for point in landmarks])
        height, width = image.shape[:2]
        return Detection(
            keypoints=keypoints.astype(np.float32),
            confidence=calibrated_confidence(keypoints, visibility, width, height, self.points),
            score=float(visibility.mean()),
            window=window_around(keypoints, visibility),
            mask=mask_bytes(result.segmentation_mask),
            mask_window=roi,
        )
