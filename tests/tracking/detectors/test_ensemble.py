"""The ensemble's fusion of two models, and the calibration of keypoints."""

import numpy as np
import pytest

from selfmocap.tracking.detectors.ensemble import (
    ENSEMBLE_MODELS,
    FusedKeypoints,
    PoseEnsemble,
    fuse_keypoints,
)
from selfmocap.tracking.detectors.keypoint_calibration import (
    BLAZEPOSE,
    MOVENET,
    SHARED,
    keypoint_calibration,
    kind_of,
    known_confidence,
    probability,
    single_features,
)
from selfmocap.tracking.detectors.registry import create_detector
from selfmocap.tracking.detectors.window import Window

PERSON = Window(200.0, 200.0, 250.0)
"""A person's window; a torso is 50 px long."""
LEFT_LEG = ["left_knee", "left_ankle", "left_heel", "left_foot_index"]


def standing() -> np.ndarray:
    """BLAZEPOSE's keypoints of a person of about 165 px, left and right 40 px apart."""
    height = {"eye": 0, "mouth": 4, "ear": 2, "nose": 2, "shoulder": 30, "elbow": 55, "wrist": 80, "pinky": 85,
              "index": 86, "thumb": 84, "hip": 80, "knee": 120, "ankle": 155, "heel": 160, "foot": 165}  # fmt: skip
    keypoints = []
    for name in BLAZEPOSE.names:
        y = next(value for part, value in height.items() if part in name)
        y = height["foot"] if "foot" in name else y
        side = 20 if "left" in name else -20 if "right" in name else 0
        keypoints.append((200 + side, 120 + y))
    return np.array(keypoints, float)


def fused(blazepose: np.ndarray, movenet: np.ndarray, scores: float = 0.8) -> FusedKeypoints:
    visibility = np.full(33, 0.9)
    calibration = keypoint_calibration("fast")
    return fuse_keypoints(blazepose, visibility, movenet, np.full(17, scores), PERSON, calibration)


@pytest.mark.parametrize("quality", ENSEMBLE_MODELS)
def test_confidence_falls_with_the_distance_of_the_models(quality) -> None:
    blazepose, calibration = standing(), keypoint_calibration(quality)
    by_distance = []
    for torsos in (0.02, 0.1, 0.4, 1.0):
        movenet = blazepose[SHARED] + (torsos * 50, 0)
        result = fuse_keypoints(blazepose, np.full(33, 0.9), movenet, np.full(17, 0.6), PERSON, calibration)
        by_distance.append(result.confidence[[BLAZEPOSE.index(name) for name in LEFT_LEG[:2]]])
        assert (result.agrees == (torsos < 0.2)).all()
    assert (np.diff(by_distance, axis=0) < 0).all()


def test_models_that_agree_are_averaged() -> None:
    blazepose = standing()
    movenet = blazepose[SHARED] + (6.0, 0.0)
    result = fused(blazepose, movenet)
    shift = result.keypoints[SHARED, 0] - blazepose[SHARED, 0]
    assert ((shift >= 0) & (shift <= 6)).all() and (shift > 0.1).any() and (shift < 5.9).any()


def test_feet_follow_a_leg_that_movenet_has_elsewhere() -> None:
    blazepose = standing()
    movenet = blazepose[SHARED].copy()
    ankle = MOVENET.index("left_ankle")
    movenet[ankle] += (60.0, -20.0)
    visibility, scores = np.full(33, 0.9), np.full(17, 0.8)
    visibility[BLAZEPOSE.index("left_ankle")] = 0.02
    result = fuse_keypoints(blazepose, visibility, movenet, scores, PERSON, keypoint_calibration("fast"))
    moved = result.keypoints - blazepose
    for name in LEFT_LEG[1:]:
        assert moved[BLAZEPOSE.index(name)] == pytest.approx((60.0, -20.0))
    assert moved[BLAZEPOSE.index("right_heel")] == pytest.approx(0)


def test_feet_and_hands_are_exchanged_where_blazepose_takes_left_for_right() -> None:
    truth = standing()
    blazepose = truth[list(BLAZEPOSE.mirror)]
    visibility = np.full(33, 0.02)
    result = fuse_keypoints(
        blazepose, visibility, truth[SHARED], np.full(17, 0.9), PERSON, keypoint_calibration("fast")
    )
    limbs = [n for n, name in enumerate(BLAZEPOSE.names) if n > BLAZEPOSE.index("right_shoulder")]
    assert result.keypoints[limbs] == pytest.approx(truth[limbs])


def test_left_and_right_are_calibrated_alike() -> None:
    assert {kind_of(name) for name in ("left_eye_inner", "right_eye_inner")} == {"eye_inner"}
    for name in ("full", "fast"):
        weights = keypoint_calibration(name).blazepose
        points = BLAZEPOSE if name == "full" else MOVENET
        assert np.array_equal(weights, weights[list(points.mirror)])


@pytest.mark.parametrize("name", ["full", "heavy"])
def test_one_model_is_surer_of_what_it_sees_well(name) -> None:
    weights = keypoint_calibration(name).blazepose
    low, high = (
        probability(weights, single_features(np.full(33, visibility), PERSON)) for visibility in (0.1, 0.95)
    )
    assert (low < high).all()


def test_confidence_is_zero_outside_the_image_and_below_a_tenth() -> None:
    keypoints = np.array([[50.0, 50.0], [50.0, 101.0], [-1.0, 3.0]])
    assert known_confidence(keypoints, np.full(3, 0.9), (100, 100)) == pytest.approx([0.9, 0, 0])
    assert not known_confidence(keypoints, np.full(3, 0.09), (100, 100)).any()


def test_the_registry_creates_every_quality() -> None:
    for quality in ENSEMBLE_MODELS:
        detector = create_detector("ensemble", quality)
        assert isinstance(detector, PoseEnsemble) and detector.points.name == "mediapipe-33"
    with pytest.raises(ValueError, match="expected 'ensemble'"):
        create_detector("other")


def test_nothing_is_detected_in_an_empty_image() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    assert PoseEnsemble("fast").detect_in_roi(image, Window(32.0, 32.0, 64.0)) is None
