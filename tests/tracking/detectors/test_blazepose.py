"""BlazePose on real images, and against MediaPipe's own graphs of the same models."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.video import open_video
from selfmocap.tracking import person_search, tracker
from selfmocap.tracking.detectors.blazepose import BlazePose
from selfmocap.tracking.detectors.litert import quiet_stderr
from selfmocap.tracking.detectors.pose_landmarks import PoseLandmarker
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.track_state import TrackerConfig, TrackerState
from selfmocap.tracking.tracker import track_frame
from tests.conftest import SHARED_DATA
from tests.helpers.programs import run_program

CLIPS = SHARED_DATA / "clips"
MEDIAPIPE_LIMIT = 0.79
"""The golden confidence of shoulders and hips is at most 0.8, and 0 outside the frame."""
GOLDEN = Path(__file__).with_name("mediapipe_golden.npz")

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared/data/clips")


@needs_clips
@pytest.mark.parametrize("clip", ["sam2_dog", "ibm_basketball"])
def test_outputs_equal_those_of_mediapipe(clip: str) -> None:
    """The golden file holds what the graphs of MediaPipe 0.10.21 returned for the first frame of the clip."""
    with np.load(GOLDEN) as arrays:
        rois, keypoints, confidence, scores, masks = (
            arrays[f"{clip} {name}"] for name in ("rois", "keypoints", "confidence", "scores", "masks")
        )
    image = next(open_video(CLIPS / f"{clip}.mp4").frames()).image
    tile = Window(image.shape[1] / 2, image.shape[0] / 2, float(image.shape[0]))
    detector = BlazePose()
    found = detector.propose_rois(image, tile)
    assert np.allclose([(w.x, w.y, w.side, w.angle) for w in found], rois, atol=0.05)
    people = [d for row in rois if (d := detector.detect_in_roi(image, Window(*map(float, row)))) is not None]
    distance_px = np.linalg.norm(np.array([d.keypoints for d in people]) - keypoints, axis=-1)
    assert np.median(distance_px) < 0.05 and distance_px.max() < 2
    assert np.allclose([d.score for d in people], scores, atol=1e-3)
    landmarker, own = PoseLandmarker("full"), [Window(*map(float, row)) for row in rois]
    visibility = np.array([landmarker.detect_landmarks(image, window).visibility for window in own])
    unlimited = (confidence > 0) & (confidence < MEDIAPIPE_LIMIT)
    assert np.allclose(visibility[unlimited], confidence[unlimited], atol=0.02)
    assert np.abs(np.array([d.mask for d in people], float) - masks).mean() < 0.2


@pytest.mark.slow
@needs_clips
def test_two_threads_track_exactly_like_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frames = list(itertools.islice(open_video(CLIPS / "ibm_basketball.mp4").frames(), 8))

    def track() -> list[TrackerState]:
        state, states = TrackerState(), []
        detector, config = BlazePose(), TrackerConfig.for_video(30.0, 300)
        for frame in frames:
            states.append(state := track_frame(state, frame, detector, config))
        return states

    threaded = track()
    for module in (tracker, person_search):
        monkeypatch.setattr(module, "map_in_threads", map)
    assert len(threaded[-1].tracks) > 2
    for a, b in zip(threaded, track(), strict=True):
        assert [t.track_id for t in a.tracks] == [t.track_id for t in b.tracks]
        for one, other in zip(a.tracks, b.tracks, strict=True):
            assert np.array_equal(one.detection.keypoints, other.detection.keypoints)
            assert np.array_equal(one.appearance, other.appearance)


def test_nothing_is_written_to_stderr(tmp_path: Path) -> None:
    (tmp_path / "detect.py").write_text(
        "import numpy as np; from selfmocap.tracking.detectors.blazepose import BlazePose; "
        "from selfmocap.tracking.detectors.window import Window; "
        "image = np.zeros((64, 64, 3), np.uint8); "
        "assert BlazePose().detect_in_roi(image, Window(32.0, 32.0, 64.0)) is None"
    )
    run = run_program(tmp_path / "detect.py", [])
    assert run.returncode == 0 and run.stderr == ""


def test_other_lines_of_stderr_are_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_stderr():
        os.write(2, b"INFO: chatter\nsomething went wrong\n")
    assert capfd.readouterr().err == "something went wrong\n"
