"""World scores: zero for a motion in another world of the same scale, and known values."""

from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.evaluation.world_scores import world_errors
from selfmocap.geometry.camera import Camera
from tests.helpers.walking import FPS, LEVEL, pitched_camera, walking_motion


def filmed_from(motion: Motion, shift: torch.Tensor) -> Motion:
    """The same world, seen by a camera that moves by `shift` (time, 3)."""
    frames = len(motion)
    R = roma.rotvec_to_rotmat(0.2 * shift) @ LEVEL.R_cam_world
    camera = Camera(
        LEVEL.focal, LEVEL.center, R, -(R @ (shift + torch.tensor([0.0, 1.5, 5.0]))[..., None])[..., 0]
    )
    joints, keypoints = (motion.camera.to_world(p) for p in (motion.joints_cam, motion.keypoints_cam))
    assert len(camera.R_cam_world) == frames
    return replace(
        motion, camera=camera, joints_cam=camera.to_camera(joints), keypoints_cam=camera.to_camera(keypoints)
    )


def moved_world(motion: Motion, R: torch.Tensor, scale: float = 1.0) -> Motion:
    """The motion in a world that is turned, shifted and scaled."""
    camera = replace(
        motion.camera,
        R_cam_world=motion.camera.R_cam_world @ R.T,
        t_cam_world=scale * motion.camera.t_cam_world
        - motion.camera.R_cam_world @ R.T @ torch.tensor([1.0, 2, 3]),
    )
    return replace(
        motion,
        camera=camera,
        joints_cam=scale * motion.joints_cam,
        keypoints_cam=scale * motion.keypoints_cam,
    )


@pytest.fixture(scope="module")
def walk(body: Body) -> Motion:
    return walking_motion(body, body, pitched_camera(10.0))


def test_the_choice_of_the_world_does_not_count(walk: Motion) -> None:
    drift = torch.linspace(0, 1, len(walk))[:, None] * torch.tensor([1.0, 0.2, 0.5])
    truth = filmed_from(walk, drift)
    R = roma.rotvec_to_rotmat(torch.tensor([0.3, 1.0, -0.4]))
    errors = world_errors(moved_world(truth, R), truth, FPS)
    for name in ("w_mpjpe_mm", "wa_mpjpe_mm", "rte_percent", "camera_rotation_error_deg", "camera_ate_mm"):
        assert len(errors[name]) == len(walk) and float(errors[name].max()) < 0.05, name
    scaled = world_errors(moved_world(truth, R, 1.1), truth, FPS)
    assert float(scaled["wa_mpjpe_mm"].max()) < 0.05 and float(scaled["rte_percent"].max()) > 1


def test_known_errors_are_measured(walk: Motion) -> None:
    drift = torch.zeros(len(walk), 3)
    drift[:, 0] = torch.linspace(0, 1.5, len(walk))
    truth, static = filmed_from(walk, drift), filmed_from(walk, torch.zeros(len(walk), 3))
    believed_static = replace(truth, camera=static.camera)
    errors = world_errors(believed_static, truth, FPS)
    assert float(errors["rte_percent"].mean()) > 5 and float(errors["w_mpjpe_mm"].mean()) > 100
    assert float(errors["foot_slide_mm"].mean()) > 5
    assert float(world_errors(truth, truth, FPS)["foot_slide_mm"].max()) < 10
    jerk = walk.camera.to_world(walk.joints_cam).double().diff(n=3, dim=0).norm(dim=-1).mean(-1) * FPS**3 / 10
    torch.testing.assert_close(
        world_errors(truth, truth, FPS)["jitter_10m_per_s3"], jerk, rtol=0.05, atol=0.1
    )
    assert (
        "camera_ate_mm" not in world_errors(walk, walk, FPS) and world_errors(walk[:1], walk[:1], FPS) == {}
    )
