"""The tracker: identities over occlusions, pans and cuts, with scripted detections."""

from dataclasses import replace

import numpy as np
import pytest

from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Detection, PersonBox
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.person_search import square_regions
from selfmocap.tracking.track_state import TrackerConfig, TrackerState, activate
from selfmocap.tracking.tracker import end_shot, track_frame
from tests.helpers.stick_figures import (
    BLUE,
    COCO,
    RED,
    WIDTH,
    Places,
    ScriptedDetector,
    filmed,
    landscape,
    scene,
    stick,
    stick_detection,
)

CONFIG = TrackerConfig.for_video(30.0, 0)


def run(frames: list[Places]) -> list[dict[int, Detection]]:
    """Track scripted people; return the detections of each frame by track id."""
    detector = ScriptedDetector([list(places.values()) for places in frames])
    state, result = TrackerState(), []
    for index, places in enumerate(frames):
        state = track_frame(state, Frame(index, index / 30, scene(places), False), detector, CONFIG)
        result.append({t.track_id: t.detection for t in state.tracks if t.last_frame == index})
    return result


def id_at(detections: dict[int, Detection], place: tuple[float, float]) -> int:
    """Return the id of the track that is nearest to a place."""
    return min(detections, key=lambda n: float(np.abs(detections[n].keypoints - stick(*place)).mean()))


def test_identities_hold_through_a_crossing_with_occlusion() -> None:
    frames = []
    for k in range(60):
        red, blue = (60.0 + 3 * k, 100.0), (240.0 - 3 * k, 104.0)
        hidden = abs(red[0] - blue[0]) < 25
        frames.append({BLUE: blue} if hidden else {RED: red, BLUE: blue})
    detections = run(frames)
    red, blue = id_at(detections[0], frames[0][RED]), id_at(detections[0], frames[0][BLUE])
    assert red != blue
    for of_frame, places in zip(detections, frames, strict=True):
        for colour, number in ((RED, red), (BLUE, blue)):
            if colour in places:
                assert id_at(of_frame, places[colour]) == number


def test_another_person_at_the_same_place_gets_a_new_track() -> None:
    frames = (
        [{RED: (100.0, 100.0)}] * 20 + [{}] * 20 + [{BLUE: (104.0, 100.0)}] * 20 + [{RED: (104.0, 100.0)}] * 2
    )
    detections = run(frames)
    (red,), (blue,) = detections[19], detections[59]
    assert red != blue
    again = run([{RED: (100.0, 100.0)}] * 20 + [{}] * 20 + [{RED: (110.0, 100.0)}] * 20)
    assert list(again[19]) == list(again[59])


def test_a_single_detection_is_not_confirmed() -> None:
    detector = ScriptedDetector([[(100.0, 100.0)]] + [[]] * (CONFIG.search_interval + 1))
    state = TrackerState()
    for index in range(2 + CONFIG.search_interval):
        state = track_frame(state, Frame(index, index / 30, scene({}), False), detector, CONFIG)
    assert not state.tracks


@pytest.mark.parametrize(("width", "height"), [(128, 72), (72, 128), (100, 100), (400, 100)])
def test_square_regions_cover_the_frame(width: int, height: int) -> None:
    covered = np.full((height, width), width == height)
    for region in square_regions(width, height):
        left, top = (round(center - region.side / 2 + 0.5) for center in (region.x, region.y))
        assert left >= 0 and top >= 0
        covered[top : top + round(region.side), left : left + round(region.side)] = True
    assert covered.all()


def film(
    shots: list[tuple[np.ndarray, int, dict]], cuts: tuple[int, ...] = ()
) -> tuple[list[dict[int, Detection]], TrackerState]:
    """Track scripted people before a moving camera; return the detections of each frame, and the last state."""
    detector = ScriptedDetector([list(places.values()) for _, _, places in shots])
    state, detections = TrackerState(), []
    for index, (background, left, places) in enumerate(shots):
        if index in cuts:
            state = end_shot(state, WIDTH)
        frame = Frame(index, index / 30, filmed(background, left, places), False)
        state = track_frame(state, frame, detector, CONFIG)
        detections.append({t.track_id: t.detection for t in state.tracks if t.last_frame == index})
    return detections, state


def test_after_a_pan_a_similar_person_at_the_same_image_position_gets_a_new_track() -> None:
    background, here = landscape(), {RED: (150.0, 100.0)}
    away = [(background, 100 + 20 * k, {}) for k in range(20)]
    detections, state = film([(background, 100, here)] * 20 + away + [(background, 480, here)] * 10)
    assert list(detections[19]) != list(detections[-1]) and len(detections[-1]) == 1
    assert state.camera_offset[0] == pytest.approx(-380.0, abs=8.0)
    back = away + away[::-1]
    detections, _ = film([(background, 100, here)] * 20 + back + [(background, 100, here)] * 10)
    assert list(detections[19]) == list(detections[-1])


def test_tracks_end_at_a_scene_cut() -> None:
    here = {RED: (150.0, 100.0)}
    detections, state = film([(landscape(), 100, here)] * 30, cuts=(20,))
    assert list(detections[19]) != list(detections[-1]) and len(detections[-1]) == 1
    assert abs(state.camera_offset[0]) > 4 * WIDTH


def test_a_new_track_begins_if_two_lost_tracks_match() -> None:
    both = {RED: (120.0, 100.0), BLUE: (200.0, 100.0)}
    image = scene({RED: (120.0, 100.0), (220, 30, 31): (200.0, 100.0)})
    detector = ScriptedDetector([list(both.values())] * 20 + [[]] * 9 + [[(160.0, 100.0)]])
    state = TrackerState()
    for index in range(30):
        shown = scene({RED: (160.0, 100.0)}) if index == 29 else image
        state = track_frame(state, Frame(index, index / 30, shown, False), detector, CONFIG)
    (latest,) = (t.track_id for t in state.tracks if t.last_frame == 29)
    assert latest == 3


class NearestDetector:
    """A detector that returns the nearest person for any region of interest, and proposes no regions."""

    name, points = "nearest", COCO

    def __init__(self, places: list[tuple[float, float]]) -> None:
        self.detections = [stick_detection(*place) for place in places]

    def find_people(self, image: np.ndarray, region: Window | None) -> list[PersonBox]:
        return []

    def rois_of_box(self, image: np.ndarray, box: PersonBox) -> list[Window]:
        return []

    def propose_rois(self, image: np.ndarray, tile: Window) -> list[Window]:
        return []

    def detect_in_roi(self, image: np.ndarray, roi: Window) -> Detection:
        return min(self.detections, key=lambda detection: detection.window.distance(roi))


def test_an_occluded_person_is_recovered_from_the_one_who_passed_in_front() -> None:
    """A person in red and blue occludes one in blue, whose track is lost, and leaves when blue is visible again."""
    places = {RED: (150.0, 100.0), BLUE: (160.0, 100.0)}
    red, blue = (
        replace(
            activate(
                number, stick_detection(*place), 1.0, Frame(0, 0.0, scene({colour: place}), False), COCO
            ),
            search_hits=9,
        )
        for number, (colour, place) in enumerate(places.items(), start=1)
    )
    both = replace(red, last_frame=9, appearance=(red.appearance + blue.appearance) / 2)
    hidden = replace(blue, last_frame=9 - CONFIG.max_coast_frames)
    frame = Frame(10, 1 / 3, scene({BLUE: places[BLUE]}), False)
    for tracks, number in (((both, hidden), 2), ((both,), 1)):
        state = TrackerState(tracks, next_id=3, num_searches=1)
        after = track_frame(state, frame, NearestDetector([places[BLUE]]), CONFIG)
        assert [t.track_id for t in after.tracks if t.last_frame == 10] == [number]
