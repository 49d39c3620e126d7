"""A pose ensemble: BlazePose and MoveNet detect the same person, and for each keypoint the likelier position wins.

The models' errors differ: BlazePose knows feet and hands and gives masks and windows, MoveNet seldom takes left for
right. Which of the two is right follows from their scores and their distance (`keypoint_calibration`)."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.tracking.config import Quality
from selfmocap.tracking.detectors.blazepose import MIN_PERSON_SCORE, BlazePose, detection_of, window_of_box
from selfmocap.tracking.detectors.detection import Detection, PersonBox
from selfmocap.tracking.detectors.keypoint_calibration import (
    BLAZEPOSE,
    OWN,
    SHARED,
    TORSO_OF_WINDOW,
    KeypointCalibration,
    keypoint_calibration,
    own_features,
    pair_features,
    probability,
)
from selfmocap.tracking.detectors.movenet import MOVENET_MARGIN, MoveNet, upright_window
from selfmocap.tracking.detectors.pose_detection import window_of_circle
from selfmocap.tracking.detectors.pose_landmarks import PoseLandmarker
from selfmocap.tracking.detectors.window import RgbImage, Window

ENSEMBLE_MODELS: dict[Quality, tuple[Literal["full", "heavy"], Literal["lightning", "thunder"]]] = {
    "fast": ("full", "lightning"),
    "balanced": ("heavy", "lightning"),
    "best": ("heavy", "thunder"),
}
"""BlazePose's and MoveNet's model of each quality."""
AGREEMENT_DISTANCE = 0.2
"""Torso lengths within which two models detect the same position."""
_MIN_SCORE = 0.2
"""Score of MoveNet from which a keypoint belongs to the body."""
_CIRCLE_MARGIN = 1.1
"""Radius of the circle around a body over the distance of its farthest keypoint from the hips."""
_LIMBS_AND_TORSO = slice(5, 17)
"""Rows of MoveNet's keypoints from the shoulders down."""


class PoseEnsemble:
    """BlazePose and MoveNet."""

    name = "ensemble"
    points: KeypointSet = BLAZEPOSE

    def __init__(self, quality: Quality = "balanced") -> None:
        blazepose, movenet = ENSEMBLE_MODELS[quality]
        self._blazepose, self._landmarker = BlazePose(blazepose), PoseLandmarker(blazepose)
        self._movenet, self._calibration = MoveNet(movenet), keypoint_calibration(quality)

    def find_people(self, image: RgbImage, region: Window | None) -> list[PersonBox]:
        """Return a box for each person whom NanoDet finds in the image, or in an upright square region of it."""
        return self._blazepose.find_people(image, region)

    def rois_of_box(self, image: RgbImage, box: PersonBox) -> list[Window]:
        """Return regions of interest for the person in a found box: first the one around MoveNet's keypoints."""
        keypoints, scores = self._movenet.detect_keypoints(image, window_of_box(box, MOVENET_MARGIN))
        return [_window_of_body(keypoints, scores), *self._blazepose.rois_of_box(image, box)]

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return a region of interest for each person found in a square tile of the image."""
        return self._blazepose.propose_rois(image, tile)

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if BlazePose's landmark model reports none."""
        found = self._landmarker.detect_landmarks(image, roi)
        if found.score < MIN_PERSON_SCORE:
            return None
        keypoints, scores = self._movenet.detect_keypoints(image, upright_window(found.keypoints[SHARED]))
        fused = fuse_keypoints(
            found.keypoints, found.visibility, keypoints, scores, found.window, self._calibration
        )
        detection = detection_of(found, roi, fused.keypoints, fused.confidence, image.shape)
        inside = detection.confidence[SHARED][_LIMBS_AND_TORSO] > 0
        return replace(detection, agreement=float(fused.agrees[inside].mean()) if inside.any() else 0.0)


def _window_of_body(keypoints: Float[np.ndarray, "17 2"], scores: Float[np.ndarray, " 17"]) -> Window:
    """Compute BlazePose's window, which is turned with the torso and has the hips in its middle."""
    shoulders, hips = keypoints[5:7].mean(axis=0), keypoints[11:13].mean(axis=0)
    reach = np.linalg.norm(keypoints[scores >= _MIN_SCORE] - hips, axis=-1).max(initial=0.0)
    up = (shoulders - hips) / max(float(np.linalg.norm(shoulders - hips)), 1.0)
    return window_of_circle(hips, hips + _CIRCLE_MARGIN * reach * up)


class FusedKeypoints(NamedTuple):
    """Keypoints of two models as one."""

    keypoints: Float[np.ndarray, "n 2"]
    """px of the image."""
    confidence: Float[np.ndarray, " n"]
    """Probability of each to be right, if it is in the image."""
    agrees: Bool[np.ndarray, " 12"]
    """Whether the models agree on each keypoint of the torso and limbs."""


def fuse_keypoints(
    blazepose: Float[np.ndarray, "33 2"], visibility: Float[np.ndarray, " 33"], movenet: Float[np.ndarray, "17 2"],
    scores: Float[np.ndarray, " 17"], window: Window, calibration: KeypointCalibration,
) -> FusedKeypoints:  # fmt: skip
    """Fuse the keypoints (px of the image) that BlazePose and MoveNet detect of the person in a window; see
    `fuse_shared` and `own_keypoints`."""
    assert calibration.own is not None
    shared = fuse_shared(blazepose[SHARED], visibility[SHARED], movenet, scores, window, calibration)
    own, features = own_keypoints(blazepose, visibility, shared, window)
    keypoints, confidence = np.empty_like(blazepose), np.empty(len(blazepose))
    keypoints[SHARED], keypoints[OWN] = shared.keypoints, own
    confidence[SHARED], confidence[OWN] = shared.confidence, probability(calibration.own, features)
    return FusedKeypoints(keypoints, confidence, shared.agrees)


def fuse_shared(
    blazepose: Float[np.ndarray, "17 2"], visibility: Float[np.ndarray, " 17"], movenet: Float[np.ndarray, "17 2"],
    scores: Float[np.ndarray, " 17"], window: Window, calibration: KeypointCalibration,
) -> FusedKeypoints:  # fmt: skip
    """Fuse the keypoints that both models detect.

    Where they agree, the result is their mean, weighted by the squared odds of each to be right; elsewhere it is the
    likelier one."""
    assert calibration.movenet is not None
    distance = np.linalg.norm(blazepose - movenet, axis=-1) / (TORSO_OF_WINDOW * window.side)
    features = pair_features(visibility, scores, distance, window)
    p, q = (probability(weights, features) for weights in (calibration.blazepose, calibration.movenet))
    agree = distance < AGREEMENT_DISTANCE
    odds = np.stack([p * (1 - q), q * (1 - p)]) ** 2
    weight = np.where(agree, odds[1] / odds.sum(axis=0), q > p)[:, None]
    return FusedKeypoints(
        weight * movenet + (1 - weight) * blazepose,
        np.maximum(p, q),
        agree[_LIMBS_AND_TORSO],
    )


def own_keypoints(
    blazepose: Float[np.ndarray, "33 2"], visibility: Float[np.ndarray, " 33"], shared: FusedKeypoints, window: Window
) -> tuple[Float[np.ndarray, "16 2"], Float[np.ndarray, "16 4"]]:  # fmt: skip
    """Return the keypoints that only BlazePose detects, and the features of their confidence.

    Where the models disagree about the joint that they belong to, they move with it. Where the joint is now nearer to
    BlazePose's of the other side, which took left for right, they are those of the other side."""
    anchor, mirrored = shared.keypoints[_ANCHORS], np.array(BLAZEPOSE.mirror)[OWN]
    moved, moved_mirrored = (
        np.linalg.norm(anchor - blazepose[_JOINT[source]], axis=-1) for source in (OWN, mirrored)
    )
    apart = moved > AGREEMENT_DISTANCE * TORSO_OF_WINDOW * window.side
    source = np.where(apart & (moved_mirrored < moved), mirrored, OWN)
    shift = np.where(apart[:, None], anchor - blazepose[_JOINT[source]], 0.0)
    return blazepose[source] + shift, own_features(visibility[source], shared.confidence[_ANCHORS], window)


def _joint_of(index: int) -> int:
    """Return the nearest keypoint up BlazePose's skeleton that MoveNet detects as well."""
    while index not in SHARED:
        index = BLAZEPOSE.parents[index]
    return index


_JOINT = np.array([_joint_of(index) for index in range(len(BLAZEPOSE.names))])
_ANCHORS = np.array([SHARED.index(joint) for joint in _JOINT[OWN]])
"""The joint that each of OWN belongs to: its row in SHARED."""
