"""The HOG pedestrian detector on a real crowd."""

import itertools

import numpy as np
import pytest

from selfmocap.io.video import open_video
from selfmocap.tracking.detectors.blazepose import BlazePose
from selfmocap.tracking.hog_detector import detect_pedestrians
from tests.conftest import SHARED_DATA

CLIPS = SHARED_DATA / "clips"


@pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared/data/clips")
def test_a_person_in_a_crowd_whom_blazepose_misses_is_found() -> None:
    frames = open_video(CLIPS / "ibm_basketball.mp4").frames()
    frame = next(itertools.islice(frames, 110, None))
    found = detect_pedestrians(frame.image)
    assert found == detect_pedestrians(frame.image)
    detector = BlazePose()
    poses = [
        p for w in found if abs(w.x - 183) < 15 and (p := detector.detect_in_roi(frame.image, w)) is not None
    ]
    assert any(p.score > 0.9 and abs(p.window.x - 183) < 8 and abs(p.window.y - 270) < 12 for p in poses)
    assert detect_pedestrians(np.full((360, 640, 3), 128, np.uint8)) == []
