"""The tracker on real scenes: people in an office, and rooms without anybody."""

from collections.abc import Iterable
from itertools import islice

import numpy as np
import pytest

from selfmocap.io.pictures import open_image
from selfmocap.io.video import Frame, open_video
from selfmocap.tracking.detectors.ensemble import PoseEnsemble
from selfmocap.tracking.track_state import Track, TrackerConfig, TrackerState, trusted_until
from selfmocap.tracking.tracker import track_frame
from tests.conftest import SHARED_DATA

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="needs the clips and backgrounds of ../shared/data"),
]


def people_in(frames: Iterable[Frame], config: TrackerConfig) -> list[Track]:
    """Return the last state of each track that is a person and was detected in ten frames."""
    detector, state, latest = PoseEnsemble("fast"), TrackerState(), {}
    for frame in frames:
        state = track_frame(state, frame, detector, config)
        latest |= {track.track_id: track for track in state.tracks}
    return [t for t in latest.values() if trusted_until(t, config) >= 0 and t.num_frames >= 10]


def test_an_office_holds_its_people_and_not_its_furniture() -> None:
    video = open_video(SHARED_DATA / "clips" / "lab_two_men.mp4")
    config = TrackerConfig.for_video(video.fps, video.declared_frames)
    people = people_in(islice(video.frames(200), 60), config)
    assert len([track for track in people if track.num_frames >= 50]) == 2
    assert len(people) <= 3


@pytest.mark.parametrize(
    "name", ["mei_040", "ph_lab_1_yaw87_down9_fov79", "ph_workshop_1_yaw96_down10_fov65"]
)
def test_nobody_is_in_a_room_without_people(name: str) -> None:
    """The camera moves over a photograph."""
    import cv2

    with open_image(SHARED_DATA / "backgrounds" / f"{name}.jpg") as image:
        room = np.asarray(image.convert("RGB"))
    height, width = (int(0.7 * side) for side in room.shape[:2])
    lefts = np.linspace(0, room.shape[1] - width, 30).astype(int).tolist()
    views = [cv2.resize(room[:height, left : left + width], (640, 480)) for left in lefts]
    frames = [Frame(index, index / 30, view, False) for index, view in enumerate(views)]
    assert not people_in(frames, TrackerConfig.for_video(30.0, 30))
