import json
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import roma
import torch

from selfmocap.adaptation.fit import FitConfig
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.cli.main import main
from selfmocap.datasets.results.read import read_result
from selfmocap.geometry.camera import Camera
from selfmocap.pipeline import refine
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.result_refinement import GivenBodies, in_camera, match_people, refine_bodies
from selfmocap.tracking.crop_boxes import smoothed_boxes
from selfmocap.tracking.observations import Observations
from tests.helpers.recordings import Evil
from tests.helpers.stub_capture import FRAMES, drawn_video, little_work
from tests.helpers.system_results import FLIP, dump_like_joblib

CAMERA = Camera.looking_along_z(900.0, 640, 480)
FRONT = torch.tensor([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]])
"""The root of a person who faces the camera, in the camera frame."""


def standing(frames: int, x: float = 0.0, depth: float = 5.0) -> BodyParameters:
    """In the camera frame: a person who walks to the right and bends the knees."""
    share = torch.linspace(0, 1, frames)
    R = named_pose("arms-down").repeat(frames, 1, 1, 1)
    R[:, 4:6] = R[:, 4:6] @ roma.rotvec_to_rotmat(share[:, None, None] * torch.tensor([0.8, 0.0, 0.0]))
    R[:, 0] = FRONT @ R[:, 0]
    p = torch.stack([x + 0.5 * share, torch.zeros(frames), torch.full((frames,), depth)], dim=1)
    return BodyParameters(torch.zeros(16), R, p)


def motion_of(bodies: BodyParameters, body: Body, camera: Camera = CAMERA) -> Motion:
    R = bodies.R_parent_joint.clone()
    R[:, 0] = camera.R_cam_world.mT @ R[:, 0]
    world = BodyParameters(bodies.betas, R, camera.to_world(bodies.p_world_root[:, None])[:, 0])
    times = torch.arange(len(R)).double() / 30
    return Motion.from_parameters(keypoint_body(body), world, camera, (640, 480), times)


def observe_exactly(motion: Motion, first: int = 0) -> Observations:
    given = in_camera(motion, motion.camera, motion.image_size)
    confidence = torch.ones(len(motion), len(DEFAULT_KEYPOINTS.names))
    frames = torch.arange(first, first + len(motion))
    boxes = smoothed_boxes(given.pixels.numpy(), confidence.numpy(), np.arange(len(motion)))
    return Observations(
        frames, frames.double() / 30, motion.image_size, torch.from_numpy(boxes).float(), DEFAULT_KEYPOINTS.name,
        given.pixels, confidence,
    )  # fmt: skip


def joints_of(bodies: BodyParameters, body: Body) -> torch.Tensor:
    return motion_of(bodies, body).joints_cam


# ---- the numbers -----------------------------------------------------------------------------------------------


def test_a_wrong_start_gets_nearer_and_a_right_one_is_kept(body: Body) -> None:
    truth = standing(6)
    seen = observe_exactly(motion_of(truth, body))
    noise = roma.rotvec_to_rotmat(0.25 * torch.randn(6, 24, 3))
    wrong = replace(truth, R_parent_joint=truth.R_parent_joint @ noise)
    found = refine_bodies(body, wrong, seen, CAMERA, FitConfig(steps=15))
    assert found.refined and found.after_px < 0.9 * found.before_px
    goal = joints_of(truth, body)
    before, after = ((joints_of(x, body) - goal).norm(dim=-1).mean() for x in (wrong, found.bodies))
    assert after < before
    kept = refine_bodies(body, truth, seen, CAMERA, FitConfig(steps=1, learning_rate=0.5))
    assert not kept.refined and kept.bodies is truth and kept.after_px == kept.before_px


def test_long_clips_are_fitted_in_windows_of_one_shape(body: Body) -> None:
    truth = standing(14)
    seen = observe_exactly(motion_of(truth, body))
    wrong = replace(truth, p_world_root=truth.p_world_root + torch.tensor([0.3, 0.0, 0.0]))
    with (
        patch("selfmocap.pipeline.result_refinement.REFINE_WINDOW", 6),
        patch("selfmocap.pipeline.result_refinement.WINDOW_OVERLAP", 2),
    ):
        found = refine_bodies(body, wrong, seen, CAMERA, FitConfig(steps=5))
    assert found.refined and len(found.bodies.p_world_root) == 14 and found.bodies.betas.shape == (16,)
    distances = [
        (bodies.p_world_root - truth.p_world_root).norm(dim=-1).mean() for bodies in (wrong, found.bodies)
    ]
    assert distances[1] < 0.8 * distances[0]


def test_another_focal_length_keeps_the_picture(body: Body) -> None:
    motion = motion_of(standing(3, x=0.8), body)
    same = in_camera(motion, CAMERA, (640, 480))
    far = in_camera(motion, replace(CAMERA, focal=2 * CAMERA.focal), (640, 480))
    small = in_camera(motion, Camera.looking_along_z(1800.0, 1280, 960), (1280, 960))
    torch.testing.assert_close(same.bodies.p_world_root, motion.joints_cam[:, 0])
    torch.testing.assert_close(far.bodies.p_world_root[:, 2], 2 * same.bodies.p_world_root[:, 2])
    assert (far.pixels - same.pixels).abs().max() < 15  # Perspective within the body.
    torch.testing.assert_close(small.bodies.p_world_root, same.bodies.p_world_root, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="behind the camera in frame 0"):
        in_camera(motion_of(standing(3, depth=-1.0), body), CAMERA, (640, 480))


def test_people_are_matched_by_their_places_in_the_same_frames(body: Body) -> None:
    left, right = (motion_of(standing(6, x), body) for x in (-1.2, 0.7))
    given = [in_camera(motion, CAMERA, (640, 480)) for motion in (left, right)]
    seen = [observe_exactly(motion) for motion in (right, left)]
    assert match_people(given, seen) == [(0, 1), (1, 0)]
    assert match_people(given, seen[:1]) == [(1, 0)]
    later = observe_exactly(left, first=20)
    assert match_people([given[0]], [later]) == []
    assert isinstance(given[0], GivenBodies) and len(given[0].at(torch.tensor([1, 4])).p_world_root) == 2


# ---- the command -----------------------------------------------------------------------------------------------


def wham_of_the_drawn_people(path: Path, people: int = 2) -> Path:
    """People of `drawn_video` as WHAM would have them: its focal length is the image's diagonal, 400 px."""
    found = {}
    for number, (x, y, slope) in enumerate([(80.0, 140.0, 1.0), (250.0, 130.0, -0.5)][:people]):
        frames = np.arange(FRAMES)
        depth = 400 * 1.35 / 60
        pixels = np.stack([x + slope * frames - 159.5, y - 119.5 + 0 * frames, 400 + 0 * frames], axis=1)
        p = torch.from_numpy(pixels) / 400 * depth
        R = named_pose("arms-down").double().repeat(FRAMES, 1, 1, 1)
        world = R[:, 0].clone()
        R[:, 0] = FLIP @ world
        rotvec = roma.rotmat_to_rotvec(R).flatten(1).numpy()
        world_vec = np.concatenate([roma.rotmat_to_rotvec(world).numpy(), rotvec[:, 3:]], axis=1)
        found[number] = {
            "pose": rotvec, "trans": p.numpy() - np.array([0.0, -0.23, 0.03]), "pose_world": world_vec,
            "trans_world": (p @ FLIP).numpy(), "betas": np.zeros((FRAMES, 10)), "frame_ids": frames,
        }  # fmt: skip
    return dump_like_joblib(found, path)


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


@pytest.mark.slow
def test_a_result_is_refined_on_its_video(tmp_path: Path, body: Body) -> None:
    result = wham_of_the_drawn_people(tmp_path / "wham_output.pkl")
    video, out = drawn_video(tmp_path / "two.mp4"), tmp_path / "out"
    with little_work(), patch.object(refine, "FitConfig", lambda: FitConfig(steps=12)):
        assert run("refine", result, "--video", video, "--out", out, "--formats", "bvh") == 0
    report = json.loads((out / "report.json").read_text())
    assert len(report["people"]) == 2 and all(person["frames"] == FRAMES for person in report["people"])
    assert any("mean shape" in warning for warning in report["warnings"])
    for number in (1, 2):
        motion = Motion.load(out / f"person-{number}" / "motion.npz")
        assert len(motion) == FRAMES and motion.provenance["weights"].startswith("WHAM result sha256:")
        assert motion.camera.focal.tolist() == pytest.approx([400.0, 400.0])
        assert (out / f"person-{number}" / "motion.bvh").is_file()
    assert (out / "overlay.mp4").is_file() and (out / "report.html").is_file()
    left, right = (Motion.load(out / f"person-{n}" / "motion.npz").joints_cam[:, 0, 0].mean() for n in (1, 2))
    assert left < 0 < right
    one = wham_of_the_drawn_people(tmp_path / "one.pkl", people=1)
    with little_work(), patch.object(refine, "FitConfig", lambda: FitConfig(steps=12)):
        assert run("refine", one, "--video", video, "--out", out, "--formats", "bvh") == 0
    assert [folder.name for folder in out.glob("person-*")] == ["person-1"]
    assert len(json.loads((out / "report.json").read_text())["people"]) == 1


def test_export_of_a_result_writes_every_person(tmp_path: Path, body: Body, capsys) -> None:
    result = wham_of_the_drawn_people(tmp_path / "wham_output.pkl")
    assert run("export", result, "--to", "bvh", "csv", "--out", tmp_path / "out") == 0
    for number in (1, 2):
        folder = tmp_path / "out" / f"person-{number}"
        assert len(Motion.load(folder / "motion.npz")) == FRAMES
        assert (folder / "motion.bvh").is_file() and (folder / "motion.csv").is_file()
    printed = capsys.readouterr().err
    assert "30 frames a second are assumed" in printed and "mean shape" in printed
    own = tmp_path / "out" / "person-2" / "motion.npz"
    read = read_result(own, body, frame_times=torch.arange(FRAMES).double())
    assert read.system == "selfmocap" and len(read.motions[0]) == FRAMES
    with pytest.raises(ValueError, match="but the video has 3 frames"):
        read_result(own, body, frame_times=torch.arange(3).double())
    dump_like_joblib({"a": Evil()}, tmp_path / "evil.pkl")
    assert run("export", tmp_path / "evil.pkl", "--out", tmp_path / "evil") == 2
