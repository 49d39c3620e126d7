"""Captures of rotated videos, of variable frame rates, and into folders without write permission."""

import csv
import os
import shutil
import struct
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from selfmocap.body_model.motion import Motion
from selfmocap.cli.main import main
from selfmocap.io.files import read_json, write_json
from selfmocap.io.video_source import local_video
from selfmocap.pipeline.capture import capture as capture_video
from selfmocap.pipeline.config import CaptureConfig
from tests.helpers.stick_figures import HEIGHT, RED, WIDTH, scene
from tests.helpers.stub_capture import drawn_video, little_work, person_places, results, untrained_weights
from tests.helpers.videos import write_video

pytestmark = pytest.mark.slow

NOBODY = 65534
"""User number of `nobody`."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_weights(tmp_path_factory.mktemp("weights") / "untrained.safetensors")


def capture(video: Path, out: Path, weights: Path, *options: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["capture", str(video), "--out", str(out), "--weights", str(weights), "--quality", "fast",
              *map(str, options)])  # fmt: skip
    assert isinstance(ended.value.code, int)
    return ended.value.code


# ---- rotated videos ---------------------------------------------------------------------------------


def turned(path: Path, clockwise: bool) -> None:
    """Set the rotation of an MP4 file to a right angle."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    side = 65536 if clockwise else -65536
    data[matrix : matrix + 36] = struct.pack(">9i", 0, side, 0, -side, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("clockwise", [True, False])
def test_a_rotated_video_is_captured_upright(tmp_path: Path, weights: Path, clockwise: bool) -> None:
    """The detector is scripted for the upright image; the file holds the image rotated."""
    places = [{RED: (150.0 + k, 100.0)} for k in range(8)]
    upright = [np.full((WIDTH, HEIGHT, 3), 128, np.uint8) for _ in places]
    for image, position in zip(upright, places, strict=True):
        image[:HEIGHT] = scene(position)[:, :HEIGHT]
    lying = [np.ascontiguousarray(np.rot90(image, 1 if clockwise else -1)) for image in upright]
    video = write_video(tmp_path / "tall.mp4", lying)
    turned(video, clockwise)
    with little_work(places):
        assert capture(video, tmp_path / "out", weights, "--formats", "bvh") == 0
    motion = Motion.load(tmp_path / "out" / "person-1" / "motion.npz")
    assert motion.image_size == (HEIGHT, WIDTH)
    pelvis = motion.camera.project(motion.camera.to_world(motion.joints_cam[:, :1]))[:, 0]
    assert torch.allclose(pelvis[:, 0], torch.tensor([p[RED][0] for p in places]), atol=25)
    assert 80 < float(pelvis[:, 1].mean()) < 190
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as film:
        frame = next(film.decode(video=0)).to_ndarray(format="rgb24")
    assert np.abs(frame[5:60].astype(int) - upright[0][5:60]).mean() < 12, "above the person nothing is drawn"
    assert frame.shape == (WIDTH, HEIGHT, 3)


# ---- variable frame rates --------------------------------------------------------------------------


def test_exports_of_a_variable_frame_rate_keep_the_frame_times(tmp_path: Path, weights: Path) -> None:
    """With frames of 20 to 100 ms, tables have each frame's own time, and a BVH file the motion at even times."""
    durations = [20, 40, 100, 20, 20, 60, 40, 40, 20, 100, 40]
    times = [float(t) / 1000 for t in np.cumsum([0, *durations])]
    video = drawn_video(tmp_path / "odd.mkv", times=times)
    with little_work():
        assert capture(video, tmp_path / "out", weights, "--people", "1", "--formats", "bvh", "csv") == 0
    folder = tmp_path / "out" / "person-1"
    motion = Motion.load(folder / "motion.npz")
    assert motion.frame_times.tolist() == pytest.approx(times, abs=1e-3)
    with (folder / "motion.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time_s"]) for row in rows] == pytest.approx(times, abs=1e-3)
    with av.open(str(tmp_path / "out" / "overlay.mp4")) as film:
        assert [float(frame.time or 0) for frame in film.decode(video=0)] == pytest.approx(times, abs=1e-3)

    lines = (folder / "motion.bvh").read_text().partition("MOTION\n")[2].splitlines()
    frames, step = int(lines[0].split()[1]), float(lines[1].split()[2])
    assert step == pytest.approx(0.04, abs=1e-3)
    assert times[-1] - step < (frames - 1) * step <= times[-1] + 1e-6
    root_cm = np.array([line.split()[:3] for line in lines[2:]], float)
    position = motion.parameters.p_world_root.numpy()
    expected = [[np.interp(k * step, times, position[:, axis]) for axis in range(3)] for k in range(frames)]
    between = np.linalg.norm(np.diff(expected, axis=0), axis=1)
    found = np.linalg.norm(np.diff(root_cm / 100, axis=0), axis=1)
    assert found == pytest.approx(between, abs=2e-3)
    assert between.max() > 0.005


# ---- folders without write permission -------------------------------------------------------------------------


@contextmanager
def as_user_nobody() -> Iterator[None]:
    """Run as the user `nobody`, since root may write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """Return a folder that all users may read, unlike those of pytest."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in [folder, *folder.rglob("*")]:
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def make_read_only(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no such permissions there")
def test_a_folder_without_write_permission_is_named_and_unchanged(
    readable_folder: Path, capfd: pytest.CaptureFixture
) -> None:
    video = drawn_video(readable_folder / "two.mp4")
    weights = untrained_weights(readable_folder / "untrained.safetensors")
    empty, finished = readable_folder / "empty", readable_folder / "finished"
    empty.mkdir()
    with little_work():
        assert capture(video, finished, weights, "--formats", "bvh") == 0
        make_read_only(readable_folder)
        before = results(finished)
        capfd.readouterr()
        with as_user_nobody():
            for out, *options in [(empty,), (empty / "deeper",), (finished, "--formats", "csv"),
                                  (finished, "--height", "1.5"), (finished, "--people", "largest")]:  # fmt: skip
                assert capture(video, out, weights, *options) == 2
                lines = [line for line in capfd.readouterr().err.splitlines() if line.strip()]
                assert len(lines) == 1
                assert "Permission denied" in lines[0] and str(out) in lines[0]
    assert not list(empty.iterdir())
    assert results(finished) == before


# ---- lenses ---------------------------------------------------------------------------------------


def test_a_calibration_straightens_the_motion_and_not_the_observations(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture
) -> None:
    """The motion's camera is the undistorted one. Another calibration does not observe the video again."""
    video = drawn_video(tmp_path / "a.mp4")
    calib = {
        "width": WIDTH,
        "height": HEIGHT,
        "fx": 300.0,
        "fy": 310.0,
        "cx": 150.0,
        "cy": 110.0,
        "k1": -0.25,
    }
    write_json(tmp_path / "bent.json", calib)
    write_json(tmp_path / "straight.json", calib | {"k1": 0.0})
    out, seen = tmp_path / "out", {}
    with little_work():
        for name in ("straight", "bent"):
            assert capture(video, out, weights, "--calib", tmp_path / f"{name}.json", "--formats", "bvh") == 0
            person = out / "person-1"
            seen[name] = [Motion.load(person / "motion.npz"), (person / "observations.npz").read_bytes()]
            assert read_json(out / "report.json")["focal"] == {
                "px": 305.0,
                "source": "calibration",
                "uncertainty": 0.0,
            }
    (straight, observed), (bent, observed_again) = seen.values()
    assert observed == observed_again
    assert bent.camera.focal.tolist() == [300.0, 310.0] and bent.camera.center.tolist() == [150.0, 110.0]
    assert (bent.joints_cam - straight.joints_cam).norm(dim=-1).max() > 0.01
    write_json(tmp_path / "other.json", calib | {"width": 100})
    assert capture(video, out, weights, "--calib", tmp_path / "other.json") == 2
    assert "the calibration is of images of" in " ".join(capfd.readouterr().err.split())


# ---- frames that are no file, and foreign names -----------------------------------------------------


def test_frames_from_memory_give_the_motion_of_their_file(tmp_path: Path, weights: Path) -> None:
    """The file is lossless, and its times are those of the arrays."""
    images = [scene(of_frame) for of_frame in person_places()]
    config = CaptureConfig(quality="fast", weights=weights)
    times = [0.05 * n for n in range(len(images))]
    with little_work():
        motions = capture_video(out=tmp_path / "memory", config=config, frames=iter(images), times=times)
        with local_video(None, tmp_path / "file", images, times) as path:
            expected = capture_video(path, tmp_path / "b", config)
        with drawn_video(tmp_path / "a.mp4").open("rb") as file:
            read = capture_video(file, tmp_path / "open", config)
    assert len(motions) == len(expected) == len(read) == 2
    for one, other in zip(motions, expected, strict=True):
        assert torch.equal(one.parameters.R_parent_joint, other.parameters.R_parent_joint)
        np.testing.assert_allclose(one.frame_times, times[: len(one)], atol=2e-5)
    assert not (tmp_path / "memory" / ".input").exists()
    assert read_json(tmp_path / "memory" / "report.json")["video"]["path"] == "frames"


def test_foreign_names_do_not_lose_the_work(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture
) -> None:
    name = os.fsdecode(b"[red] caf\xe9.mp4")
    out = tmp_path / "take [final] [" / "red]"
    with little_work():
        assert capture(drawn_video(tmp_path / name), out, weights) == 0
    assert read_json(out / "report.json")["video"]["path"].endswith("[red] caf\ufffd.mp4")
    assert "caf\ufffd" in (out / "report.html").read_text(encoding="utf-8")
    assert "take [final] [/red]" in capsys.readouterr().out


def test_a_capture_in_slow_motion_is_scaled_before_it_is_smoothed(tmp_path: Path, weights: Path) -> None:
    video = drawn_video(tmp_path / "a.mp4")
    with little_work():
        assert capture(video, tmp_path / "out", weights, "--slow-motion", 4, "--formats", "bvh") == 0
    motion = Motion.load(tmp_path / "out" / "person-1" / "motion.npz")
    assert motion.fps == pytest.approx(120, rel=0.02)
    assert read_json(tmp_path / "out" / "report.json")["video"]["fps"] == pytest.approx(120, rel=0.02)
    assert "Frame Time: 0.0083" in (tmp_path / "out" / "person-1" / "motion.bvh").read_text()


def test_a_part_of_a_video_keeps_its_times(tmp_path: Path, weights: Path) -> None:
    out, places = tmp_path / "out", person_places(24)
    with little_work(places):
        video = drawn_video(tmp_path / "a.mp4", 24)
        options = ["--start", 0.26, "--end", 0.7, "--formats", "csv", "--static-camera", "yes"]
        assert capture(video, out, weights, *options) == 0
    motion = Motion.load(out / "person-1" / "motion.npz")
    assert motion.frame_index.tolist() == list(range(8, 21))
    np.testing.assert_allclose(motion.frame_times, motion.frame_index / 30, atol=1e-3)
    report = read_json(out / "report.json")
    assert report["video"]["frames"] == 13 and report["video"]["start"] == pytest.approx(8 / 30, abs=1e-3)
    assert report["shots"][0]["first_frame"] == 8 and report["shots"][0]["last_frame"] == 20
    table = list(csv.DictReader((out / "person-1" / "motion.csv").read_text().splitlines()))
    assert float(table[0]["time_s"]) == pytest.approx(8 / 30, abs=1e-3)
    with av.open(str(out / "overlay.mp4")) as film:
        times = [frame.time for frame in film.decode(video=0)]
    assert len(times) == 13 and times[0] == 0


def test_results_of_another_video_and_of_a_former_motion_do_not_stay(
    tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    video, out = drawn_video(tmp_path / "a.mp4"), tmp_path / "out"
    person = out / "person-1"
    with little_work():
        static = ["--static-camera", "yes"]
        assert capture(video, out, weights, "--formats", "glb", *static) == 0
        character = shutil.copy(person / "motion.glb", tmp_path / "hero.glb")
        with pytest.raises(SystemExit, match="0"):
            main(["export", str(person / "motion.npz"), "--formats", "csv"])
        options = ["--smoothing", 0.5, "--formats", "glb", "--onto", character, *static]
        assert capture(video, out, weights, *options) == 0
    assert (
        not (person / "motion.csv").exists() and "motion.csv was exported from a former motion" in caplog.text
    )
    assert (person / "motion.glb").is_file() and (person / "character.glb").is_file()
    assert (out / "person-2" / "character.glb").is_file()
    assert "character.glb" in (out / "report.html").read_text()
    before, other = results(out), drawn_video(tmp_path / "b.mp4", 13)
    with little_work(person_places(13)):
        assert capture(other, out, weights, *static) == 2
        assert "found those of a.mp4; choose another output folder, or" in capsys.readouterr().err
        assert results(out) == before
        assert capture(other, out, weights, "--overwrite", *static) == 0
    assert len(Motion.load(person / "motion.npz")) == 13


def test_captures_in_threads_leave_the_standard_streams_alone(tmp_path: Path, weights: Path) -> None:
    before, failures = os.fstat(2), []
    config = CaptureConfig(quality="fast", weights=weights)

    def work(number: int) -> None:
        try:
            capture_video(drawn_video(tmp_path / f"{number}.mp4"), tmp_path / str(number), config)
        except Exception as error:  # noqa: BLE001 (reported below)
            failures.append(error)

    with little_work():
        threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not failures
    assert os.path.samestat(before, os.fstat(2))
    assert all((tmp_path / str(number) / "report.json").is_file() for number in range(2))
