import errno
import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.cli.main import main
from selfmocap.io.video import Frame
from selfmocap.models.checkpoints import load_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork
from selfmocap.models.temporal_inference import load_temporal, save_temporal
from selfmocap.pipeline import capture, drawing, solve
from selfmocap.tracking.detectors.detection import Detection
from tests.conftest import SHARED_DATA
from tests.helpers import stub_capture
from tests.helpers.stick_figures import COCO, ScriptedDetector, scene
from tests.helpers.stub_capture import (
    FRAMES,
    drawn_video,
    little_work,
    person_places,
    results,
    untrained_weights,
)
from tests.helpers.videos import write_video

DOG = SHARED_DATA / "clips" / "sam2_dog.mp4"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_weights(tmp_path_factory.mktemp("weights") / "untrained.safetensors")


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main([str(arg) for arg in args])
    assert isinstance(exit_info.value.code, int)
    return exit_info.value.code


# ---- drawn people -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Path:
    """Return a folder with a video of two people and its capture."""
    folder = tmp_path_factory.mktemp("captured")
    video = drawn_video(folder / "two.mp4")
    with little_work():
        assert (
            run(
                "capture", "--video", video, "--out", folder / "out", "--weights", weights, "--formats", "bvh"
            )
            == 0
        )
    return folder


@pytest.fixture
def again(captured: Path, tmp_path: Path) -> Path:
    """Return a copy of the captured folder."""
    return Path(shutil.copytree(captured, tmp_path / "again"))


def redo(folder: Path, weights: Path, *options: object) -> int:
    with little_work():
        return run("capture", folder / "two.mp4", "-o", folder / "out", "--weights", weights, *options)


def test_a_capture_writes_the_documented_files(captured: Path, weights: Path) -> None:
    out = captured / "out"
    assert set(results(out)["files"]) == {
        *(f"person-{n}/{name}" for n in (1, 2) for name in ("motion.npz", "motion.bvh", "observations.npz")),
        *("observations.json", "overlay.mp4", "report.html", "report.json"),
    }
    report = json.loads((out / "report.json").read_text())
    assert report["video"]["frames"] == FRAMES
    assert {"observe", "adapt", "choose", "refine", "postprocess", "export", "draw", "measure", "total"} <= {
        stage["name"] for stage in report["stages"]
    }
    for person in report["people"]:
        assert person["segments"] == [[0, pytest.approx((FRAMES - 1) / 30, abs=0.2)]]
        assert person["after"]["heldout_reprojection_px"] <= person["before"]["heldout_reprojection_px"]
        assert {"keypoint_px", "mask_iou", "flow_px", "jitter", "foot_slide_mm"} < person["after"].keys()
        pops = person["pops"]
        assert pops["after"]["largest_deg"] <= pops["before"]["largest_deg"] + 3
        assert pops["after"]["fraction"] <= pops["before"]["fraction"]
    motion = Motion.load(out / "person-1" / "motion.npz")
    assert motion.provenance["weights"] == load_network(weights)[1]["sha256"]
    with av.open(str(out / "overlay.mp4")) as overlay:
        assert sum(1 for _ in overlay.decode(video=0)) == FRAMES


@pytest.mark.slow
def test_a_capture_of_a_former_version_is_computed_again_with_a_sentence(
    again: Path, captured: Path, weights: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Rename what the former version named otherwise, and remove the version of its records."""
    records = again / "out" / ".capture"
    for path in records.glob("*.json"):
        record = json.loads(path.read_text())
        del record["version"]
        path.write_text(json.dumps(record))
    for number in (1, 2):
        (records / f"postprocess-{number}.json").rename(records / f"clean-{number}.json")
    choose = json.loads((records / "choose.json").read_text())
    for choice in choose["result"]["people"]:
        choice["fast"] = choice.pop("low_smoothness")
    (records / "choose.json").write_text(json.dumps(choose))
    assert redo(again, weights, "--formats", "bvh") == 0
    assert [record.getMessage() for record in caplog.records if "another version" in record.getMessage()] == [
        f"{again / 'out'}: computed by another version of selfmocap; its stages are computed again"
    ]
    assert results(again / "out")["content"] == results(captured / "out")["content"]
    assert not list(records.glob("clean-*"))


@pytest.mark.slow
def test_a_temporal_network_captures_too(again: Path, tmp_path: Path) -> None:
    path = tmp_path / "temporal.safetensors"
    config = TemporalConfig(width=32, hidden=16, blocks=1, frames=13)
    save_temporal(path, TemporalNetwork(NetworkConfig(trunk="none", rgb=False), config), {})
    assert redo(again, path, "--formats", "bvh") == 0
    motion = Motion.load(again / "out" / "person-1" / "motion.npz")
    assert motion.provenance["weights"] == load_temporal(path)[1]["sha256"]
    assert load_temporal(again / "out" / ".capture" / "adapted.safetensors")[0].config == config


def test_another_export_repeats_no_other_stage(
    again: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(again / "out")["content"]
    for module, name in ((solve, "adapt"), (solve, "fit"), (capture, "postprocess"), (drawing, "write_overlay_video"),
                         (capture, "person_diagnostics"), (capture, "load_estimator")):  # fmt: skip
        monkeypatch.setattr(module, name, None)
    assert redo(again, weights, "--formats", "csv", "trc", "glb", "--fps", "60") == 0
    after = results(again / "out")["content"]
    assert {name.rpartition(".")[2] for name in after.keys() - before.keys()} == {"csv", "trc", "glb"}
    assert "scene.glb" in after
    assert before.items() <= after.items()


@pytest.mark.slow
def test_videos_are_drawn_where_asked_for_without_repeating_other_stages(
    again: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module, name in ((solve, "adapt"), (solve, "fit"), (capture, "postprocess")):
        monkeypatch.setattr(module, name, None)
    assert redo(again, weights, "--formats", "bvh", "--overlay", "all") == 0
    with av.open(str(again / "out" / "observations.mp4")) as drawn:
        assert sum(1 for _ in drawn.decode(video=0)) == FRAMES
    assert "<video" in (again / "out" / "report.html").read_text()
    assert redo(again, weights, "--formats", "bvh", "--overlay", "none") == 0
    assert "<video" not in (again / "out" / "report.html").read_text()


@pytest.mark.slow
def test_another_height_repeats_postprocessing_but_not_adaptation(
    again: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(again / "out")["content"]
    monkeypatch.setattr(solve, "fit", None)
    assert redo(again, weights, "--height", "1.2", "--formats", "csv") == 0
    after = results(again / "out")["content"]
    assert not {name for name in after if name.endswith(".bvh")}, "an export of the former motion is left"
    assert before["person-1/motion.npz"] != after["person-1/motion.npz"]
    assert before["overlay.mp4"] != after["overlay.mp4"]
    assert before["person-1/observations.npz"] == after["person-1/observations.npz"]


@pytest.mark.slow
def test_each_person_gets_their_own_height(again: Path, weights: Path, capfd: pytest.CaptureFixture) -> None:
    assert redo(again, weights, "--height", "1.2,0.9", "--formats", "bvh") == 0
    people = json.loads((again / "out" / "report.json").read_text())["people"]
    assert [(p["stature"], p["stature_from"]) for p in people] == [(1.2, "height"), (0.9, "height")]
    assert redo(again, weights, "--height", "1.2", "--formats", "bvh") == 0
    people = json.loads((again / "out" / "report.json").read_text())["people"]
    assert people[0]["stature"] == 1.2 and people[1]["stature_from"] != "height"
    capfd.readouterr()
    assert redo(again, weights, "--height", "1.2,0.9,1.7", "--formats", "bvh") == 2
    assert "3 values (1.2,0.9,1.7), and 2 people are captured" in capfd.readouterr().err


@pytest.mark.slow
def test_another_focal_length_moves_the_people(again: Path, weights: Path) -> None:
    near = Motion.load(again / "out" / "person-1" / "motion.npz").joints_cam[:, 0, 2].mean()
    assert redo(again, weights, "--quality", "fast", "--focal", "3840", "--formats") == 0
    assert Motion.load(again / "out" / "person-1" / "motion.npz").joints_cam[:, 0, 2].mean() > 5 * near
    assert not (again / "out" / ".capture" / "adapted.safetensors").exists()


@pytest.mark.slow
def test_with_one_person_less_no_second_motion_is_left(again: Path, weights: Path) -> None:
    assert redo(again, weights, "--people", "largest", "--formats", "bvh") == 0
    assert not list((again / "out" / "person-2").iterdir())


@pytest.mark.slow
def test_ctrl_c_exits_with_130_and_the_next_run_resumes(
    again: Path, captured: Path, weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    shutil.rmtree(again / "out")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(drawing, "write_overlay_video", interrupted)
        assert redo(again, weights, "--formats", "bvh") == 130
    assert "interrupted" in capfd.readouterr().err
    assert not (again / "out" / "report.json").exists()
    monkeypatch.setattr(solve, "fit", None)
    assert redo(again, weights, "--formats", "bvh") == 0
    assert results(again / "out")["content"] == results(captured / "out")["content"]


def test_capture_from_python(again: Path, weights: Path) -> None:
    from selfmocap import CaptureConfig, capture

    stages: list[str] = []
    with little_work():
        first, second = capture(
            again / "two.mp4",
            again / "out",
            CaptureConfig(weights=weights, formats=("bvh",)),
            progress=lambda stage, done, total: stages.append(stage),
        )
    assert len(first) == len(second) == FRAMES
    assert not stages, "every stage was finished before"


# ---- a real video ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dog() -> list[np.ndarray]:
    """The first twelve frames of a real clip, half as large."""
    if not DOG.is_file():
        pytest.skip(f"{DOG} is not there: real clips are not part of the project")
    with av.open(str(DOG)) as source:
        decoded = itertools.islice(source.decode(video=0), 12)
        frames = [frame.to_ndarray(format="rgb24")[::2, ::2] for frame in decoded]
    return [np.ascontiguousarray(frame) for frame in frames]


@pytest.mark.slow
def test_a_short_real_clip_gives_a_motion_at_the_persons_position(
    dog: list[np.ndarray], tmp_path: Path
) -> None:
    """Use the weights that come with the project."""
    clip = write_video(tmp_path / "dog.mp4", dog)
    assert run("capture", clip, "--out", tmp_path, "--quality", "fast") == 0
    motion = Motion.load(tmp_path / "person-1" / "motion.npz")
    assert len(motion) == 12
    assert motion.fps == pytest.approx(30, rel=0.02)
    observations = np.load(tmp_path / "person-1" / "observations.npz", allow_pickle=False)
    points = keypoint_set(str(observations["keypoint_set"]))
    hips = [points.index("left_hip"), points.index("right_hip")]
    seen = torch.from_numpy(observations["keypoints"][:, hips]).mean(1)
    pelvis = motion.camera.project(motion.camera.to_world(motion.joints_cam[:, :1]))[:, 0]
    side = 2 * float(observations["boxes"][:, 2].mean())
    assert (pelvis - seen).norm(dim=-1).max() < 0.12 * side
    (person,) = json.loads((tmp_path / "report.json").read_text())["people"]
    before, after = person["before"], person["after"]
    assert after["keypoint_px"] < 0.7 * before["keypoint_px"], "what is minimised"
    assert after["heldout_reprojection_px"] < 0.85 * before["heldout_reprojection_px"]
    assert after["mask_iou"] > 0.6

    assert run("infer", tmp_path, "--out", tmp_path / "first") == 0
    assert len(Motion.load(tmp_path / "first" / "person-1" / "motion.npz")) == 12
    assert run("infer", tmp_path / "first", "--out", tmp_path / "no") == 2


# ---- partly usable videos -----------------------------------------------------------------------------


def captured_in_part(video: Path, out: Path, weights: Path, places=None) -> tuple[list[Motion], list[str]]:
    """Capture, and return the motions and the warnings."""
    with little_work(places):
        assert (
            run("capture", video, "--out", out, "--weights", weights, "--quality", "fast", "--formats", "bvh")
            == 0
        )
    paths = sorted(out.glob("person-*/motion.npz"))
    return [Motion.load(path) for path in paths], json.loads((out / "report.json").read_text())["warnings"]


@pytest.mark.slow
def test_two_frames_are_captured_with_a_warning(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture
) -> None:
    video = drawn_video(tmp_path / "two.mp4", frames=2)
    motions, warnings = captured_in_part(video, tmp_path / "out", weights, person_places(2))
    assert [len(motion) for motion in motions] == [2, 2]
    assert sum("observed in 2 frames only" in warning for warning in warnings) == 2
    assert f"warning: {warnings[0]}" in capfd.readouterr().err


@pytest.mark.slow
def test_240_frames_a_second_stay_240(tmp_path: Path, weights: Path) -> None:
    video = drawn_video(tmp_path / "fast.mkv", times=[round(k / 240, 3) for k in range(FRAMES)])
    motions, _ = captured_in_part(video, tmp_path / "out", weights)
    assert float(motions[0].frame_times[-1]) == pytest.approx((FRAMES - 1) / 240, abs=0.01)


@pytest.mark.slow
def test_people_are_not_tracked_across_a_cut(tmp_path: Path, weights: Path) -> None:
    """The people of the first shot are not continued in the second."""
    frames = person_places(FRAMES)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    empty = [{} for _ in range(8)]
    video = write_video(tmp_path / "cut.mp4", [scene(f) for f in frames] + [noise] * 8)
    motions, _ = captured_in_part(video, tmp_path / "out", weights, [*frames, *empty])
    assert [int(motion.frame_index[-1]) for motion in motions] == [FRAMES - 1, FRAMES - 1]


@pytest.mark.slow
def test_a_truncated_video_is_captured_up_to_its_end(tmp_path: Path, weights: Path) -> None:
    whole = drawn_video(tmp_path / "whole.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 9 // 10])
    motions, _ = captured_in_part(tmp_path / "cut.mkv", tmp_path / "out", weights)
    assert 2 <= len(motions[0]) < FRAMES


@pytest.mark.slow
def test_a_person_with_hidden_legs_is_captured_with_a_warning(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = np.array([0.0 if name.endswith(("knee", "ankle")) else 1.0 for name in COCO.names], np.float32)

    class Behind(ScriptedDetector):
        def detect(self, frame: Frame) -> list[Detection]:
            return [replace(pose, confidence=pose.confidence * shown) for pose in super().detect(frame)]

    monkeypatch.setattr(stub_capture, "ScriptedDetector", Behind)
    motions, warnings = captured_in_part(drawn_video(tmp_path / "two.mp4"), tmp_path / "out", weights)
    assert len(motions) == 2
    assert "person 1: legs are rarely visible; leg pose is unreliable" in warnings


# ---- unusable inputs ----------------------------------------------------------------------------------------------


def refused(capfd: pytest.CaptureFixture, video: Path, out: Path, *options: object) -> str:
    """Capture, expect a failure that leaves no results, and return its one line on standard error."""
    capfd.readouterr()
    assert run("capture", video, "--out", out, *options) == 2
    lines = [line for line in capfd.readouterr().err.splitlines() if line.startswith("selfmocap:")]
    assert len(lines) == 1
    if out.is_dir():
        assert not [path for path in out.rglob("*") if path.name.startswith(("motion", "overlay", "report"))]
    return lines[0]


def test_files_that_are_no_videos_are_refused(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / "text.mp4").write_text("hello")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "folder").mkdir()
    for name, says in (("text.mp4", "expected a video"), ("empty.mp4", "is empty"), ("folder", "folder with images"),
                       ("absent.mp4", "does not exist")):  # fmt: skip
        assert says in refused(capfd, tmp_path / name, tmp_path / "out", "--weights", weights)


def test_a_video_without_people_is_refused(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture
) -> None:
    video = write_video(tmp_path / "grey.mp4", [np.full((240, 320, 3), 128, np.uint8)] * 3)
    with little_work([{}] * 3):
        assert "no person was tracked" in refused(capfd, video, tmp_path / "out", "--weights", weights)


@pytest.mark.slow
def test_an_8k_video_without_people_is_refused(
    tmp_path: Path, weights: Path, capfd: pytest.CaptureFixture
) -> None:
    video = write_video(tmp_path / "8k.mp4", [np.full((4320, 7680, 3), 90, np.uint8)])
    with little_work([{}]):
        assert "no person was tracked" in refused(capfd, video, tmp_path / "out", "--weights", weights)


@pytest.mark.slow
def test_a_full_disk_and_a_file_as_output_folder_are_reported(
    again: Path, weights: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    with little_work():
        assert "file" in refused(capfd, again / "two.mp4", tmp_path / "file" / "out", "--weights", weights)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.rmtree(again / "out" / ".capture")
    for stale in [*(again / "out").glob("person-*/motion*"), *(again / "out").glob("[or][ve]*.[mhj]*")]:
        if not stale.name.startswith("observations"):
            stale.unlink()
    monkeypatch.setattr("selfmocap.io.npz.np.savez_compressed", full)
    with little_work():
        line = refused(capfd, again / "two.mp4", again / "out", "--weights", weights, "--quality", "fast")
    assert "No space left on device" in line


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--people", "some"], "'some'"),
        (["--height", "180"], "metres from 0.5 to 2.6"),
        (["--height", "1.7,10"], "metres from 0.5 to 2.6"),
        (["--height", "1.7,tall"], "one value a person"),
        (["--focal", "0"], "focal length"),
        (["--formats", "obj"], "no format 'obj'"),
        (["--fps", "0"], "1 to 1000"),
        (["--device", "tpu"], "expected cpu, cuda"),
        (["--weights", "absent.safetensors"], "absent.safetensors does not exist"),
    ],
)
def test_invalid_settings_are_refused(
    captured: Path, tmp_path: Path, capfd: pytest.CaptureFixture, options: list[str], says: str
) -> None:
    assert says in refused(capfd, captured / "two.mp4", tmp_path / "out", *options)
    assert not list(tmp_path.rglob("observations*")), "settings are checked before any work"


def test_importing_the_package_stays_light() -> None:
    program = "import sys, selfmocap; assert 'torch' not in sys.modules; assert callable(selfmocap.capture)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
