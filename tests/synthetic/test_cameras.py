"""Cameras: their distributions, above the ground, directed at the person."""

import numpy as np
import pytest
import torch

from selfmocap.synthetic.cameras import CameraConfig, sample_views

FPS = 30.0


def still(clips: int, frames: int = 1) -> torch.Tensor:
    return torch.tensor([0.0, 0.95, 0.0]).expand(clips, frames, 3).clone()


def test_distributions() -> None:
    rng = np.random.default_rng(0)
    path = still(4000)
    views = sample_views(rng, CameraConfig(), path, FPS)
    p_cam = views.camera.to_camera(path[:, :, None])[:, 0, 0]
    assert 2.4 <= p_cam[:, 2].min() and p_cam[:, 2].max() <= 8.0 + 1e-4
    assert p_cam[:, 2].log().mean().exp().item() == pytest.approx(np.sqrt(2.4 * 8.0), rel=0.03)
    R = views.camera.R_cam_world[:, 0]
    pitch = torch.asin(-R[:, 2, 1])
    assert pitch.mean().item() == pytest.approx(0.25, abs=0.02)
    assert pitch.std().item() == pytest.approx(0.2, abs=0.03)
    roll = torch.atan2(R[:, 0, 1], -R[:, 1, 1])
    assert ((roll.abs() > 1e-4).float().mean()).item() == pytest.approx(0.6, abs=0.03)
    assert roll[roll.abs() > 1e-4].std().item() == pytest.approx(0.18, abs=0.02)
    assert (p_cam[:, 0] / p_cam[:, 2]).std().item() == pytest.approx(0.11, abs=0.01)


def test_cameras_are_above_the_ground_with_the_pelvis_in_view() -> None:
    path = still(2000)
    views = sample_views(np.random.default_rng(1), CameraConfig(), path, FPS)
    height = views.camera.p_world_cam[..., 1]
    assert height.min() > 0.14
    pixels = views.camera.project(path[:, :, None])[:, 0, 0]
    assert ((pixels > 0) & (pixels < views.size - 1)).all()


def test_rotations_are_orthonormal_in_every_frame() -> None:
    path = torch.randn(6, 40, 3, generator=torch.Generator().manual_seed(0)).cumsum(1) * 0.02 + still(6, 40)
    R = sample_views(np.random.default_rng(2), CameraConfig(hand_held=1.0), path, FPS).camera.R_cam_world
    torch.testing.assert_close(R @ R.mT, torch.eye(3).expand_as(R), atol=1e-5, rtol=0)
    assert (torch.linalg.det(R) > 0.99).all()


def test_a_tripod_is_static_and_a_hand_held_camera_moves() -> None:
    path = still(20, 60)
    tripod = sample_views(
        np.random.default_rng(3), CameraConfig(panning=0.0, hand_held=0.0), path, FPS
    ).camera
    assert torch.equal(tripod.R_cam_world, tripod.R_cam_world[:, :1].expand_as(tripod.R_cam_world))
    hand = sample_views(np.random.default_rng(3), CameraConfig(panning=0.0, hand_held=1.0), path, FPS)
    pixels = hand.camera.project(path[:, :, None])[:, :, 0]
    shaken = (pixels - pixels[:, :1]).norm(dim=-1).amax(1)
    assert 1 < shaken.median() < 80, "px over two seconds"


def test_panning_follows_the_person() -> None:
    path = still(30, 90)
    path[..., 0] = torch.linspace(-1.5, 1.5, 90)
    spread = []
    for panning in (0.0, 1.0):
        config = CameraConfig(panning=panning, hand_held=0.0, roll=(0.18, 0.0))
        views = sample_views(np.random.default_rng(4), config, path, FPS)
        p = views.camera.to_camera(path[:, :, None])[:, :, 0]
        spread.append((p[..., 0] / p[..., 2]).std(1).median())
    assert spread[1] < 0.35 * spread[0]


def test_the_image_size_can_be_given() -> None:
    views = sample_views(np.random.default_rng(5), CameraConfig(size=(320, 240)), still(3), FPS)
    assert views.size.tolist() == [[320, 240]] * 3
    assert views.camera.center.tolist() == [[[159.5, 119.5]]] * 3
