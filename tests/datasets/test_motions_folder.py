from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from tests.datasets.test_smpl_files import amass_arrays
from tests.helpers.recordings import asf_amc_text, bvh_text, random_motion


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
    with pytest.raises(ValueError, match="at least one usable recording"):
        load_motions(tmp_path, body)


def test_the_manifest_overrules_headers(folder: Path, body: Body) -> None:
    before = frames(load_motions(folder, body), "walk")
    (folder / "motions.csv").write_text("file,skeleton,fps,subject\nwalk.bvh,,60,ann\n")
    clips = load_motions(folder, body)
    assert frames(clips, "walk") in (2 * before - 1, 2 * before)
    assert [clip.subject for clip in clips if clip.name == "walk"] == ["ann"]


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
        ("file,fps\nREADME.txt,60\n", ValueError, "README.txt"),
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
    (tmp_path / "02.asf").write_text(asf.replace("left_hip", "left_hop"))
    # It is the right skeleton that is read: its joints are complained of as no known rig's, not the file's lines.
    with pytest.raises(ValueError, match="01_05: a skeleton of an unknown kind"):
        load_motions(tmp_path, body)


def test_an_empty_or_missing_folder_is_named(tmp_path: Path, body: Body) -> None:
    with pytest.raises(FileNotFoundError, match="no recordings"):
        load_motions(tmp_path, body)
    with pytest.raises(FileNotFoundError, match="not a folder"):
        load_motions(tmp_path / "none", body)
