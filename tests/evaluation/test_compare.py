"""Two results on one video, side by side."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.cli.main import main
from selfmocap.geometry.camera import Camera
from selfmocap.io.video import open_video
from selfmocap.io.video_writer import write_video
from tests.helpers.exported_files import wandering_motion

pytestmark = pytest.mark.slow

FRAMES, SIZE = 3, (320, 180)


def filmed(body: Body, motion: Motion, metres: float) -> Motion:
    """Move a motion to the side, before a camera of few pixels."""
    root = motion.parameters.p_world_root + torch.tensor([metres, 0.0, 0.0])
    parameters, camera = replace(motion.parameters, p_world_root=root), Camera.looking_along_z(300.0, *SIZE)
    return Motion.from_parameters(body, parameters, camera, SIZE, motion.frame_times)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, body: Body) -> Path:
    """A video, a capture's folder, another result that is 0.2 m to the side in fewer frames, and the truth."""
    root, moving = tmp_path_factory.mktemp("results"), wandering_motion(body, FRAMES)
    motion = filmed(body, moving, 0.0)
    frames = ((None, np.full((*SIZE[::-1], 3), 90, np.uint8)) for _ in range(FRAMES))
    write_video(root / "video.mp4", frames, 30.0)
    for path, one in (("ours/person-1", motion), ("truth", motion)):
        (root / path).mkdir(parents=True)
        one.save(root / path / "motion.npz")
    filmed(body, moving, 0.2)[:-1].save(root / "theirs.npz")
    return root


def run(*args: str | Path) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


def test_results_are_compared_with_each_other_and_with_the_truth(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    a, b = results / "ours", results / "theirs.npz"
    sides = ("compare", a, b, "--video", results / "video.mp4", "--out", tmp_path)
    assert run(*sides, "--truth", results / "truth") == 0
    found = json.loads((tmp_path / "compare.json").read_text())
    first, second = found["systems"]
    assert (first["name"], second["name"]) == ("ours", "theirs.npz (selfmocap)")
    assert (first["frames"], second["frames"]) == (FRAMES, FRAMES - 1)
    assert first["truth"]["absolute_mpjpe_mm"] == 0 and first["truth"]["missing_frames"] == 0
    for scores in (second["truth"], found["difference"]):
        assert scores["absolute_mpjpe_mm"] == pytest.approx(200, abs=0.1)
        assert scores["mpjpe_mm"] == pytest.approx(0, abs=0.01) and scores["missing_frames"] == 1
    film = open_video(tmp_path / "compare.mp4")
    assert film.size == (2 * SIZE[0], SIZE[1]) and film.declared_frames == FRAMES
    last = list(film.frames())[-1].image.astype(int)
    drawn = np.abs(last - 90).max(-1) > 40
    assert drawn[:, : SIZE[0]].sum() > 200 and drawn[:, SIZE[0] :].sum() == 0
    page = (tmp_path / "compare.html").read_text()
    assert "A: ours" in page and "B: theirs.npz (selfmocap)" in page and "200.0 mm with translation" in page
    assert "per joint with translation" in capsys.readouterr().out


def test_a_page_escapes_names(results: Path, tmp_path: Path) -> None:
    odd = tmp_path / "<b>x.npz"
    odd.write_bytes((results / "theirs.npz").read_bytes())
    assert run("compare", results / "ours", odd, "--video", results / "video.mp4", "--out", tmp_path) == 0
    page = (tmp_path / "compare.html").read_text()
    assert "<b>" not in page and "&lt;b&gt;x.npz" in page
    assert "truth" not in json.loads((tmp_path / "compare.json").read_text())["systems"][0]


def test_wrong_sides_are_refused(results: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    sides = ("compare", results / "ours", results / "absent.pkl", "--video", results / "video.mp4")
    assert run(*sides, "--out", tmp_path / "out") == 2
    assert "absent.pkl" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
