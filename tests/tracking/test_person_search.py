"""The search for people: who is examined, who is believed, and how much work a search may be."""

from dataclasses import replace

import numpy as np
import pytest

from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Detection, PersonBox, visible_box
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.person_search import search_for_people
from selfmocap.tracking.track_state import TrackerConfig, TrackerState
from tests.helpers.stick_figures import COCO, HEIGHT, WIDTH, scene, stick_detection

CONFIG = TrackerConfig.for_video(30.0, 0)


class BoxDetector:
    """A detector with given boxes, of which some hold a person."""

    name, points = "boxes", COCO

    def __init__(self, boxes: list[PersonBox], people: list[Detection]) -> None:
        self.boxes, self.people, self.examined = boxes, people, 0

    def find_people(self, image: np.ndarray, region: Window | None) -> list[PersonBox]:
        return self.boxes

    def rois_of_box(self, image: np.ndarray, box: PersonBox) -> list[Window]:
        self.examined += 1
        return [Window((box.left + box.right) / 2, (box.top + box.bottom) / 2, 1.4 * (box.bottom - box.top))]

    def propose_rois(self, image: np.ndarray, tile: Window) -> list[Window]:
        return []

    def detect_in_roi(self, image: np.ndarray, roi: Window) -> Detection | None:
        near = min(self.people, key=lambda person: person.window.distance(roi), default=None)
        return near if near is not None and near.window.distance(roi) < 0.3 else None


def box_of(person: Detection, score: float = 0.6) -> PersonBox:
    return PersonBox._make([*visible_box(person, WIDTH, HEIGHT).tolist(), score])


def search(detector: BoxDetector, state: TrackerState, times: int) -> TrackerState:
    """Search one unchanging frame several times."""
    for index in range(times):
        present = tuple(replace(track, last_frame=index) for track in state.tracks)
        frame = Frame(index, index / 30, scene({}), False)
        state = search_for_people(replace(state, tracks=present), frame, detector, CONFIG)
    return state


def test_furniture_is_examined_less_and_less_often() -> None:
    detector = BoxDetector([PersonBox(100.0, 100.0, 160.0, 200.0, 0.5)], [])
    state = search(detector, TrackerState(), 12)
    assert not state.tracks and 4 <= detector.examined <= 6


def test_a_search_examines_a_bounded_number_of_boxes() -> None:
    boxes = [
        PersonBox(40.0 * k, 60.0 * n, 40.0 * k + 30, 60.0 * n + 50, 0.4) for k in range(8) for n in range(4)
    ]
    detector = BoxDetector(boxes, [])
    search(detector, TrackerState(), 1)
    assert detector.examined == 20


@pytest.mark.parametrize(
    ("agreement", "box_score", "found"), [(1.0, 0.3, 1), (0.2, 0.6, 1), (0.2, 0.3, 0), (0.0, 0.6, 0)]
)
def test_a_new_person_is_believed_by_two_models(agreement: float, box_score: float, found: int) -> None:
    person = replace(stick_detection(150, 100), agreement=agreement)
    state = search(BoxDetector([box_of(person, box_score)], [person]), TrackerState(), 1)
    assert len(state.tracks) == found


def test_neighbours_whose_boxes_overlap_are_two_people() -> None:
    people = [stick_detection(150, 100), stick_detection(166, 104)]
    detector = BoxDetector([box_of(people[0])], people)
    state = search(detector, TrackerState(), 1)
    detector.boxes = [box_of(person) for person in people]
    state = search(detector, state, 3)
    assert len(state.tracks) == 2
    assert [track.search_hits for track in state.tracks] == [4, 3]
