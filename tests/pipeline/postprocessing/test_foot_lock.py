"""Foot locking, flights, and people who stand still."""

import math
from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.hinges import flexion_deg
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import pose_from_degrees
from selfmocap.body_model.skeleton import JOINT
from selfmocap.pipeline.postprocessing import foot_lock
from selfmocap.pipeline.postprocessing.flight import correct_flight_depth
from selfmocap.pipeline.postprocessing.foot_contact import (
    FOOT_POINTS,
    find_contacts,
    rest_heights,
    seen_contacts,
)
from selfmocap.pipeline.postprocessing.foot_lock import lock_feet
from selfmocap.pipeline.postprocessing.joint_angles import flexion_acceleration_deg
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world, with_parameters
from selfmocap.pipeline.postprocessing.smoothing import smooth
from selfmocap.pipeline.postprocessing.smoothness_metrics import foot_slide_mm
from tests.helpers.walking import FPS, pitched_camera, smoothstep, walking_motion


@pytest.fixture(scope="module")
def small(body: Body) -> Body:
    return keypoint_body(body)


def scaled_from_camera(motion: Motion, small: Body, factor: torch.Tensor) -> Motion:
    """Move the root along its rays by a factor a frame."""
    p = motion.camera.to_world(motion.joints_cam[:, :1] * factor[:, None, None].float())[:, 0]
    return with_parameters(motion, small, replace(motion.parameters, p_world_root=p))


def standing_motion(
    body: Body, small: Body, pitch: float, rise: torch.Tensor, camera_height: float = 1.5
) -> Motion:
    """Return a person with nearly straight legs, whose soles are `rise` metres above the ground."""
    pose = pose_from_degrees({"left_shoulder": (0, 0, -68), "right_shoulder": (0, 0, 68)})
    parameters = BodyParameters(torch.zeros(16), pose.repeat(len(rise), 1, 1, 1), torch.zeros(len(rise), 3))
    sole = body.pose(BodyParameters(torch.zeros(16), pose[None], torch.zeros(1, 3))).vertices[..., 1].amin()
    parameters.p_world_root[:, 1] = rise.float() - sole
    times = torch.arange(len(rise)).double() / FPS
    camera = pitched_camera(pitch)
    camera = replace(camera, t_cam_world=-camera.R_cam_world @ torch.tensor([0.0, camera_height, 5.0]))
    return Motion.from_parameters(small, parameters, camera, (1280, 720), times)


def jump(seconds: float = 3.0, height: float = 0.35) -> torch.Tensor:
    """Return the height of a ballistic jump in the middle of a clip."""
    time = torch.arange(round(seconds * FPS)).double() / FPS - seconds / 2
    return (height - 9.81 / 2 * time**2).clamp(min=0)


@pytest.mark.parametrize(("pitch", "camera_height"), [(0.0, 1.0), (20.0, 2.5), (35.0, 4.0)])
def test_a_jump_keeps_its_height_although_its_depth_is_wrong(
    body: Body, small: Body, pitch: float, camera_height: float
) -> None:
    rise = jump()
    truth = standing_motion(body, small, pitch, rise, camera_height)
    wrong = scaled_from_camera(truth, small, 1 + 0.04 * smoothstep(rise / 0.35))
    heights = rest_heights(body, truth.parameters.betas)

    def height(motion: Motion) -> float:
        return float((keypoints_world(motion, FOOT_POINTS)[..., 1] - heights).amin(1).max())

    corrected = correct_flight_depth(wrong, small, find_contacts(truth), heights)
    assert height(corrected) == pytest.approx(0.35, abs=0.04)
    if camera_height > 3:
        assert height(wrong) < 0.27
    pixels, before = (m.camera.project(m.camera.to_world(m.joints_cam[:, 0])) for m in (corrected, wrong))
    assert (pixels - before).norm(dim=-1).max() < 10
    assert 0.25 < height(postprocess(wrong, body)) < 0.45


def test_gravity_confirms_a_jump_and_no_other_rise(body: Body, small: Body) -> None:
    for rise, falls in ((jump(), True), (slow_rise(), False)):
        truth = standing_motion(body, small, 35.0, rise, 4.0)
        wrong = scaled_from_camera(truth, small, 1 + 0.04 * smoothstep(rise / 0.35))
        heights = rest_heights(body, truth.parameters.betas)
        contacts = (rise == 0)[:, None].expand(-1, 4)
        confirmed = correct_flight_depth(wrong, small, contacts, heights, confirmed=True)
        assert (confirmed is not wrong) == falls
        if falls:
            corrected = correct_flight_depth(wrong, small, contacts, heights)
            assert torch.equal(confirmed.parameters.p_world_root, corrected.parameters.p_world_root)


def slow_rise() -> torch.Tensor:
    """Return the height of a person who is lifted by 0.12 m within a second."""
    time = torch.arange(90).double() / FPS - 1.5
    return (0.12 - 9.81 / 12 * time**2).clamp(min=0)


def test_a_foot_is_in_contact_although_the_distance_wanders(body: Body, small: Body) -> None:
    truth = walking_motion(body, small, pitched_camera(20.0))
    time = torch.arange(len(truth)).double() / FPS
    wandering = scaled_from_camera(truth, small, 1 + 0.02 * torch.sin(2 * math.pi * 0.8 * time))
    standing = keypoints_world(truth, FOOT_POINTS).diff(dim=0).norm(dim=-1) < 0.002
    found = find_contacts(wandering)[1:] & find_contacts(wandering)[:-1]
    assert found[standing].float().mean() > 0.8
    moving = keypoints_world(truth, FOOT_POINTS).diff(dim=0).norm(dim=-1) > 0.03
    assert not found[moving].any()


def test_somebody_on_the_ground_is_no_flight(body: Body, small: Body) -> None:
    truth = walking_motion(body, small, pitched_camera(20.0))
    heights = rest_heights(body, truth.parameters.betas)
    stayed = correct_flight_depth(truth, small, find_contacts(truth), heights)
    assert torch.equal(stayed.parameters.p_world_root, truth.parameters.p_world_root)


def test_a_nearly_straight_knee_does_not_pop_when_its_foot_is_locked(body: Body, small: Body) -> None:
    """The root wanders over standing feet by more than straight legs reach."""
    truth = standing_motion(body, small, 10.0, torch.zeros(60))
    time = torch.arange(60).double() / FPS
    p = truth.parameters.p_world_root.clone()
    p[:, 1] += (0.015 * torch.sin(2 * math.pi * 1.5 * time)).float()
    p[:, 0] += (0.02 * torch.sin(2 * math.pi * 1.1 * time)).float()
    wandering = with_parameters(truth, small, replace(truth.parameters, p_world_root=p))
    contacts, heights = torch.ones(60, 4, dtype=torch.bool), rest_heights(body, truth.parameters.betas)
    locked = lock_feet(wandering, small, contacts, heights)
    assert foot_slide_mm(locked, contacts) < 0.15 * foot_slide_mm(wandering, contacts)
    assert flexion_acceleration_deg(locked)[:, :2].abs().max() < 3
    assert flexion_deg(locked.joints_cam)[:, :2].max() < 25


def test_knees_do_not_bend_beyond_their_limit(body: Body, small: Body) -> None:
    truth = standing_motion(body, small, 10.0, torch.zeros(20))
    contacts, heights = torch.ones(20, 4, dtype=torch.bool), rest_heights(body, truth.parameters.betas)
    raised = with_parameters(
        truth, small,
        replace(truth.parameters, p_world_root=truth.parameters.p_world_root + torch.tensor([0, 0.06, 0])),
    )  # fmt: skip
    locked = lock_feet(raised, small, contacts, heights)
    R = locked.parameters.R_parent_joint[:, [JOINT["left_knee"], JOINT["right_knee"]]]
    assert roma.rotmat_to_rotvec(R)[..., 0].min() > math.radians(-12)


def test_windows_of_a_long_clip_meet(body: Body, small: Body, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = walking_motion(body, small, pitched_camera(10.0))
    factor = 1 + 0.02 * torch.sin(torch.arange(len(truth)) / 9.0)
    estimate = scaled_from_camera(truth, small, factor)
    contacts, heights = find_contacts(truth), rest_heights(body, truth.parameters.betas)
    whole = lock_feet(estimate, small, contacts, heights)
    monkeypatch.setattr(foot_lock, "_WINDOW", 60)
    parts = lock_feet(estimate, small, contacts, heights)
    assert (whole.joints_cam - parts.joints_cam).norm(dim=-1).max() < 0.02
    assert foot_slide_mm(parts, contacts) < 0.3 * foot_slide_mm(estimate, contacts)


def test_feet_that_are_not_seen_are_not_in_contact() -> None:
    contacts = torch.ones(6, 4, dtype=torch.bool)
    confidence = torch.ones(6, 24)
    confidence[:, JOINT["left_ankle"]] = 0.1
    confidence[:3, JOINT["right_ankle"]] = 0.2
    seen = seen_contacts(contacts, confidence)
    assert not seen[:, :2].any() and seen[:, 2:].all()


@pytest.mark.parametrize("noise_deg", [0.3, 1.0])
def test_a_person_who_stands_still_is_held_still(body: Body, small: Body, noise_deg: float) -> None:
    truth = standing_motion(body, small, 15.0, torch.zeros(90))
    slow = torch.sin(torch.arange(90) / 90 * 2 * math.pi)[:, None, None]
    noise = math.radians(noise_deg) * (0.3 * torch.randn(90, 24, 3) + 0.5 * slow * torch.randn(1, 24, 3))
    R = truth.parameters.R_parent_joint @ roma.rotvec_to_rotmat(noise)
    drift = 1 + 0.006 * torch.sin(torch.arange(90) / 20.0) + 0.001 * torch.randn(90)
    estimate = with_parameters(truth, small, replace(truth.parameters, R_parent_joint=R))
    estimate = scaled_from_camera(estimate, small, drift)
    root = postprocess(estimate, body).parameters.p_world_root
    extent = (root.amax(0) - root.amin(0)).norm()
    assert extent < 0.01
    before = estimate.parameters.p_world_root
    assert (before.amax(0) - before.amin(0)).norm() > 0.04


@pytest.mark.parametrize("joint", ["left_shoulder", "left_hip"])
def test_slow_motion_is_not_held(body: Body, small: Body, joint: str) -> None:
    """Somebody raises an arm, or a leg, by 10 degrees a second."""
    truth = standing_motion(body, small, 0.0, torch.zeros(90))
    angles = torch.zeros(90, 24, 3)
    angles[:, JOINT[joint], 2] = torch.deg2rad(torch.arange(90) / FPS * 10)
    R = truth.parameters.R_parent_joint @ roma.rotvec_to_rotmat(angles)
    moving = with_parameters(truth, small, replace(truth.parameters, R_parent_joint=R))
    error = (smooth(moving, small).joints_cam - moving.joints_cam).norm(dim=-1)
    assert error.max() < 0.03
