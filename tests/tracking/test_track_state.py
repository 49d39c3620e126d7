"""Tracks: when they count as people, and how they move with the camera."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfmocap.tracking.detectors.detection import translated
from selfmocap.tracking.track_state import (
    Track,
    TrackerConfig,
    TrackerState,
    compensate_camera_motion,
    count_search,
    is_confirmed,
    trusted_until,
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


@pytest.mark.parametrize(
    ("changes", "person"),
    [
        ({}, True),
        ({"mean_box_score": 0.0}, True),  # Two models agree on the body.
        (
            {"mean_agreement": 0.3, "mean_box_score": 0.6},
            True,
        ),  # One does not, and the person detector sees it.
        ({"mean_agreement": 0.5, "mean_box_score": 0.1}, False),  # Furniture.
        ({"mean_agreement": 0.0}, False),
        ({"mean_score": 0.8}, False),
        ({"search_hits": 1}, False),
    ],
)
def test_a_person_is_seen_by_models_that_do_not_know_each_other(
    changes: dict[str, Any], person: bool
) -> None:
    assert is_confirmed(track(**changes), CONFIG) == person


def test_a_track_that_is_lost_on_furniture_counts_up_to_the_last_search_that_saw_the_person() -> None:
    state = TrackerState((track(searches=2, search_hits=2, mean_agreement=0.4, mean_box_score=0.6),))
    for frame in (10, 20):
        state = count_search(state, frame, {1: 0.6}, CONFIG)
    assert trusted_until(state.tracks[0], CONFIG) == state.tracks[0].last_frame
    for frame in (30, 40, 50, 60, 70, 80):
        state = count_search(state, frame, {1: 0.0}, CONFIG)
    assert not is_confirmed(state.tracks[0], CONFIG)
    assert trusted_until(state.tracks[0], CONFIG) == 20
    assert trusted_until(track(search_hits=1), CONFIG) == -1


def test_one_search_suffices_in_a_video_of_one_frame() -> None:
    assert is_confirmed(track(search_hits=1, num_frames=1), TrackerConfig.for_video(30.0, 1))


def test_a_static_track_moves_with_the_camera() -> None:
    static = track()
    for _ in range(10):
        static = compensate_camera_motion(static, (-30.0, 5.0))
    np.testing.assert_allclose(static.detection.keypoints, stick(100, 100, 90.0) + (-300.0, 50.0), atol=1e-3)
    assert translated(static.detection, (0.0, 0.0)).window == static.detection.window
