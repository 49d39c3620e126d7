"""MediaPipe's older interface to the same two models: what is used where the Tasks graphs cannot be built."""

import threading
from typing import Any

import numpy as np
from jaxtyping import UInt8

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Pose, window_of
from selfmocap.tracking.detectors.mediapipe import believed, quiet_stderr, small_mask
from selfmocap.tracking.detectors.window import Window, cut

_SIDE = 320


class MediaPipeLegacy:
    """MediaPipe 0.10.21's `solutions.pose` on windows of the image. It reports no presence: a landmark in the image
    counts as present, and a person's score is the mean visibility of the landmarks."""

    name = "mediapipe-legacy"
    points: KeypointSet = keypoint_set("mediapipe-33")
    follows = True

    def __init__(self) -> None:
        with quiet_stderr():
            from mediapipe.python.solutions.pose import Pose as Solution

            self._solution: Any = Solution(
                static_image_mode=True,
                model_complexity=1,
                enable_segmentation=True,
                smooth_segmentation=False,
            )
            self._solution.process(np.zeros((_SIDE, _SIDE, 3), np.uint8))
        self._alone = threading.Lock()

    def search(self, image: UInt8[np.ndarray, "height width 3"], tile: Window) -> list[Window]:
        """The window of the one person found in a tile of the image."""
        pose = self.look(image, tile)
        return [] if pose is None else [pose.window]

    def look(self, image: UInt8[np.ndarray, "height width 3"], window: Window) -> Pose | None:
        """The person in a window, or None."""
        with self._alone:
            found = self._solution.process(cut(image, window, _SIDE))
        if found.pose_landmarks is None or found.segmentation_mask is None:
            return None
        landmarks = found.pose_landmarks.landmark
        keypoints = window.to_image(np.array([[point.x, point.y] for point in landmarks]))
        visibility = np.array([point.visibility for point in landmarks])
        height, width = image.shape[:2]
        return Pose(
            keypoints=keypoints.astype(np.float32),
            confidence=believed(keypoints, visibility, width, height, self.points),
            score=float(visibility.mean()),
            window=window_of(keypoints, visibility),
            mask=small_mask(found.segmentation_mask),
            mask_window=window,
        )

    def everybody(self, frame: Frame) -> list[Pose]:
        """Not asked of a detector that follows."""
        raise NotImplementedError
