"""MediaPipe's two interfaces, on real images."""

import itertools
import os

import numpy as np
import pytest

from selfmocap.body_model.skeleton import KEYPOINT_SETS, keypoint_set
from selfmocap.io.video import open_video
from selfmocap.tracking import person_search, tracker
from selfmocap.tracking.detectors.detection import body_distance
from selfmocap.tracking.detectors.mediapipe import MediaPipeTasks, calibrated_confidence, quiet_stderr
from selfmocap.tracking.detectors.mediapipe_legacy import MediaPipeLegacy
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.tiles import FIRST_SEARCH, search_tiles
from selfmocap.tracking.track_state import TrackerConfig, TrackerState
from selfmocap.tracking.tracker import track_frame
from tests.conftest import SHARED_DATA

CLIPS = SHARED_DATA / "clips"

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared/data/clips")


def test_confidence_is_zero_outside_the_frame_and_limited_for_hips() -> None:
    points = KEYPOINT_SETS["coco-17"]
    keypoints = np.full((17, 2), 50.0)
    keypoints[points.index("left_ankle")] = (50.0, 101.0)
    confidence = calibrated_confidence(keypoints, np.full(17, 0.97), width=100, height=100, points=points)
    assert confidence[points.index("left_ankle")] == 0
    assert confidence[points.index("left_hip")] < confidence[points.index("left_knee")] == pytest.approx(0.97)


@pytest.mark.slow
@needs_clips
def test_both_interfaces_detect_the_same_person() -> None:
    frame = next(open_video(CLIPS / "sam2_dog.mp4").frames())
    best = []
    for detector in (MediaPipeTasks(), MediaPipeLegacy()):
        tiles = search_tiles(1280, 720, FIRST_SEARCH)
        rois = [roi for tile in tiles for roi in detector.propose_rois(frame.image, tile)]
        detections = [d for roi in rois[:6] if (d := detector.detect_in_roi(frame.image, roi)) is not None]
        best.append(max(detections, key=lambda detection: detection.score))
    tasks, legacy = best
    assert body_distance(tasks, legacy, keypoint_set("mediapipe-33")) < 0.3
    assert tasks.score > 0.9 and tasks.mask is not None and legacy.mask is not None
    assert 200 < tasks.keypoints[:, 0].mean() < 480


@pytest.mark.slow
@needs_clips
def test_two_threads_track_exactly_like_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = list(itertools.islice(open_video(CLIPS / "ibm_basketball.mp4").frames(), 12))

    def track() -> list[TrackerState]:
        state, states = TrackerState(), []
        detector, config = MediaPipeTasks(), TrackerConfig.for_video(30.0, 300)
        for frame in frames:
            states.append(state := track_frame(state, frame, detector, config))
        return states

    threaded = track()
    for module in (tracker, person_search):
        monkeypatch.setattr(module, "map_in_threads", map)
    monkeypatch.setattr(person_search, "DETECTOR_THREADS", 1)
    assert len(threaded[-1].tracks) > 2
    for a, b in zip(threaded, track(), strict=True):
        assert [t.track_id for t in a.tracks] == [t.track_id for t in b.tracks]
        for one, other in zip(a.tracks, b.tracks, strict=True):
            assert np.array_equal(one.detection.keypoints, other.detection.keypoints)
            assert np.array_equal(one.appearance, other.appearance)


def test_mediapipe_writes_no_log_lines_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    detector = MediaPipeTasks()
    assert detector.detect_in_roi(np.zeros((64, 64, 3), np.uint8), Window(32.0, 32.0, 64.0)) is None
    assert capfd.readouterr().err == ""
    with quiet_stderr():
        os.write(2, b"I0000 00:00:17 1 a.cc:1] chatter\nsomething went wrong\n")
    assert capfd.readouterr().err == "something went wrong\n"
