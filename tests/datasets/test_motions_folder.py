from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.datasets.retargeting.tempo import slowness
from selfmocap.synthetic.motions import from_recording, sample_poses
from tests.conftest import SHARED_DATA
from tests.helpers.recordings import amass_arrays, asf_amc_text, bvh_text, random_motion


@pytest.fixture
def folder(tmp_path: Path, body: Body) -> Path:
    """A BVH whose header message 120 frames a second, an AMASS file, and what is neither."""
    motion = random_motion(61, spread=0.3)
    motion.R_parent_joint[0] = torch.eye(3)
    (tmp_path / "walk.bvh").write_text(bvh_text(motion, body, fps=120.0))
    np.savez(tmp_path / "run.npz", **amass_arrays(random_motion(61, spread=0.3), body))
    (tmp_path / "README.txt").write_text("not a recording")
    return tmp_path


def frames(clips, name):
    return next(len(clip.parameters.p_world_root) for clip in clips if clip.name == name)


def test_all_recordings_are_read_at_one_rate(folder: Path, body: Body) -> None:
    reports = []
    clips = load_motions(folder, body, progress=lambda *step: reports.append(step))
    assert [clip.name for clip in clips] == ["run", "walk"]
    assert frames(clips, "run") == 16
    assert reports == [("read motions", 0, 2), ("read motions", 1, 2)]
    for clip in clips:
        assert clip.fps == 30
        identity = clip.parameters.R_parent_joint @ clip.parameters.R_parent_joint.mT
        assert torch.allclose(identity, torch.eye(3).expand_as(identity), atol=1e-5)


def test_a_folder_without_a_usable_recording_is_refused(tmp_path: Path, body: Body) -> None:
    motion = random_motion(61, spread=0.3)
    motion.R_parent_joint[0] = torch.eye(3)
    jumping = motion.R_parent_joint[torch.arange(61) % 2 * 30].clone()
    (tmp_path / "jumps.bvh").write_text(bvh_text(replace(motion, R_parent_joint=jumping), body))
    with pytest.raises(ValueError, match=r"jumps\.bvh: .*no half second of it moves like a person"):
        load_motions(tmp_path, body)


def test_the_manifest_overrules_headers(folder: Path, body: Body) -> None:
    before = frames(load_motions(folder, body), "walk")
    (folder / "motions.csv").write_text("file,skeleton,fps,subject\nwalk.bvh,,60,ann\n")
    clips = load_motions(folder, body)
    assert frames(clips, "walk") in (2 * before - 1, 2 * before)
    assert [clip.subject for clip in clips if clip.name == "walk"] == ["ann"]


def test_the_manifest_weighs_recordings(folder: Path, body: Body, tmp_path_factory) -> None:
    cache = tmp_path_factory.mktemp("cache") / "motions.npz"
    (folder / "motions.csv").write_text("file,weight\nwalk.bvh,0.25\n")
    for _ in range(2):  # With and without the cache.
        clips = load_motions(folder, body, cache=cache)
        assert {clip.weight for clip in clips if clip.name == "walk"} == {0.25}
        assert {clip.weight for clip in clips if clip.name != "walk"} == {1.0}
    motions = [from_recording(clip, body) for clip in clips]
    rare = replace(motions[0], weight=1e-6, p_world_root=motions[0].p_world_root + 50)
    often = replace(motions[0], name="often", weight=1.0)
    drawn = sample_poses(np.random.default_rng(0), [rare, often], 40, 1, 30.0)
    assert drawn.p_world_root[..., 1].max() < 25


def test_the_cache_serves_until_something_changes(folder: Path, body: Body, tmp_path_factory) -> None:
    cache = tmp_path_factory.mktemp("cache") / "motions.npz"
    fresh = load_motions(folder, body, cache=cache)
    read = []
    again = load_motions(folder, body, cache=cache, progress=lambda *step: read.append(step))
    assert not read
    for a, b in zip(fresh, again, strict=True):
        assert (a.name, a.subject, a.fps) == (b.name, b.subject, b.fps)
        for field in ("betas", "R_parent_joint", "p_world_root"):
            assert torch.equal(getattr(a.parameters, field), getattr(b.parameters, field)), (
                "resumed runs are equal"
            )
    (folder / "motions.csv").write_text("file,fps\nwalk.bvh,60\n")
    changed = load_motions(folder, body, cache=cache, progress=lambda *step: read.append(step))
    assert read and frames(changed, "walk") > frames(fresh, "walk")


@pytest.mark.parametrize(
    ("manifest", "error", "message"),
    [
        ("name,fps\nwalk.bvh,60\n", ValueError, "no column `file`"),
        ("file,fps\n../walk.bvh,60\n", ValueError, r"line 2.*\.\./walk"),
        ("file,fps\n/etc/passwd,60\n", ValueError, "line 2.*passwd"),
        ("file,fps\nwalk.bvh,fast\n", ValueError, "line 2.*fast"),
        ("file,fps\nwalk.bvh,60\njump.bvh,60\n", FileNotFoundError, "line 3.*jump"),
        ("file,weight\nwalk.bvh,0\n", ValueError, "line 2: expected weight as a number above 0.*'0'"),
        ("file,weight\nwalk.bvh,often\n", ValueError, "line 2: expected weight.*'often'"),
    ],
)
def test_a_wrong_manifest_is_refused(
    folder: Path, body: Body, manifest: str, error: type, message: str
) -> None:
    (folder / "motions.csv").write_text(manifest)
    with pytest.raises(error, match=message):
        load_motions(folder, body)


def test_an_amc_without_a_unique_skeleton_is_refused(tmp_path: Path, body: Body) -> None:
    asf, amc = asf_amc_text(random_motion(9, spread=0.2), body)
    (tmp_path / "01_05.amc").write_text(amc)
    with pytest.raises(ValueError, match=r"01_05\.amc: expected one \.asf skeleton, found 0"):
        load_motions(tmp_path, body)
    (tmp_path / "01.asf").write_text(asf)
    (tmp_path / "02.asf").write_text("not a skeleton")
    assert [clip.name for clip in load_motions(tmp_path, body)] == ["01_05"]


# ---- folders as they lie on disks ------------------------------------------------------------------------------


def test_one_bad_file_among_good_is_left_aside_with_its_reason(
    folder: Path, body: Body, tmp_path_factory: pytest.TempPathFactory, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "bad.bvh").write_text((folder / "walk.bvh").read_text().replace("0.000000", "0,000000"))
    (folder / "bad.npz").write_bytes(b"PK")
    (folder / "motions.csv").write_text("file\nREADME.txt\n")
    cache = tmp_path_factory.mktemp("cache") / "motions.npz"
    for _ in range(2):
        caplog.clear()
        assert [clip.name for clip in load_motions(folder, body, cache=cache)] == ["run", "walk"]
        for reason in ("left aside 3 of 5 recordings", "bad.bvh, line 4: ", "bad.npz: ", "README.txt"):
            assert reason in caplog.text
    (folder / "walk.bvh").unlink()
    (folder / "run.npz").unlink()
    with pytest.raises(ValueError, match=r"(?s)no recording can be read.*bad\.bvh, line 4"):
        load_motions(folder, body)


def test_stray_files_are_named_in_one_line(
    folder: Path, body: Body, caplog: pytest.LogCaptureFixture
) -> None:
    stray = ("._walk.bvh", "__MACOSX/._run.npz", "shape.npz", "neutral_stagei.npz", ".git/a.pkl")
    for name in stray:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0\5\x16\7")
    (folder / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    assert [clip.name for clip in load_motions(folder, body)] == ["run", "walk"]
    (record,) = caplog.records
    assert all(name in record.getMessage() for name in stray) and "DS_Store" not in record.getMessage()


def test_a_tree_of_subjects_is_read_with_names_that_differ(tmp_path: Path, body: Body) -> None:
    for subject in ("S1", "S2"):
        (tmp_path / "set" / subject).mkdir(parents=True)
        np.savez(tmp_path / "set" / subject / "walk_poses.npz", **amass_arrays(random_motion(61), body))
    (tmp_path / "motions.csv").write_text("file,subject\nset/S2/walk_poses.npz,ann\n")
    clips = load_motions(tmp_path, body)
    assert [(clip.name, clip.subject) for clip in clips] == [
        ("set/S1/walk_poses", "S1"),
        ("set/S2/walk_poses", "ann"),
    ]


def walking(frames: int, fps: float) -> BodyParameters:
    """A walk of 1.2 m/s and 1.8 steps a second, recorded at `fps`."""
    t = torch.arange(frames, dtype=torch.float64) / fps
    swing = 0.42 * torch.sin(torch.pi * 1.8 * t)
    R = torch.eye(3, dtype=torch.float64).repeat(frames, 24, 1, 1)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        turn = torch.stack([sign * swing, 0 * t, 0 * t], dim=-1)
        R[:, JOINT[f"{side}_hip"]] = roma.rotvec_to_rotmat(turn)
    p = torch.stack([0 * t, 0.95 + 0 * t, 1.2 * t], dim=-1)
    return BodyParameters(torch.zeros(10, dtype=torch.float64), R, p)


def test_a_rate_that_people_cannot_walk_at_is_not_believed(tmp_path: Path, body: Body) -> None:
    """Four seconds of a walk at 120 frames a second, with a header that says 24."""
    walk = walking(480, fps=120.0)
    (tmp_path / "walk.bvh").write_text(bvh_text(walk, body, fps=120.0))
    assert slowness(load_motions(tmp_path, body)[0].parameters, body, 30.0) == pytest.approx(1.0, abs=0.3)
    (tmp_path / "walk.bvh").write_text(bvh_text(walk, body, fps=24.0))
    with pytest.raises(ValueError, match=r"walk\.bvh: .* [3-6]\.\d times as slow .* motions\.csv"):
        load_motions(tmp_path, body)
    (tmp_path / "motions.csv").write_text("file,fps\nwalk.bvh,24\n")
    assert len(load_motions(tmp_path, body)) == 1


TROUBLES = SHARED_DATA / "troubles"


@pytest.mark.skipif(not TROUBLES.is_dir(), reason=f"{TROUBLES} is absent")
def test_folders_of_other_programs_are_read(body: Body, caplog: pytest.LogCaptureFixture) -> None:
    expected = {
        "bvh/one_bad_among_good": (2, "b.bvh, line 4: "),
        "from_a_mac/bvh": (1, "left aside ._walk.bvh"),
        "amass/tree": (4, "left aside SubsetA/Subject01/shape.npz, SubsetX/s3/neutral_stagei.npz"),
        "amass/variants": (9, "10_no_rate/walk.npz: expected mocap_framerate"),
    }
    for name, (count, line) in expected.items():
        caplog.clear()
        assert len(load_motions(TROUBLES / name, body)) == count, name
        assert line in caplog.text


def test_an_empty_or_missing_folder_is_named(tmp_path: Path, body: Body) -> None:
    with pytest.raises(FileNotFoundError, match="no recordings"):
        load_motions(tmp_path, body)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        load_motions(tmp_path / "none", body)
