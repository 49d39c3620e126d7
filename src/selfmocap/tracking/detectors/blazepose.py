"""BlazePose: detect people and their 33 keypoints with two models (Bazarevsky et al. 2020, arXiv:2006.10204).

The person detector proposes windows. The landmark model detects the keypoints, the mask and the next window of the
person in one. Outputs equal those of MediaPipe 0.10.21's graphs of the same models to 0.001 px."""

import numpy as np
from jaxtyping import Float, UInt8

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.tracking.detectors.detection import MASK_SIDE, Detection
from selfmocap.tracking.detectors.litert import litert_model, sigmoid
from selfmocap.tracking.detectors.pose_detection import DETECTOR_SIDE, detect_people, window_of_circle
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window

_LANDMARKER_SIDE = 256
"""Side of the landmark model's input, px."""
_KEYPOINTS, _POINTS = 33, 39
"""Keypoints of the body; with the points that place the next window."""
_MAX_TORSO_CONFIDENCE = 0.8
"""Upper limit for shoulders and hips, which the models always report as visible, occluded or not."""
_MIN_DETECTION_SCORE = 0.2
"""Score of the person detector from which a window is passed on; the landmark model's score then decides."""
_MIN_PERSON_SCORE = 0.5
"""Score of the landmark model from which a window holds a person."""
_REFINEMENT_REACH = 3
"""Cells on each side of a landmark over which its heatmap is averaged."""
_MIN_PEAK = 0.5
"""Probability in the heatmap from which a landmark is refined."""


class BlazePose:
    """BlazePose's person detector and full landmark model."""

    name = "blazepose"
    points: KeypointSet = keypoint_set("mediapipe-33")

    def __init__(self) -> None:
        self._detector, self._landmarker = litert_model("pose_detection"), litert_model("pose_landmark_full")

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return a region of interest for each person found in a square tile of the image."""
        people = detect_people(self._detector, crop_window(image, tile, DETECTOR_SIDE), _MIN_DETECTION_SCORE)
        return [window_of_circle(*tile.to_image(person)) for person in people]

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if the landmark model reports none."""
        crop = crop_window(image, roi, _LANDMARKER_SIDE)
        outputs = self._landmarker(crop[None].astype(np.float32) / np.float32(255))
        score = float(outputs["Identity_1"][0, 0])
        if score < _MIN_PERSON_SCORE:
            return None
        table = outputs["Identity"][0].reshape(_POINTS, 5)
        points = roi.to_image(_refine(table[:, :2] / _LANDMARKER_SIDE, outputs["Identity_3"][0]))
        visibility = sigmoid(table[:_KEYPOINTS, 3]) * sigmoid(table[:_KEYPOINTS, 4])
        height, width = image.shape[:2]
        return Detection(
            keypoints=points[:_KEYPOINTS].astype(np.float32),
            confidence=calibrated_confidence(points[:_KEYPOINTS], visibility, width, height, self.points),
            score=score,
            window=window_of_circle(points[33], points[34]),
            mask=mask_bytes(sigmoid(outputs["Identity_2"][0, :, :, 0])),
            mask_window=roi,
        )


def _refine(
    points: Float[np.ndarray, "39 2"], heatmaps: Float[np.ndarray, "size size 39"]
) -> Float[np.ndarray, "39 2"]:
    """Move each point (fractions of the window) to the mean of its heatmap around it, if the heatmap peaks there.

    The refinement of MediaPipe's graph; without it, keypoints are 8 to 9 px of 256 off."""
    size = heatmaps.shape[0]
    refined = points.copy()
    cells = np.floor(points * size).astype(int)
    for n in np.flatnonzero(((cells >= 0) & (cells < size)).all(axis=-1)):
        column, row = cells[n]
        left, top = max(column - _REFINEMENT_REACH, 0), max(row - _REFINEMENT_REACH, 0)
        window = heatmaps[top : row + _REFINEMENT_REACH + 1, left : column + _REFINEMENT_REACH + 1, n]
        weights = sigmoid(window)
        if weights.max() >= _MIN_PEAK:
            down, across = np.indices(weights.shape)
            mean = [((across + left) * weights).sum(), ((down + top) * weights).sum()]
            refined[n] = np.array(mean) / (weights.sum() * size)
    return refined


def calibrated_confidence(
    keypoints: Float[np.ndarray, "n 2"],
    visibility: Float[np.ndarray, " n"],
    width: int,
    height: int,
    points: KeypointSet,
) -> Float[np.ndarray, " n"]:
    """Compute the confidence of keypoints from the models' outputs.

    `visibility` is the probability that a keypoint is not occluded, times the probability that it is in the image. The
    result is 0 outside the frame (of `width` x `height` px) and at most _MAX_TORSO_CONFIDENCE for shoulders and
    hips."""
    limits = [_MAX_TORSO_CONFIDENCE if name.endswith(("shoulder", "hip")) else 1.0 for name in points.names]
    inside = ((keypoints >= -0.5) & (keypoints <= np.array([width, height]) - 0.5)).all(axis=-1)
    return np.where(inside, np.minimum(visibility, limits), 0.0).astype(np.float32)


def mask_bytes(mask: Float[np.ndarray, "side side"]) -> UInt8[np.ndarray, "small small"]:
    """Resize a probability map to MASK_SIDE and multiply it by 255."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(mask), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small * 255).astype(np.uint8)
