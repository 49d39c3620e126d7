"""Tracks: when they count as people, alone and in crowds, and how they move with the camera."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfmocap.tracking.detectors.detection import translated
from selfmocap.tracking.track_state import (
    CROWD_SIZE,
    Track,
    TrackerConfig,
    TrackerState,
    compensate_camera_motion,
    has_person_scores,
    with_crowd_sizes,
)
from tests.helpers.stick_figures import stick, stick_detection

CONFIG = TrackerConfig.for_video(30.0, 0)


def track(**changes: Any) -> Track:
    """Return a track of a standing person that was detected in 60 frames, with some fields changed."""
    appearance = np.zeros(384, np.float32)
    appearance[0] = 1.0
    created = Track(
        1,
        stick_detection(100, 100, 90.0),
        appearance,
        first_frame=0,
        last_frame=9,
        num_frames=60,
        search_hits=9,
    )
    return replace(created, **changes)


def test_a_static_person_needs_a_higher_score_alone_than_in_a_crowd() -> None:
    assert not has_person_scores(track(mean_score=0.93))
    assert has_person_scores(track(mean_score=0.93, max_displacement=1.0))
    assert has_person_scores(track(mean_score=0.93, crowd_size=CROWD_SIZE))
    assert not has_person_scores(track(mean_score=0.88, crowd_size=CROWD_SIZE, search_hits=3))
    crowd = TrackerState(tuple(track(mean_score=score) for score in (0.99, 0.98, 0.97, 0.93)))
    assert [t.crowd_size for t in with_crowd_sizes(crowd, 9, CONFIG).tracks] == [3] * 4
    assert [t.crowd_size for t in with_crowd_sizes(crowd, 8, CONFIG).tracks] == [0] * 4
    assert CONFIG.max_missed_frames(track(crowd_size=CROWD_SIZE)) < CONFIG.max_missed_frames(track())


def test_repeated_detections_in_a_crowd_lower_the_thresholds() -> None:
    occluded = track(mean_score=0.86, mean_limb_confidence=0.47, crowd_size=CROWD_SIZE)
    assert has_person_scores(occluded)
    for changes in (
        {"search_hits": 3},
        {"crowd_size": 0},
        {"mean_score": 0.84},
        {"mean_limb_confidence": 0.44},
    ):
        assert not has_person_scores(replace(occluded, **changes))


def test_a_static_track_keeps_its_displacement_when_the_camera_moves() -> None:
    static = track(origin=(100.0, 100.0))
    for _ in range(10):
        static = compensate_camera_motion(static, (-30.0, 5.0))
    assert static.origin == pytest.approx((-200.0, 150.0))
    np.testing.assert_allclose(static.detection.keypoints, stick(100, 100, 90.0) + (-300.0, 50.0), atol=1e-3)
    assert translated(static.detection, (0.0, 0.0)).window == static.detection.window
