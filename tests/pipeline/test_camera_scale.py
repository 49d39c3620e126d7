"""The scale of a camera's path, from feet that stand in the world."""

from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.lens import Lens
from selfmocap.io.stage_cache import StageRecord
from selfmocap.pipeline.camera_scale import floor_plane, path_scales
from selfmocap.pipeline.lens_choice import LensChoice
from selfmocap.pipeline.moving_camera import ShotCamera, camera_in_frames, camera_warnings
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.postprocessing.smoothness_metrics import foot_slide_mm
from selfmocap.tracking.camera_path.path import CameraPath
from tests.helpers.walking import FPS, LEVEL, pitched_camera, walking_motion

UNIT = 0.37
"""Metres per unit of the path."""


@pytest.fixture(scope="module")
def walk(body: Body) -> Motion:
    return walking_motion(body, keypoint_body(body), pitched_camera(10.0))


def path_of(speed: float, frames: int) -> CameraPath:
    """A camera that walks along and turns."""
    time = torch.arange(frames, dtype=torch.float64) / FPS
    eye = torch.stack([speed * (time - time.mean()), 1.5 + 0.05 * torch.sin(7 * time), 5 + 0 * time], dim=1)
    turn = torch.stack([0.15 + 0 * time, 0.1 * (time - time.mean()), 0 * time], dim=1)
    R = roma.rotvec_to_rotmat(turn) @ LEVEL.R_cam_world.double()
    return CameraPath(
        R.numpy(),
        eye.numpy() / UNIT,
        np.ones(frames, bool),
        np.zeros(1, int),
        ("moving",),
        np.zeros((0, 3)),
        np.zeros(0, int),
        1.0,
        0.1,
        (1.0, 1.0),
        0,
    )


def seen_from(path: CameraPath, walk: Motion, noise: float = 0.0) -> Motion:
    """The walk in the frame of the moving camera, with noise of the depth, metres."""
    camera = camera_in_frames(LEVEL, path, [UNIT], walk.frame_index)
    joints, keypoints = (
        camera.to_camera(walk.camera.to_world(p)) for p in (walk.joints_cam, walk.keypoints_cam)
    )
    depth = noise * torch.randn(len(walk), 1, 1, generator=torch.Generator().manual_seed(0))
    shift = depth * torch.tensor([0.0, 0.0, 1.0])
    return replace(walk, camera=camera, joints_cam=joints + shift, keypoints_cam=keypoints + shift)


@pytest.mark.parametrize("speed", [0.9, -0.5])
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_standing_feet_give_the_scale(walk: Motion, speed: float, noise: float) -> None:
    path = path_of(speed, len(walk))
    (scale,) = path_scales([seen_from(path, walk, noise)] * 2, path)
    assert scale.metres_per_unit == pytest.approx(UNIT, rel=0.05) and scale.uncertainty < 0.2


def test_a_path_without_standing_feet_or_without_motion_has_no_scale(walk: Motion) -> None:
    path = path_of(0.9, len(walk))
    turning = replace(path, p_world_cam=np.zeros_like(path.p_world_cam))
    assert path_scales([seen_from(path, walk)], turning)[0].metres_per_unit == 0
    assert path_scales([seen_from(path, walk)[:6]], path)[0].metres_per_unit == 0
    assert path_scales([], path)[0].uncertainty == np.inf


def room_points(rng: np.random.Generator, unit: float = UNIT) -> np.ndarray:
    """Points of a floor, a table and walls, in units of the path."""
    floor = np.stack([rng.uniform(-4, 4, 80), rng.normal(0, 0.005, 80), rng.uniform(-3, 4, 80)], axis=1)
    table = np.stack([rng.uniform(1, 2, 60), np.full(60, 0.7), rng.uniform(-2, -1, 60)], axis=1)
    walls = np.stack(
        [rng.uniform(-4, 4, 150), rng.uniform(0, 3, 150), rng.choice([-3.0, -3.1, -2.5], 150)], axis=1
    )
    return np.concatenate([floor, table, walls + rng.normal(0, 0.1, walls.shape)]) / unit


@pytest.mark.parametrize("seed", [0, 1])
def test_the_floor_is_the_lowest_wide_plane(seed: int) -> None:
    eye = path_of(0.9, 30).p_world_cam
    points = room_points(np.random.default_rng(seed))
    tilt = roma.rotvec_to_rotmat(torch.tensor([0.2, 0.0, -0.1], dtype=torch.float64)).numpy()
    plane = floor_plane(points @ tilt.T, eye @ tilt.T)
    assert plane is not None
    np.testing.assert_allclose(plane, [*tilt[:, 1], 0.0], atol=0.03)
    assert floor_plane(points[140:] @ tilt.T, eye) is None and floor_plane(points[:5], eye) is None


def test_the_floor_gives_the_scale_unless_the_feet_contradict_it(walk: Motion) -> None:
    path = path_of(0.9, len(walk))
    points = room_points(np.random.default_rng(0))
    on_floor = replace(path, points=points, point_shots=np.zeros(len(points), int))
    seen = seen_from(path, walk)
    (scale,) = path_scales([seen], on_floor)
    assert scale.metres_per_unit == pytest.approx(UNIT, rel=0.02)
    assert path_scales([seen[60:68]], on_floor)[0].metres_per_unit == pytest.approx(UNIT, rel=0.05)
    wrong = replace(on_floor, points=points - [0.0, 3.0 / UNIT, 0.0])  # A plane far below the feet.
    assert path_scales([seen], wrong)[0].metres_per_unit == pytest.approx(UNIT, rel=0.1)


def test_a_moving_camera_is_post_processed_in_the_world(walk: Motion, body: Body) -> None:
    path = path_of(0.9, len(walk))
    seen = seen_from(path, walk)
    small = keypoint_body(body)
    estimate = Motion.from_parameters(small, walk.parameters, seen.camera, (1280, 720), walk.frame_times)
    processed = postprocess(estimate, body)
    assert processed.camera.R_cam_world.shape == (len(walk), 3, 3)
    found, true = (m.camera.to_world(m.joints_cam)[:, 0] for m in (processed, walk))
    error = (found - found.mean(0) - (true - true.mean(0))).norm(dim=-1)
    assert float(error.max()) < 0.06 and foot_slide_mm(processed) < 2
    up = processed.camera.R_cam_world.mT @ walk.camera.R_cam_world.new_tensor([0.0, -1.0, 0.0])
    assert float(up[:, 1].min()) > 0.97


def test_each_doubt_about_the_camera_is_said() -> None:
    path = {"static": False, "shot_starts": [0, 50, 90], "kinds": ["moving", "unknown", "turning"],
            "known_fraction": 0.9, "focal_ratio": [1.0, 1.0]}  # fmt: skip
    scales = [{"metres_per_unit": 0.0}] * 3
    found = " ".join(camera_warnings(path | {"scales": scales}))
    for part in (
        "from frame 50 on its path is unknown",
        "taken to turn only",
        "into frame 50, 90",
        "10% of the frames",
    ):
        assert part in found
    whole = path | {"shot_starts": [0], "kinds": ["turning"], "known_fraction": 1.0, "scales": scales[:1]}
    assert camera_warnings(whole) == []
    assert "zooms, by a factor of 1.50" in camera_warnings(whole | {"focal_ratio": [1.0, 1.5]})[0]
    assert "2.00 times as long" in camera_warnings(whole | {"focal_ratio": [2.0, 2.0]})[0]
    assert camera_warnings({"static": True, "certainty": 0.9}) == []
    assert "little of the background" in camera_warnings({"static": True, "certainty": 0.0})[0]


def test_the_lens_that_came_with_a_path_is_no_measure_of_the_path() -> None:
    lens = LensChoice(Lens.pinhole(500.0, (640, 360)), "estimate", 0.02)
    stage = StageRecord("camera-1", "", {"static": False, "kinds": ["turning"], "lens": lens.as_json()}, 1.0)
    camera = ShotCamera(1, [], stage)
    assert camera.estimated_lens == lens
    assert camera.measured == {"static": False, "kinds": ["turning"]}
    assert ShotCamera(1, [], None).estimated_lens is None
