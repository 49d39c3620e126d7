"""Whole observations: with precomputed keypoints, masks and flow, and with BlazePose on real clips."""

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from selfmocap.body_model.skeleton import HAND_KEYPOINTS, keypoint_set
from selfmocap.io.video import InputError, open_video
from selfmocap.tracking import tracking_pass
from selfmocap.tracking.config import FLOW_BLOCK, ObserveConfig
from selfmocap.tracking.left_right_swaps import SWAP_STATES
from selfmocap.tracking.observations import Observations, spread_rows
from selfmocap.tracking.observe import observe
from tests.conftest import SHARED_DATA
from tests.helpers.stick_figures import BLUE, COCO, HEIGHT, RED, WIDTH, Places, scene, stick
from tests.helpers.videos import write_video

CLIPS = SHARED_DATA / "clips"


def moving(count: int) -> list[Places]:
    """Return the positions of two people who walk towards each other."""
    return [{RED: (80.0 + k, 110.0), BLUE: (250.0 - 0.5 * k, 100.0)} for k in range(count)]


def write_clip(tmp_path: Path, count: int = 40) -> tuple[Path, Path]:
    """Write a video of two people and a COCO file of their keypoints."""
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


def test_observations_of_precomputed_keypoints_masks_and_flow(tmp_path: Path) -> None:
    video, keypoints = write_clip(tmp_path)
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
    settings = ObserveConfig(people="all", keypoints=keypoints, masks=masks, flow_folder=flow)
    paths = observe(video, tmp_path / "out", settings)
    assert [path.parent.name for path in paths] == ["person-1", "person-2"]
    observations = [Observations.load(path) for path in paths]
    colours = [tuple(s.crops[20, 60:68, 60:68].float().mean((0, 1)).tolist()) for s in observations]
    assert sorted(c.index(max(c)) for c in colours) == [0, 2]
    for one in observations:
        assert len(one) == 40 and one.keypoint_set == "coco-17" and one.image_size == (WIDTH, HEIGHT)
        scale = 128 / (2 * one.boxes[:, 2])
        area = one.masks.sum((1, 2)) / scale**2
        np.testing.assert_allclose(area.numpy(), 28 * 78, rtol=0.1)
        np.testing.assert_allclose(one.flow[5, 64, 64].numpy(), [float(scale[5]), 0.0], rtol=1e-2)
        assert not one.mask_certain[:, 64].all() and one.mask_certain[:, 64, 64].all()
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    assert [p["hand_frames"] for p in report["people"]] == [None] * 2
    assert [p["swapped_frames"] for p in report["people"]] == [dict.fromkeys(SWAP_STATES[1:], 0)] * 2
    assert report["video"]["frames"] == 40 and report["peak_memory_gb"] > 0
    assert {"decode", "flow", "total"} <= {stage["name"] for stage in report["stages"]}
    overlay = list(open_video(tmp_path / "out" / "observations.mp4").frames())
    assert len(overlay) == 40
    assert np.abs(overlay[20].image.astype(int) - scene(moving(40)[20])).mean() > 1


def test_swaps_in_precomputed_keypoints_are_undone_and_counted(tmp_path: Path) -> None:
    video, keypoints = write_clip(tmp_path)
    results = json.loads(keypoints.read_text())
    for result in results[20:32:2]:
        numbers = np.array(result["keypoints"]).reshape(17, 3)
        result["keypoints"] = numbers[list(COCO.mirror)].ravel().tolist()
    keypoints.write_text(json.dumps(results))
    (path,) = observe(video, tmp_path / "out", ObserveConfig(keypoints=keypoints, people="1"))
    observations = Observations.load(path)
    left, right = (observations.keypoints[:, COCO.index(f"{side}_shoulder"), 0] for side in ("left", "right"))
    assert (left > right).all()
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    assert sorted(p["swapped_frames"]["all"] for p in report["people"]) == [6]


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking_pass, "FRAMES_PER_PART", 8)
    video, keypoints = write_clip(tmp_path, 24)
    settings = ObserveConfig(people="all", keypoints=keypoints)
    whole = [path.read_bytes() for path in observe(video, tmp_path / "whole", settings)]

    class Interrupted(Exception):
        pass

    def stop_at(where: str, frame: int):
        def progress(stage: str, done: int, total: int) -> None:
            if (stage, done) == (where, frame):
                raise Interrupted

        return progress

    for where, frame in (
        ("detect and track", 13),
        ("detect and track", 23),
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
    assert "detect and track" not in stages
    with (
        np.load(paths[0]) as resumed,
        np.load(tmp_path / "whole" / "person-1" / "observations.npz") as straight,
    ):
        assert set(resumed.files) == set(straight.files)
        for name in resumed.files:
            np.testing.assert_array_equal(resumed[name], straight[name])
    assert not (tmp_path / "out" / ".observe").exists() and len(whole) == 2
    stages.clear()
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    assert observe(video, tmp_path / "out", settings, lambda *_: stages.append("again")) == paths
    assert not stages
    (tmp_path / "out" / "observations.json").write_text(json.dumps(report | {"version": 2}))
    assert observe(video, tmp_path / "out", settings, lambda *_: stages.append("again")) == paths
    assert stages
    (only,) = observe(video, tmp_path / "out", replace(settings, people="largest"))
    assert only.is_file() and not (tmp_path / "out" / "person-2" / "observations.npz").exists()


def test_flow_is_measured_in_the_wanted_frames_and_no_overlay_is_drawn(tmp_path: Path) -> None:
    video, keypoints = write_clip(tmp_path)
    settings = ObserveConfig(keypoints=keypoints, flow_frames=20, overlay=False)
    (path,) = observe(video, tmp_path / "out", settings)
    measured = Observations.load(path).flow_confidence.flatten(1).any(1).nonzero().squeeze(1)
    assert measured.tolist() == spread_rows(40, 20, FLOW_BLOCK)[:-1].tolist(), (
        "the last frame has no next one"
    )
    assert observe(video, tmp_path / "out", settings, lambda *_: pytest.fail("observed again")) == [path]
    assert not (tmp_path / "out" / "observations.mp4").exists()
    with pytest.raises(ValueError, match="flow_frames: 5; expected at least 10"):
        ObserveConfig(flow_frames=5)


def test_an_unfinished_run_of_another_version_is_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    video, keypoints = write_clip(tmp_path, 20)
    parts = tmp_path / "out" / ".observe"
    parts.mkdir(parents=True)
    (parts / "settings.json").write_text('{"format": 2}')
    (parts / "people-000000000.npz").write_bytes(b"of another version")
    (path,) = observe(video, tmp_path / "out", ObserveConfig(keypoints=keypoints))
    assert len(Observations.load(path)) == 20
    assert "another version of selfmocap" in caplog.text


def test_the_person_in_the_box_is_observed(tmp_path: Path) -> None:
    video, keypoints = write_clip(tmp_path)
    for box, colour in (((60.0, 90.0, 100.0, 180.0), 0), ((230.0, 80.0, 270.0, 170.0), 2)):
        (path,) = observe(
            video, tmp_path / f"out{colour}", ObserveConfig(keypoints=keypoints, person_box=box)
        )
        crop = Observations.load(path).crops[10, 60:68, 60:68].float().mean((0, 1))
        assert int(crop.argmax()) == colour
    with pytest.raises(InputError, match="no person was found in the box"):
        observe(video, tmp_path / "none", ObserveConfig(keypoints=keypoints, person_box=(0.0, 0.0, 9.0, 9.0)))


@pytest.mark.slow
@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared/data/clips")
def test_a_signing_woman_is_one_person_without_legs_and_an_empty_room_has_none(
    tmp_path: Path,
) -> None:
    (path,) = observe(CLIPS / "intel_asl_walk.mkv", tmp_path / "out", ObserveConfig(people="all"))
    observations = Observations.load(path)
    assert observations.frame_index.tolist() == list(range(89))
    points = keypoint_set(observations.keypoint_set)
    legs = [
        i for i, name in enumerate(points.names) if name.endswith(("knee", "ankle", "heel", "foot_index"))
    ]
    face = [points.index(name) for name in ("nose", "left_eye", "right_shoulder")]
    assert (
        observations.keypoint_confidence[:, legs].max()
        < 0.2
        < 0.75
        < observations.keypoint_confidence[:, face].min()
    )
    assert 0.2 < observations.masks.float().mean() < 0.7
    detected = observations.hand_confidence > 0
    assert (detected.float().mean(dim=0) > 0.55).all()
    assert not detected[-2:].any(), "her hands are below the frame"
    wrists = observations.keypoints[:, [points.index("left_wrist"), points.index("right_wrist")]]
    distance_px = (observations.hand_keypoints[:, :, 0] - wrists).norm(dim=-1)[detected]
    assert distance_px.median() < 15
    middle = HAND_KEYPOINTS.index("middle_mcp")
    palm_m = (observations.hand_positions[:, :, middle] - observations.hand_positions[:, :, 0]).norm(dim=-1)
    assert 0.06 < palm_m[detected].median() < 0.12
    report = json.loads((tmp_path / "out" / "observations.json").read_text())
    (person,) = report["people"]
    assert list(person["hand_frames"].values()) == detected.sum(dim=0).tolist()
    assert person["flow_error_grey_levels"] < 0.7 * person["zero_flow_error_grey_levels"]
    room = [
        f.image for f, _ in zip(open_video(CLIPS / "intel_one_by_one.mp4").frames(), range(60), strict=False)
    ]
    with pytest.raises(
        InputError, match=r"no person was tracked for at least \d+ of the 60 frames; try --person-box"
    ):
        observe(write_video(tmp_path / "room.mp4", room[:60]), tmp_path / "room", ObserveConfig(people="all"))
