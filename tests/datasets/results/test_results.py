"""A motion that is written as each system writes its results is read back: people, frames, bodies and cameras."""

import json
import math
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.results import read
from selfmocap.datasets.results.read import ReadMotions, read_result
from selfmocap.datasets.retargeting.skeletons import angle_deg
from selfmocap.geometry.camera import Camera
from tests.helpers.recordings import R_ZUP_YUP, amass_arrays, bvh_text, joints, random_motion
from tests.helpers.system_results import (
    SIZE,
    Known,
    dump_like_joblib,
    easymocap,
    gvhmr,
    known_person,
    phalp,
    prompthmr,
    rows,
    vectors,
    vibe,
    wham,
    write_romp,
    write_sam3d_body,
    write_tram,
)

SMPLX_SYSTEMS = ("gvhmr", "prompthmr")
ONE_PERSON = ("gvhmr",)
WITH_WORLD = ("wham", "gvhmr", "tram", "prompthmr")
FOCAL = {
    "phalp": 5000 * 1280 / 256, "wham": math.hypot(*SIZE), "vibe": 1.2 * 1280, "romp": 1.2 * 1280, "gvhmr": 1500,
    "tram": 1500, "prompthmr": 1500,
}  # fmt: skip


def write(system: str, people: list[Known], folder: Path) -> Path:
    file = folder / "result.dat"  # The name says nothing.
    match system:
        case "phalp":
            return dump_like_joblib(phalp(people), file)
        case "wham":
            return dump_like_joblib(wham(people), file)
        case "vibe":
            return dump_like_joblib(vibe(people, 1.2 * 1280), file)
        case "prompthmr":
            return dump_like_joblib(prompthmr(people), file)
        case "gvhmr":
            torch.save(gvhmr(people[0]), file)
            return file
        case "tram":
            return write_tram(folder / "tram", people)
        case _:
            return write_romp(folder / "result.npz", people)


@pytest.fixture(scope="session")
def smpl(smpl_path: Path) -> Body:
    return Body.load(smpl_path)


def check_person(known: Known, found: Motion, model: Body, has_shape: bool) -> None:
    assert found.frame_index.tolist() == known.frames.tolist()
    R_cam_root = found.camera.R_cam_world @ found.parameters.R_parent_joint[:, 0]
    assert angle_deg(R_cam_root.double(), known.cam.R_parent_joint[:, 0]).max() < 0.1
    assert (
        angle_deg(found.parameters.R_parent_joint[:, 1:].double(), known.cam.R_parent_joint[:, 1:]).max()
        < 0.1
    )
    assert (found.joints_cam[:, 0] - known.cam.p_world_root).norm(dim=-1).max() < 1e-3
    if has_shape:
        assert (found.joints_cam - joints(known.cam, model)).norm(dim=-1).max() < 1e-3
    else:
        assert not found.parameters.betas.any()


@pytest.mark.parametrize("with_smpl", [True, False])
@pytest.mark.parametrize("system", sorted(FOCAL))
def test_a_result_is_read_back(
    tmp_path: Path, body: Body, smpl: Body, monkeypatch: pytest.MonkeyPatch, system: str, with_smpl: bool
) -> None:
    if system in SMPLX_SYSTEMS:  # The model's file of the tests passes for SMPL-X's.
        monkeypatch.setattr(read, "_SMPLX_VERTICES", 6890)
    model = smpl if with_smpl else None
    fingers = system not in SMPLX_SYSTEMS
    people = [
        known_person(model, 6, seed=1, fingers=fingers),
        known_person(model, 4, seed=2, first=3, fingers=fingers),
    ][: 1 if system in ONE_PERSON else 2]
    times = torch.arange(9).double() / 25
    found = read_result(write(system, people, tmp_path), body, model, times, SIZE)
    assert len(found.motions) == len(people)
    for known, motion in zip(people, found.motions, strict=True):
        check_person(known, motion, model or body, with_smpl)
        torch.testing.assert_close(motion.frame_times, times[motion.frame_index])
        assert motion.camera.focal.tolist() == pytest.approx([FOCAL[system]] * 2)
        assert motion.camera.center.tolist() == pytest.approx([639.5, 359.5])
        assert motion.image_size == SIZE
        if system in WITH_WORLD:
            assert (motion.parameters.p_world_root - known.world.p_world_root).norm(dim=-1).max() < 1e-3
    assert any("mean shape" in warning for warning in found.warnings) != with_smpl


@pytest.mark.parametrize("R_file_world", [np.eye(3), R_ZUP_YUP, np.diag([1.0, -1, -1])])
def test_easymocap_of_any_vertical(tmp_path: Path, body: Body, smpl: Body, R_file_world: np.ndarray) -> None:
    known = known_person(smpl, first=2)
    for frame, people in easymocap(known, torch.from_numpy(R_file_world)).items():
        (tmp_path / f"{frame:06d}.json").write_text(json.dumps(people))
    (found,) = read_result(tmp_path, body, smpl).motions
    assert found.frame_index.tolist() == known.frames.tolist()
    world = found.camera.to_world(found.joints_cam)
    assert (world - joints(known.world, smpl)).norm(dim=-1).max() < 1e-3


def test_amass_smplx_and_bvh(tmp_path: Path, body: Body, smpl: Body) -> None:
    known = known_person(smpl, fingers=False)
    np.savez(tmp_path / "amass", **amass_arrays(known.world, smpl))
    pose = vectors(known.world.R_parent_joint)
    np.savez(
        tmp_path / "smplx", global_orient=pose[:, :3], body_pose=pose[:, 3:], betas=rows(known),
        transl=known.world_transl, fps=50.0,
    )  # fmt: skip
    for name, fps in (("amass", 120.0), ("smplx", 50.0)):
        found = read_result(tmp_path / f"{name}.npz", body, smpl)
        (motion,) = found.motions
        world = motion.camera.to_world(motion.joints_cam)
        assert (world - joints(known.world, smpl)).norm(dim=-1).max() < 1e-3, name
        assert motion.fps == pytest.approx(fps) and found.camera_kind == "none"
    walk = random_motion(8, spread=0.2)
    walk.R_parent_joint[0] = torch.eye(3)
    (tmp_path / "walk").write_text(bvh_text(walk, body, fps=30.0))
    (motion,) = read_result(tmp_path / "walk", body).motions
    assert len(motion) == 8 and motion.fps == pytest.approx(30.0, rel=1e-4)
    with pytest.raises(ValueError, match="no SMPL parameters"):
        read_result(tmp_path / "walk", body, smpl)


# ---- refused ---------------------------------------------------------------------------------------------------


class RunsACommand:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def refused(path: Path, match: str, body: Body, **options: object) -> None:
    with pytest.raises(ValueError, match=match):
        read_result(path, body, **options)  # type: ignore[arg-type]


def test_code_in_a_result_is_not_run(tmp_path: Path, body: Body) -> None:
    evil = RunsACommand(tmp_path / "trace")
    data = wham([known_person(None)]) | {"x": evil}
    torch.save({"smpl_params_incam": evil}, tmp_path / "a.pt")
    np.savez(tmp_path / "a.npz", results=np.array([evil], dtype=object))
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data))
    for path in (
        dump_like_joblib(data, tmp_path / "b.pkl"),
        *(tmp_path / f"a.{s}" for s in ("pt", "npz", "pkl")),
    ):
        refused(path, "(posix|nt).system; it is refused.*Results that are read: PHALP", body)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("key", "change", "match"),
    [
        ("trans", lambda x: x * np.nan, "trans contains values that are not finite"),
        (
            "pose",
            lambda x: x[:, :70],
            r"pose is float64 of shape \(6, 70\); expected numbers of shape \(6, 72\)",
        ),
        ("pose_world", lambda x: x[:3], "pose_world"),
        ("betas", lambda x: x[:2], "betas has 2 rows for 6 frames"),
        ("frame_ids", lambda x: x - 3, "frame_ids contains -3"),
        ("frame_ids", lambda x: x * 0, "a frame twice"),
        ("frame_ids", lambda x: x + 5, "is in frame 10, but the video has 9 frames"),
        ("trans", lambda x: ["a"] * 6, "trans is <U1"),
        ("trans", lambda x: None, "trans is object"),
    ],
)
def test_wrong_numbers_are_refused(tmp_path: Path, body: Body, key: str, change, match: str) -> None:
    data = wham([known_person(None)])
    data[0][key] = change(data[0][key])
    path = dump_like_joblib(data, tmp_path / "a.pkl")
    refused(path, rf"a\.pkl.*{match}", body, frame_times=torch.arange(9).double())


def test_a_value_of_another_structure_names_the_file(tmp_path: Path, body: Body) -> None:
    frames = phalp([known_person(None)])
    next(iter(frames.values()))["tid"] = None
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(frames))
    refused(tmp_path / "a.pkl", r"a\.pkl: expected what the system writes", body)
    people = easymocap(known_person(None), torch.eye(3).double())
    people[0][0]["Rh"] = [["x", 0, 0]]
    for frame, content in people.items():
        (tmp_path / f"{frame:06d}.json").write_text(json.dumps(content))
    refused(tmp_path, "expected what the system writes.*'x'", body)


def test_declared_sizes_are_checked_before_memory_is_allocated(tmp_path: Path, body: Body) -> None:
    good = dump_like_joblib({"a": np.zeros((6, 72))}, tmp_path / "a.pkl").read_bytes()
    (tmp_path / "a.pkl").write_bytes(good.replace(b"K\x06KH\x86", b"J\xff\xff\xff\x7fKH\x86"))
    refused(tmp_path / "a.pkl", "an array of .* bytes in a file with", body)
    (tmp_path / "b.pkl").write_bytes(good[:-100])
    refused(tmp_path / "b.pkl", "an array of .* bytes in a file with", body)
    tensor = torch.zeros(6, 3).as_strided((6, 3), (0, 1))
    data = gvhmr(known_person(None, fingers=False))
    data["smpl_params_incam"]["transl"] = tensor.as_strided((6000, 3), (0, 1))
    torch.save(data, tmp_path / "c.pt")
    refused(tmp_path / "c.pt", "a tensor of size .* in a storage of 18 numbers", body)


def test_unknown_results_say_what_was_found(tmp_path: Path, body: Body, smpl: Body) -> None:
    def pickled(value: object) -> Path:
        (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
        return tmp_path / "a.pkl"

    refused(pickled({"foo": 1}), r"found a dict with foo.*PHALP.*AMASS", body)
    refused(
        pickled([[{"pred_keypoints_3d": 1, "pred_cam_t": 2, "mhr_model_params": 3}]]), "SAM 3D Body", body
    )
    refused(pickled({"body_params_incam": 1, "body_params_global": 2}), "GEM-X.*export it to BVH", body)
    refused(tmp_path, "expected a folder of TRAM, EasyMocap or SAM", body)
    known = known_person(None, fingers=False)
    torch.save(gvhmr(known), tmp_path / "a.pt")
    refused(
        tmp_path / "a.pt", "the shape is SMPL-X's, found a model file with 6890 vertices", body, smpl=smpl
    )


@pytest.mark.slow
def test_sam_3d_body_is_read_by_its_keypoints(tmp_path: Path, body: Body) -> None:
    bodies = replace(known_person(None, frames=5).cam, betas=torch.linspace(-1, 1, body.num_betas).double())
    camera = replace(Camera.looking_along_z(1500.0, *SIZE), R_cam_world=torch.eye(3))
    goal = Motion.from_parameters(body, bodies.to(torch.float32), camera, SIZE, torch.arange(5) / 30.0)
    points = goal.keypoints_cam.numpy()
    folder = write_sam3d_body(tmp_path / "result", points)
    (found,) = read_result(folder, body, image_size=SIZE).motions
    assert found.frame_index.tolist() == [0, 1, 2, 3, 4] and found.image_size == SIZE
    assert found.camera.focal.tolist() == [1500.0, 1500.0]
    assert (found.keypoints_cam - goal.keypoints_cam).norm(dim=-1).mean() < 0.01
    assert (found.joints_cam - goal.joints_cam).norm(dim=-1).mean() < 0.02
    refused(folder, "leave --smpl-model out", body, smpl=body)
    shutil.copy(folder / "frame_00002_subj00.npz", folder / "frame_00002_subj01.npz")
    refused(folder, "several people in an image", body)
    (folder / "frame_00002_subj01.npz").unlink()
    other = dict(np.load(folder / "frame_00001_subj00.npz"))
    np.savez(folder / "frame_00002_subj00.npz", **other | {"focal_length": 900.0})
    refused(folder, "are not the projections", body)


def test_romp_without_tracks_needs_one_person(tmp_path: Path, body: Body) -> None:
    people = [known_person(None, seed=1), known_person(None, seed=2)]
    for count in (1, 2):
        with np.load(write_romp(tmp_path / "a.npz", people[:count]), allow_pickle=True) as arrays:
            np.savez(tmp_path / "b.npz", results=arrays["results"], sequence_results={})  # type: ignore[arg-type]
        if count == 1:
            found: ReadMotions = read_result(tmp_path / "b.npz", body, None, None, SIZE)
            check_person(people[0], found.motions[0], body, has_shape=False)
        else:
            refused(tmp_path / "b.npz", "2 people in .* and no tracks", body)
