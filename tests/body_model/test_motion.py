import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.camera import Camera
from selfmocap.io.npz import read_npz, write_npz
from tests.conftest import random_parameters


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    torch.manual_seed(1)
    parameters = random_parameters(body, 4)
    return Motion.from_parameters(
        body,
        replace(parameters, betas=parameters.betas[0]),
        Camera.looking_along_z(1000.0, 1280, 720),
        image_size=(1280, 720),
        frame_times=torch.tensor([0.0, 0.04, 0.12, 0.16], dtype=torch.float64),
        frame_index=torch.tensor([0, 1, 3, 4]),
        provenance={"weights": "none", "accepted": True},
    )


def test_save_and_load_give_the_same_motion(motion: Motion, tmp_path: Path) -> None:
    motion.save(tmp_path / "motion.npz")
    loaded = Motion.load(tmp_path / "motion.npz")
    for record, other in (
        (motion, loaded),
        (motion.camera, loaded.camera),
        (motion.parameters, loaded.parameters),
    ):
        for name, value in vars(record).items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, getattr(other, name)), name
                assert value.dtype == getattr(other, name).dtype
    assert (loaded.body, loaded.image_size, loaded.provenance) == (
        motion.body,
        (1280, 720),
        motion.provenance,
    )


def test_the_file_has_the_documented_keys_and_shapes(motion: Motion, tmp_path: Path) -> None:
    motion.save(tmp_path / "motion.npz")
    with np.load(tmp_path / "motion.npz", allow_pickle=False) as arrays:
        shapes = {name: arrays[name].shape for name in arrays.files}
        assert json.loads(str(arrays["provenance"]))["accepted"] is True
    assert shapes == {
        "format": (), "version": (), "body": (), "joint_names": (24,), "rotations": (4, 24, 3, 3), "betas": (16,),
        "p_world_root": (4, 3), "joints_cam": (4, 24, 3), "keypoints_cam": (4, 23, 3), "keypoint_names": (23,),
        "R_cam_world": (3, 3), "t_cam_world": (3,), "focal": (2,), "center": (2,), "image_size": (2,),
        "frame_index": (4,), "frame_times": (4,), "confidence": (4,), "filled": (4,), "provenance": (),
    }  # fmt: skip


def test_fingers_are_saved_in_version_2_and_other_motions_as_before(motion: Motion, tmp_path: Path) -> None:
    frames = len(motion)
    turns = torch.randn(frames, 30, 3, generator=torch.Generator().manual_seed(0))
    with_fingers = replace(motion, fingers=roma.rotvec_to_rotmat(turns))
    for one, name in ((motion, "without.npz"), (with_fingers, "with.npz")):
        one.save(tmp_path / name)
    without, arrays = read_npz(tmp_path / "without.npz"), read_npz(tmp_path / "with.npz")
    assert int(without["version"]) == 1 and int(arrays["version"]) == 2
    assert arrays.keys() - without.keys() == {"fingers", "finger_names"}
    assert Motion.load(tmp_path / "without.npz").fingers is None
    loaded = Motion.load(tmp_path / "with.npz")[1:3]
    assert loaded.fingers is not None and with_fingers.fingers is not None
    assert loaded.fingers.equal(with_fingers.fingers[1:3])
    assert loaded.all_parameters.R_parent_joint[:, 24:].equal(loaded.fingers)
    assert motion.all_parameters is motion.parameters
    for change, match in (
        ({"fingers": arrays["fingers"][:, :29]}, "fingers has shape"),
        ({"finger_names": arrays["finger_names"][::-1]}, "30 finger joints"),
        ({"fingers": arrays["fingers"].astype(np.int64)}, "fingers is of type"),
    ):
        write_npz(tmp_path / "damaged.npz", arrays | change)
        with pytest.raises(ValueError, match=match):
            Motion.load(tmp_path / "damaged.npz")


def test_derived_points_are_the_bodys_in_the_camera_frame(motion: Motion, body: Body) -> None:
    posed = body.pose(motion.parameters)
    assert torch.allclose(motion.camera.to_world(motion.joints_cam), posed.joints, atol=1e-5)
    assert torch.allclose(
        motion.keypoints_cam, motion.camera.to_camera(body.keypoints(posed.vertices, "coco-23")), atol=1e-5
    )


def test_fps_is_correct_across_missing_frames_and_for_one_frame(motion: Motion) -> None:
    assert motion.fps == pytest.approx(25)
    assert motion[:1].fps == 0


def test_a_part_of_a_motion(motion: Motion) -> None:
    part = motion[torch.tensor([True, False, True, False])]
    assert len(part) == 2
    assert part.frame_index.tolist() == [0, 3]
    assert torch.equal(part.parameters.p_world_root, motion.parameters.p_world_root[[0, 2]])
    assert torch.equal(part.parameters.betas, motion.parameters.betas)
    moving = replace(
        motion,
        camera=replace(
            motion.camera,
            R_cam_world=motion.camera.R_cam_world.expand(4, 3, 3),
            t_cam_world=torch.arange(12.0).view(4, 3),
        ),
    )
    assert moving[1:3].camera.t_cam_world.tolist() == [[3, 4, 5], [6, 7, 8]]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (
            {"format": "selfmocap-observations"},
            "expected a selfmocap-motion file, found selfmocap-observations",
        ),
        ({"version": 99}, "version 2 or older, found 99"),
        ({"rotations": None}, "lacks rotations"),
        ({"confidence": np.ones(3)}, r"confidence has shape \(3,\), expected \(4\)"),
        ({"joint_names": np.array(["hip"] * 24)}, "SMPL's 24"),
        ({"t_cam_world": np.ones((4, 3))}, "t_cam_world has shape"),
    ],
    ids=["format", "version", "key", "length", "joints", "camera"],
)
def test_damaged_files_are_named(motion: Motion, tmp_path: Path, change: dict, match: str) -> None:
    path = tmp_path / "motion.npz"
    motion.save(path)
    arrays = read_npz(path) | change
    write_npz(path, {name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=match):
        Motion.load(path)
