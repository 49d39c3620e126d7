"""The backward pass."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.progress import no_progress
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Frame, Video
from selfmocap.tracking.detections_store import part_paths, read_detection_columns, read_detections
from selfmocap.tracking.detectors.detection import Detection, PersonBox, visible_box
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.tracking_pass import TrackingResult, track_video
from tests.helpers.stick_figures import (
    BLUE,
    COCO,
    HEIGHT,
    RED,
    WIDTH,
    Colour,
    Places,
    scene,
    stick,
    stick_detection,
)

GREEN, GOLD = (20, 180, 60), (220, 200, 20)


class ColourDetector:
    """A detector that recognises people by their colours, in any region of interest.

    It finds nobody in an image with a white corner."""

    name, points = "colours", COCO

    def __init__(self) -> None:
        self.calls = 0

    def find_people(self, image: np.ndarray, region: Window | None) -> list[PersonBox]:
        if image[0, 0, 0] == 255:
            return []
        boxes = [visible_box(detection, WIDTH, HEIGHT).tolist() for _, detection in people_in(image)]
        return [PersonBox._make([*box, 0.9]) for box in boxes]

    def rois_of_box(self, image: np.ndarray, box: PersonBox) -> list[Window]:
        def distance(window: Window) -> float:
            return abs(2 * window.x - box.left - box.right) + abs(2 * window.y - box.top - box.bottom)

        return sorted((detection.window for _, detection in people_in(image)), key=distance)[:1]

    def propose_rois(self, image: np.ndarray, tile: Window) -> list[Window]:
        return []

    def detect_in_roi(self, image: np.ndarray, roi: Window) -> Detection | None:
        self.calls += 1
        detections = [detection for _, detection in people_in(image)]
        near = min(detections, key=lambda detection: detection.window.distance(roi), default=None)
        return near if near is not None and near.window.distance(roi) < 0.3 else None


def people_in(image: np.ndarray) -> Iterator[tuple[Colour, Detection]]:
    for colour in (RED, BLUE, GREEN, GOLD):
        rows, columns = np.nonzero((image == colour).all(-1))
        if len(rows):
            yield colour, stick_detection(float(columns.mean()) + 0.5, float(rows.min()) + 12.0)


@dataclass(frozen=True, eq=False)
class VideoInMemory(Video):
    """A video whose frames are in memory."""

    images: list[np.ndarray]

    def frames(self, first: int = 0) -> Iterator[Frame]:
        for index, image in enumerate(self.images[first:], start=first):
            yield Frame(index, index / 30, image, False)


def film(shots: list[tuple[Places, bool]]) -> VideoInMemory:
    """Draw each frame from its people and whether the detector proposes no regions in it."""
    images = []
    for places, blind in shots:
        image = scene(places)
        image[0, 0] = 255 if blind else 128
        images.append(image)
    return VideoInMemory(Path("film.mp4"), (WIDTH, HEIGHT), 30.0, 0, len(images), images)


def tracked(video: VideoInMemory, folder: Path, detector: ColourDetector) -> TrackingResult:
    folder.mkdir(exist_ok=True)
    return track_video(video, detector, folder, None, Stopwatch(), no_progress)


def frames_of(folder: Path, track: int) -> list[int]:
    columns = read_detection_columns(part_paths(folder), ["frame", "track"])
    return sorted(columns["frame"][columns["track"] == track].tolist())


def walk(count: int, first_proposed: int) -> VideoInMemory:
    """Film a person in red whom the detector proposes only from one frame on."""
    return film([({RED: (60.0 + k, 100.0)}, k < first_proposed) for k in range(count)])


def test_a_late_detection_is_tracked_backward_across_a_part_and_only_once(tmp_path: Path) -> None:
    detector = ColourDetector()
    result = tracked(walk(110, 75), tmp_path / "a", detector)
    assert result.people == [(1,)]
    frames = frames_of(tmp_path / "a", 1)
    assert frames == list(range(frames[0], 110)) and 11 <= frames[0] <= 26  # 64 frames before frame 75 to 90
    (first, second) = part_paths(tmp_path / "a")
    assert {d.frame for d in read_detections(first)} == set(range(frames[0], 64))
    earliest = min((d for d in read_detections(first)), key=lambda d: d.frame).detection
    np.testing.assert_allclose(earliest.keypoints, stick(60.0 + frames[0], 100.0), atol=1.5)
    assert {d.frame for d in read_detections(second)} == set(range(64, 110))
    calls = detector.calls
    assert tracked(walk(110, 75), tmp_path / "a", detector) == result and detector.calls == calls


def test_a_person_who_was_hidden_is_found_where_they_reappear(tmp_path: Path) -> None:
    """Forward, they are found again when the detector proposes them, later."""
    shots: list[tuple[Places, bool]] = [
        ({} if 20 <= k < 40 else {RED: (60.0 + 1.5 * k, 100.0)}, 20 <= k < 60) for k in range(90)
    ]
    assert tracked(film(shots), tmp_path, ColourDetector()).people == [(1,)]
    assert frames_of(tmp_path, 1) == [*range(20), *range(40, 90)]


@pytest.mark.slow
def test_an_interrupted_backward_pass_ends_with_the_same_files(tmp_path: Path) -> None:
    straight = tracked(walk(110, 75), tmp_path / "a", ColourDetector())
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b" / "backward-finished").unlink()
    assert tracked(walk(110, 75), tmp_path / "b", ColourDetector()) == straight
    for part in ("people-000000000.npz", "backward-000000000.npz", "backward-000000064.npz"):
        with np.load(tmp_path / "a" / part) as a, np.load(tmp_path / "b" / part) as b:
            assert set(a.files) == set(b.files)
            for name in a.files:
                np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("other", [BLUE, None])
def test_the_backward_pass_ends_where_the_person_was_occluded_or_appeared(
    tmp_path: Path, other: Colour | None
) -> None:
    """Red stands where blue stood before, or appears from nowhere."""
    shots: list[tuple[Places, bool]] = []
    for k in range(90):
        places: Places = {RED: (150.0, 100.0)} if k >= 30 else {}
        if other is not None:
            places |= {other: (150.0 if k < 30 else min(150.0 + 4 * (k - 30), 260.0), 100.0)}
        shots.append((places, 30 <= k < 60))
    result = tracked(film(shots), tmp_path, ColourDetector())
    red = next(n for chain in result.people for n in chain if frames_of(tmp_path, n)[0] >= 30)
    assert 30 <= frames_of(tmp_path, red)[0] <= 34
    if other is not None:
        blue = next(chain[0] for chain in result.people if chain[0] != red)
        assert frames_of(tmp_path, blue)[0] == 0
