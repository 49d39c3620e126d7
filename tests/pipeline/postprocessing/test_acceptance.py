"""Stages of post-processing keep people on their keypoints, and joints from popping."""

import math
from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.hinges import flexion_deg
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.geometry.camera import project
from selfmocap.pipeline.config import PostprocessConfig
from selfmocap.pipeline.postprocessing.acceptance import (
    MotionMeasures,
    first_accepted,
    keypoint_distance_px,
    keypoint_offsets_px,
)
from selfmocap.pipeline.postprocessing.joint_angles import pop_metrics
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.tracking.observations import Observations
from tests.helpers.walking import FPS, LEVEL, pitched_camera, walking_motion


@pytest.fixture(scope="module")
def small(body: Body) -> Body:
    return keypoint_body(body)


def observed(motion: Motion, noise_px: float = 0.0) -> Observations:
    """Return the projected keypoints of a motion as observations."""
    pixels = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    return Observations(
        frame_index=motion.frame_index, frame_times=motion.frame_times, image_size=motion.image_size,
        boxes=torch.ones(len(motion), 3), keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=pixels + noise_px * torch.randn_like(pixels),
        keypoint_confidence=torch.ones(pixels.shape[:2]),
    )  # fmt: skip


def bent_knee(small: Body, degrees: torch.Tensor, fps: float = FPS) -> Motion:
    angles = torch.zeros(len(degrees), 24, 3)
    angles[:, JOINT["left_knee"], 0] = degrees.deg2rad()
    root = torch.tensor([0.0, 0.0, -5.0]).expand(len(degrees), 3)
    parameters = BodyParameters(torch.zeros(16), roma.rotvec_to_rotmat(angles), root)
    times = torch.arange(len(degrees)).double() / fps
    return Motion.from_parameters(small, parameters, LEVEL, (1280, 720), times)


def test_a_pop_is_measured_in_degrees_per_frame_squared_at_30_frames_a_second(small: Body) -> None:
    degrees = torch.tensor([40.0, 40.0, 40.0, 62.0, 40.0, 40.0, 40.0])
    flexion = flexion_deg(bent_knee(small, degrees).joints_cam)
    assert (flexion[:, 0] - flexion[0, 0] - degrees + 40).abs().max() < 1
    assert pop_metrics(bent_knee(small, degrees))["largest_deg"] == pytest.approx(44, abs=1)
    assert pop_metrics(bent_knee(small, degrees))["fraction"] == pytest.approx(3 / 5)
    assert pop_metrics(bent_knee(small, degrees, fps=15.0))["largest_deg"] == pytest.approx(11, abs=0.5)
    assert pop_metrics(bent_knee(small, degrees[:2])) == {"largest_deg": 0.0, "fraction": 0.0}


def test_the_distance_from_the_keypoints_leaves_out_invisible_ones(small: Body) -> None:
    motion = bent_knee(small, torch.full((4,), 30.0))
    observations = observed(motion)
    keypoints = observations.keypoints.clone()
    keypoints[:, :20] += torch.tensor([3.0, 4.0])
    keypoints[:, 20:] += 100
    confidence = observations.keypoint_confidence.clone()
    confidence[:, 20:] = 0.1
    moved = replace(observations, keypoints=keypoints, keypoint_confidence=confidence)
    assert keypoint_distance_px(motion, moved) == pytest.approx(5, abs=1e-3)
    assert keypoint_offsets_px(motion, moved)[:, 20:].isnan().all()
    nothing = replace(moved, keypoint_confidence=torch.zeros_like(confidence))
    assert math.isnan(keypoint_distance_px(motion, nothing))


def test_the_first_acceptable_candidate_is_taken_and_later_ones_are_not_made(small: Body) -> None:
    one, other = (bent_knee(small, torch.full((4,), angle)) for angle in (10.0, 20.0))

    def candidates():
        yield 1.0, one
        yield 0.5, other
        raise AssertionError("a later candidate was made")

    assert first_accepted(candidates(), lambda m: m is other, one) == (0.5, other)
    assert first_accepted([(1.0, one)], lambda _: False, other) == (0.0, other)


@pytest.mark.parametrize(
    ("measure", "worse"),
    [("distance_px", 2.3), ("change_deg", 13.5), ("pop_deg", 11.5), ("pop_fraction", 0.03)],
)
def test_each_measure_can_refuse_a_stage(measure: str, worse: float) -> None:
    reference = MotionMeasures(2.0, 10.0, 8.0, 0.02)
    better = MotionMeasures(1.9, 9.0, 7.0, 0.01)
    assert better.no_worse_than(reference)
    assert not replace(better, **{measure: worse}).no_worse_than(reference)
    unseen = replace(better, distance_px=math.nan)
    assert unseen.no_worse_than(replace(reference, distance_px=math.nan))


@pytest.mark.parametrize("pitch", [0.0, 20.0])
def test_a_fitted_walk_stays_on_its_keypoints_and_its_knees_stay_smooth(
    body: Body, small: Body, pitch: float
) -> None:
    """Feet slide because depth is wrong: they are locked, and the image does not change."""
    truth = walking_motion(body, small, pitched_camera(pitch))
    observations = observed(truth, noise_px=2.0)
    drift = 1 + 0.03 * torch.sin(torch.arange(len(truth)) / 12)[:, None]
    p = truth.camera.to_world(truth.joints_cam[:, :1] * drift[:, None])[:, 0]
    R = truth.parameters.R_parent_joint @ roma.rotvec_to_rotmat(0.006 * torch.randn(len(truth), 24, 3))
    fitted = Motion.from_parameters(
        small, replace(truth.parameters, R_parent_joint=R, p_world_root=p), truth.camera, (1280, 720),
        truth.frame_times,
    )  # fmt: skip
    processed = postprocess(fitted, body, observations=observations)
    record = processed.provenance["postprocessing"]
    assert keypoint_distance_px(processed, observations) <= 1.1 * keypoint_distance_px(fitted, observations)
    assert record["after"]["foot_slide_mm"] < 0.5 * record["before"]["foot_slide_mm"]
    assert record["pops"]["after"]["largest_deg"] <= record["pops"]["before"]["largest_deg"] + 3
    assert record["stages"].keys() == {"smooth", "soles", "flight", "feet"}


def test_switches_leave_stages_out(body: Body, small: Body) -> None:
    motion = walking_motion(body, small, pitched_camera(10.0), seconds=1.0)

    def stages(**settings) -> dict[str, float]:
        processed = postprocess(motion, body, config=PostprocessConfig(**settings))
        return processed.provenance["postprocessing"]["stages"]

    assert "feet" not in stages(feet="off") and "flight" in stages(feet="off")
    assert stages(ground="off").keys() == {"smooth"}
    assert stages(smoothing=0.0)["smooth"] == 0
    assert stages(smoothing=0.4)["smooth"] <= 0.4
    for smoothing in (-0.1, 1.5):
        with pytest.raises(ValueError, match="smoothing"):
            PostprocessConfig(smoothing=smoothing)
