"""Track stitching: joining, removing duplicates, sorting."""

from dataclasses import replace

import numpy as np

from selfmocap.tracking.stitching import TrackPath, stitch_tracks
from selfmocap.tracking.track_state import Track, is_confirmed
from tests.helpers.stick_figures import stick_detection
from tests.tracking.test_track_state import CONFIG, track


def test_tracksare_joined_removed_and_sorted() -> None:
    detection = stick_detection(100, 100)
    red, blue = np.zeros(384, np.float32), np.zeros(384, np.float32)
    red[0] = blue[1] = 1.0

    def create(
        number: int, colours: np.ndarray, first: int, last: int, x: float, side: float
    ) -> tuple[Track, TrackPath]:
        track = Track(
            number,
            detection,
            colours,
            first_frame=first,
            last_frame=last,
            num_frames=last - first + 1,
            search_hits=9,
        )
        windows = np.tile([x, 100.0, side, 0.0], (last - first + 1, 1))
        return track, TrackPath(np.arange(first, last + 1), windows)

    cases = {
        1: create(1, red, 0, 99, 100, 200),
        2: create(2, red, 95, 200, 110, 200),  # continues 1 and looks like it
        3: create(3, blue, 201, 260, 110, 200),  # follows 2 and looks different
        4: create(4, blue, 20, 80, 105, 210),  # a duplicate of 1
        5: create(5, red, 0, 4, 500, 200),  # too short
        6: create(6, red, 0, 40, 500, 50),  # tiny and short
        7: create(7, blue, 0, 300, 500, 190),
    }
    tracks, paths = (
        {n: one for n, (one, _) in cases.items()},
        {n: p for n, (_, p) in cases.items()},
    )
    assert stitch_tracks(tracks, paths, CONFIG, 30.0, 301) == [(7,), (1, 2), (3,)]
    doubtful = replace(tracks[7], mean_score=0.8)
    assert is_confirmed(tracks[7], CONFIG) and not is_confirmed(doubtful, CONFIG)


def test_neighbours_in_the_same_clothes_are_two_people() -> None:
    tracks = {1: track(), 2: track(track_id=2)}

    def paths(apart: float, begun: int) -> dict[int, TrackPath]:
        return {
            1: TrackPath(np.arange(50), np.tile([100.0, 100.0, 150.0, 0.0], (50, 1))),
            2: TrackPath(
                np.arange(begun, 120), np.tile([100.0 + apart, 100.0, 150.0, 0.0], (120 - begun, 1))
            ),
        }

    assert stitch_tracks(tracks, paths(10.0, 40), CONFIG, 30.0, 120) == [(1, 2)]
    assert stitch_tracks(tracks, paths(45.0, 40), CONFIG, 30.0, 120) == [(2,), (1,)]
    assert stitch_tracks(tracks, paths(10.0, 60), CONFIG, 30.0, 120) == [(1, 2)]
