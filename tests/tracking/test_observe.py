"""People followed, linked and written: with a detector that is told the truth, with files of other programs, and with
MediaPipe on real footage."""

import itertools
import json
import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.io.video import Frame, InputError, open_video
from selfmocap.tracking import tracker, tracking_pass
from selfmocap.tracking.detectors import registry
from selfmocap.tracking.detectors.detection import body_distance
from selfmocap.tracking.detectors.mediapipe import MediaPipeTasks, quiet_stderr
from selfmocap.tracking.detectors.mediapipe_legacy import MediaPipeLegacy
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.detectors.registry import detector_named
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.hog_detector import standing
from selfmocap.tracking.left_right_swaps import STATES
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.observe import Settings, observe
from selfmocap.tracking.precomputed import PrecomputedKeypoints, PrecomputedMasks, read_flow
from selfmocap.tracking.tiles import FIRST, tiles
from selfmocap.tracking.track_state import Pace, People
from selfmocap.tracking.tracker import follow
from tests.conftest import SHARED_DATA
from tests.helpers.stick_figures import BLUE, COCO, HEIGHT, RED, WIDTH, Told, scene, stick
from tests.helpers.videos import write_video

CLIPS = SHARED_DATA / "clips"

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared/data/clips")


# ---- the whole, with another program's keypoints --------------------------------------------------------------


def moving(count: int) -> list[dict[tuple[int, int, int], tuple[float, float]]]:
    return [{RED: (80.0 + k, 110.0), BLUE: (250.0 - 0.5 * k, 100.0)} for k in range(count)]


def written(tmp_path: Path, count: int = 40) -> tuple[Path, Path]:
    """A video of two people and the COCO file that says where their keypoints are."""
    frames = moving(count)
    video = write_video(tmp_path / "two.mp4", [scene(places) for places in frames])
    results = []
    for index, places in enumerate(frames):
        for x, y in places.values():
            numbers = np.concatenate([stick(x, y), np.full((17, 1), 0.9)], axis=1)
            results.append({"image_id": index, "keypoints": numbers.ravel().tolist(), "score": 0.9})
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(results))
    return video, path


def test_the_whole_with_precomputed_everything(tmp_path: Path) -> None:
    video, keypoints = written(tmp_path)
    masks, flow = tmp_path / "masks", tmp_path / "flow"
    masks.mkdir()
    flow.mkdir()
    for index, places in enumerate(moving(40)):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        for label, (colour, _) in enumerate(places.items(), start=1):
            labels[(scene(places) == colour).all(axis=-1)] = label
        Image.fromarray(labels).save(masks / f"{index}.png")
        if index % 2:
            np.save(flow / f"{index}.npy", np.full((HEIGHT, WIDTH, 2), (1.0, 0.0), np.float32))
        else:
            data = np.full((HEIGHT, WIDTH, 2), (1.0, 0.0), "<f4").tobytes()
            (flow / f"{index}.flo").write_bytes(struct.pack("<fii", 202021.25, WIDTH, HEIGHT) + data)
    settings = Settings(people="all", keypoints=keypoints, masks=masks, flow_folder=flow)
    paths = observe(video, tmp_path / "out", settings)
    assert [path.parent.name for path in paths] == ["person-1", "person-2"]
    seen = [Observations.load(path) for path in paths]
    colours = [tuple(s.crops[20, 60:68, 60:68].float().mean((0, 1)).tolist()) for s in seen]
    assert sorted(c.index(max(c)) for c in colours) == [0, 2]
    for one in seen:
        assert len(one) == 40 and one.keypoint_set == "coco-17" and one.image_size == (WIDTH, HEIGHT)
        scale = 128 / (2 * one.boxes[:, 2])
        area = one.masks.sum((1, 2)) / scale**2
        np.testing.assert_allclose(area.numpy(), 28 * 78, rtol=0.1)
        np.testing.assert_allclose(one.flow[5, 64, 64].numpy(), [float(scale[5]), 0.0], rtol=1e-2)
        assert not one.mask_certain[:, 64].all() and one.mask_certain[:, 64, 64].all()
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    assert [p["swapped_frames"] for p in report["people"]] == [dict.fromkeys(STATES[1:], 0)] * 2
    assert report["video"]["frames"] == 40 and report["peak_memory_gb"] > 0
    assert {"decode", "flow", "whole"} <= {stage["name"] for stage in report["stages"]}
    overlay = list(open_video(tmp_path / "out" / "observations.mp4").frames())
    assert len(overlay) == 40
    assert np.abs(overlay[20].image.astype(int) - scene(moving(40)[20])).mean() > 1


def test_swaps_in_precomputed_keypoints_are_undone_and_counted(tmp_path: Path) -> None:
    video, keypoints = written(tmp_path)
    results = json.loads(keypoints.read_text())
    for result in results[20:32:2]:
        numbers = np.array(result["keypoints"]).reshape(17, 3)
        result["keypoints"] = numbers[list(COCO.mirror)].ravel().tolist()
    keypoints.write_text(json.dumps(results))
    (path,) = observe(video, tmp_path / "out", Settings(keypoints=keypoints, people="1"))
    seen = Observations.load(path)
    left, right = (seen.keypoints[:, COCO.index(f"{side}_shoulder"), 0] for side in ("left", "right"))
    assert (left > right).all()
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    assert sorted(p["swapped_frames"]["all"] for p in report["people"]) == [6]


@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_pass, "WINDOW", 8)
    video, keypoints = written(tmp_path)
    settings = Settings(people="all", keypoints=keypoints)
    whole = [path.read_bytes() for path in observe(video, tmp_path / "whole", settings)]

    class Interrupted(Exception):
        pass

    def stop_at(where: str, frame: int):
        def progress(stage: str, done: int, total: int) -> None:
            if (stage, done) == (where, frame):
                raise Interrupted

        return progress

    for where, frame in (
        ("detect and follow", 21),
        ("detect and follow", 37),
        ("crops, masks and flow", 15),
        ("overlay", 9),
    ):
        with pytest.raises(Interrupted):
            observe(video, tmp_path / "out", settings, stop_at(where, frame))
        assert not list((tmp_path / "out").glob("observations.*")) and not list(
            (tmp_path / "out").glob("person-*")
        )
    stages: list[str] = []
    paths = observe(video, tmp_path / "out", settings, lambda stage, done, total: stages.append(stage))
    assert "detect and follow" not in stages
    with (
        np.load(paths[0]) as resumed,
        np.load(tmp_path / "whole" / "person-1" / "observations.npz") as straight,
    ):
        assert set(resumed.files) == set(straight.files)
        for name in resumed.files:
            np.testing.assert_array_equal(resumed[name], straight[name])
    assert not (tmp_path / "out" / ".observe").exists() and len(whole) == 2
    stages.clear()
    assert observe(video, tmp_path / "out", settings, lambda *_: stages.append("again")) == paths
    assert not stages
    (only,) = observe(video, tmp_path / "out", replace(settings, people="largest"))
    assert only.is_file() and not (tmp_path / "out" / "person-2" / "observations.npz").exists()


def test_the_person_in_the_users_box_is_taken(tmp_path: Path) -> None:
    video, keypoints = written(tmp_path)
    for box, colour in (((60.0, 90.0, 100.0, 180.0), 0), ((230.0, 80.0, 270.0, 170.0), 2)):
        (path,) = observe(video, tmp_path / f"out{colour}", Settings(keypoints=keypoints, person_box=box))
        crop = Observations.load(path).crops[10, 60:68, 60:68].float().mean((0, 1))
        assert int(crop.argmax()) == colour
    with pytest.raises(InputError, match="nobody is found in the box"):
        observe(video, tmp_path / "none", Settings(keypoints=keypoints, person_box=(0.0, 0.0, 9.0, 9.0)))


# ---- what other programs write --------------------------------------------------------------------------------


def test_openpose_and_coco_with_feet(tmp_path: Path) -> None:
    folder = tmp_path / "openpose"
    folder.mkdir()
    body = np.random.default_rng(0).uniform(10, 90, (25, 3))
    body[:, 2] = np.linspace(0, 1, 25)
    for index in (0, 1, 10, 2):
        people = [
            {"pose_keypoints_2d": (body + [index, 0, 0]).ravel().tolist()},
            {"pose_keypoints_2d": [0.0] * 75},
        ]
        (folder / f"clip_{index:03}_keypoints.json").write_text(
            json.dumps({"version": 1.3, "people": people})
        )
    detector = PrecomputedKeypoints(folder)
    assert detector.points.name == "body-25"
    for row, index in enumerate((0, 1, 2, 10)):
        (pose,) = detector.everybody(Frame(row, 0.0, scene({}), False))
        np.testing.assert_allclose(pose.keypoints[:, 0], body[:, 0] + index, rtol=1e-6)
    assert detector.everybody(Frame(4, 0.0, scene({}), False)) == []
    path = tmp_path / "coco.json"
    flags = np.concatenate([body[:23, :2], np.tile([[2.0]], (23, 1))], axis=1)
    flags[3, 2], flags[4] = 1.0, 0.0
    images = [{"id": 7, "file_name": "frame10.jpg"}, {"id": 9, "file_name": "frame9.jpg"}]
    annotations = [{"image_id": 7, "keypoints": flags.ravel().tolist()}]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    coco = PrecomputedKeypoints(path)
    (pose,) = coco.everybody(Frame(1, 0.0, scene({}), False))
    assert coco.points.name == "coco-23" and coco.everybody(Frame(0, 0.0, scene({}), False)) == []
    assert pose.confidence[[0, 3, 4]].tolist() == [1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    "text",
    ["", "[", "[]", "{}", '{"people": 3}', '[{"image_id": 0}]', "[1]", "[" * 100_000,
     '[{"image_id": {}, "keypoints": ' + str([0.0] * 51) + "}]",
     '[{"image_id": 0, "keypoints": ' + str([1e30] * 51) + "}]"],
)  # fmt: skip
def test_hostile_keypoints_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keypoints.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"keypoints\.json"):
        PrecomputedKeypoints(path)
    folder = tmp_path / "openpose"
    folder.mkdir()
    (folder / "0_keypoints.json").write_text(text)
    with pytest.raises(ValueError, match=r"0_keypoints\.json"):
        PrecomputedKeypoints(folder).everybody(Frame(0, 0.0, scene({}), False))


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.flo", b""), ("a.flo", b"PIEH"), ("a.flo", struct.pack("<fii", 202021.25, 1 << 30, 1 << 30)),
     ("a.flo", struct.pack("<fii", 202021.25, -1, 4)), ("a.flo", struct.pack("<fii", 1.0, 2, 2) + bytes(32)),
     ("a.npy", b"\x93NUMPY\x01\x00"), ("a.npy", b"\x80\x04pickle")],
)  # fmt: skip
def test_hostile_flow_is_refused(tmp_path: Path, name: str, data: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.(flo|npy)"):
        read_flow(path)
    header = {"descr": "<f4", "fortran_order": False, "shape": (1 << 20, 1 << 20, 2)}
    with (tmp_path / "b.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    with pytest.raises(ValueError, match=r"b\.npy"):
        read_flow(tmp_path / "b.npy")
    with pytest.raises(FileNotFoundError, match="not a folder"):
        PrecomputedMasks(tmp_path / "none")


# ---- MediaPipe on real footage --------------------------------------------------------------------------------


@pytest.mark.slow
@needs_clips
def test_both_interfaces_see_the_same_person() -> None:
    frame = next(open_video(CLIPS / "sam2_dog.mp4").frames())
    found = []
    for detector in (MediaPipeTasks(), MediaPipeLegacy()):
        whole = tiles(1280, 720, FIRST)
        windows = [w for tile in whole for w in detector.search(frame.image, tile)]
        poses = [pose for w in windows[:6] if (pose := detector.look(frame.image, w)) is not None]
        found.append(max(poses, key=lambda pose: pose.score))
    tasks, legacy = found
    assert body_distance(tasks, legacy, keypoint_set("mediapipe-33")) < 0.3
    assert tasks.score > 0.9 and tasks.mask is not None and legacy.mask is not None
    assert 200 < tasks.keypoints[:, 0].mean() < 480


@pytest.mark.slow
@needs_clips
def test_looking_into_two_windows_at_once_finds_what_one_after_another_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = list(itertools.islice(open_video(CLIPS / "ibm_basketball.mp4").frames(), 12))

    def followed() -> list[People]:
        people, states = People(), []
        detector, pace = MediaPipeTasks(), Pace.at(30.0, 300)
        for frame in frames:
            states.append(people := follow(people, frame, detector, pace))
        return states

    at_once = followed()
    monkeypatch.setattr(tracker, "map_in_threads", map)
    monkeypatch.setattr(tracker, "AT_ONCE", 1)
    assert len(at_once[-1].tracks) > 2
    for a, b in zip(at_once, followed(), strict=True):
        assert [t.number for t in a.tracks] == [t.number for t in b.tracks]
        for mine, theirs in zip(a.tracks, b.tracks, strict=True):
            assert np.array_equal(mine.pose.keypoints, theirs.pose.keypoints)
            assert np.array_equal(mine.colours, theirs.colours)


@needs_clips
def test_somebody_in_a_crowd_whom_the_detector_misses_stands_out() -> None:
    frames = open_video(CLIPS / "ibm_basketball.mp4").frames()
    frame = next(itertools.islice(frames, 110, None))
    found = standing(frame.image)
    assert found == standing(frame.image)
    detector = MediaPipeTasks()
    poses = [p for w in found if abs(w.x - 183) < 15 and (p := detector.look(frame.image, w)) is not None]
    assert any(p.score > 0.9 and abs(p.window.x - 183) < 8 and abs(p.window.y - 270) < 12 for p in poses)
    assert standing(np.full((360, 640, 3), 128, np.uint8)) == []


@pytest.mark.slow
@needs_clips
def test_a_signing_woman_is_one_person_without_legs_and_a_room_without_people_has_none(
    tmp_path: Path,
) -> None:
    (path,) = observe(CLIPS / "intel_asl_walk.mkv", tmp_path / "out", Settings(people="all"))
    seen = Observations.load(path)
    assert seen.frame_index.tolist() == list(range(89))
    points = keypoint_set(seen.keypoint_set)
    legs = [
        i for i, name in enumerate(points.names) if name.endswith(("knee", "ankle", "heel", "foot_index"))
    ]
    face = [points.index(name) for name in ("nose", "left_eye", "right_shoulder")]
    assert seen.keypoint_confidence[:, legs].max() < 0.1 < 0.75 < seen.keypoint_confidence[:, face].min()
    assert 0.2 < seen.masks.float().mean() < 0.7
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    (person,) = report["people"]
    assert person["flow_error_grey_levels"] < 0.7 * person["still_error_grey_levels"]
    room = [
        f.image for f, _ in zip(open_video(CLIPS / "intel_one_by_one.mp4").frames(), range(60), strict=False)
    ]
    with pytest.raises(InputError, match="nobody is seen"):
        observe(write_video(tmp_path / "room.mp4", room[:60]), tmp_path / "room", Settings(people="all"))


def test_where_the_tasks_cannot_be_built_the_legacy_interface_is_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("no such graph")

    monkeypatch.setattr(registry, "MediaPipeTasks", broken)
    assert detector_named("mediapipe").name == "mediapipe-legacy"
    assert "no such graph" in caplog.text


def test_every_detector_is_one() -> None:
    for detector in (Told([]), detector_named("mediapipe"), detector_named("mediapipe-legacy")):
        assert isinstance(detector, Detector)


def test_mediapipe_chatters_neither_at_its_start_nor_at_work(capfd: pytest.CaptureFixture[str]) -> None:
    detector = MediaPipeTasks()
    assert detector.look(np.zeros((64, 64, 3), np.uint8), Window(32.0, 32.0, 64.0)) is None
    assert capfd.readouterr().err == ""
    with quiet_stderr():
        os.write(2, b"I0000 00:00:17 1 a.cc:1] chatter\nsomething went wrong\n")
    assert capfd.readouterr().err == "something went wrong\n"
