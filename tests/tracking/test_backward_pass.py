"""People followed back from where they were first seen, and people looked for beside others."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Frame, Video
from selfmocap.tracking.detections_store import part_paths, read_sighted, read_sightings
from selfmocap.tracking.detectors.detection import Pose, window_of
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.track_state import COMPANY, Pace, People
from selfmocap.tracking.tracker import follow
from selfmocap.tracking.tracking_pass import Followed, follow_video
from tests.helpers.stick_figures import BLUE, COCO, HEIGHT, RED, WIDTH, scene, stick

GREEN, GOLD = (20, 180, 60), (220, 200, 20)
Places = dict[tuple[int, int, int], tuple[float, float]]


class Eyes:
    """A detector that knows people by their colours: it looks anywhere, but finds nobody in a picture with a white
    corner, and nobody of the `overlooked` colours anywhere."""

    name, points, follows = "eyes", COCO, True

    def __init__(self, overlooked: tuple = ()) -> None:
        self.overlooked, self.looks = overlooked, 0

    def search(self, image: np.ndarray, tile: Window) -> list[Window]:
        blind = image[0, 0, 0] == 255
        return [] if blind else [p.window for c, p in people_in(image) if c not in self.overlooked]

    def look(self, image: np.ndarray, window: Window) -> Pose | None:
        self.looks += 1
        poses = [pose for _, pose in people_in(image)]
        near = min(poses, key=lambda pose: pose.window.nearness(window), default=None)
        return near if near is not None and near.window.nearness(window) < 0.3 else None

    def everybody(self, frame: Frame) -> list[Pose]:
        raise NotImplementedError


def people_in(image: np.ndarray) -> Iterator[tuple[tuple[int, int, int], Pose]]:
    for colour in (RED, BLUE, GREEN, GOLD):
        rows, columns = np.nonzero((image == colour).all(-1))
        if len(rows):
            points = stick(float(columns.mean()) + 0.5, float(rows.min()) + 12.0).astype(np.float32)
            sure = np.ones(17, np.float32)
            yield colour, Pose(points, sure, 0.99, window_of(points, sure))


@dataclass(frozen=True, eq=False)
class Film(Video):
    """A video in memory."""

    images: list[np.ndarray]

    def frames(self, first: int = 0) -> Iterator[Frame]:
        for index, image in enumerate(self.images[first:], start=first):
            yield Frame(index, index / 30, image, False)


def film(shots: list[tuple[Places, bool]]) -> Film:
    images = []
    for places, blind in shots:
        image = scene(places)
        image[0, 0] = 255 if blind else 128
        images.append(image)
    return Film(Path("film.mp4"), (WIDTH, HEIGHT), 30.0, 0, len(images), images)


def followed(film: Film, folder: Path, eyes: Eyes) -> Followed:
    folder.mkdir(exist_ok=True)
    return follow_video(film, eyes, folder, None, Stopwatch(), lambda *_: None)


def frames_of(folder: Path, track: int) -> list[int]:
    sighted = read_sighted(part_paths(folder), ["frame", "track"])
    return sorted(sighted["frame"][sighted["track"] == track].tolist())


def walk(count: int, seen_from: int) -> Film:
    return film([({RED: (60.0 + k, 100.0)}, k < seen_from) for k in range(count)])


def test_who_is_found_late_is_followed_back_across_a_window_and_once_only(tmp_path: Path) -> None:
    eyes = Eyes()
    found = followed(walk(110, 75), tmp_path / "a", eyes)
    assert found.people == [(1,)]
    frames = frames_of(tmp_path / "a", 1)
    assert frames == list(range(frames[0], 110)) and 11 <= frames[0] <= 26  # 64 frames before frame 75 to 90
    (first, second) = part_paths(tmp_path / "a")
    assert {s.frame for s in read_sightings(first)} == set(range(frames[0], 64))
    back = min((s for s in read_sightings(first)), key=lambda s: s.frame).pose
    np.testing.assert_allclose(back.keypoints, stick(60.0 + frames[0], 100.0), atol=1.5)
    assert {s.frame for s in read_sightings(second)} == set(range(64, 110))
    looks = eyes.looks
    assert followed(walk(110, 75), tmp_path / "a", eyes) == found and eyes.looks == looks


@pytest.mark.slow
def test_looking_back_that_was_interrupted_ends_alike(tmp_path: Path) -> None:
    straight = followed(walk(110, 75), tmp_path / "a", Eyes())
    followed(walk(110, 75), tmp_path / "b", Eyes())
    (tmp_path / "b" / "looked-back").unlink()
    assert followed(walk(110, 75), tmp_path / "b", Eyes()) == straight
    for part in ("people-000000000.npz", "earlier-000000000.npz", "earlier-000000064.npz"):
        with np.load(tmp_path / "a" / part) as a, np.load(tmp_path / "b" / part) as b:
            assert set(a.files) == set(b.files)
            for name in a.files:
                np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("other", [BLUE, None])
def test_looking_back_ends_where_the_person_was_hidden_or_came_in(
    tmp_path: Path, other: tuple[int, int, int] | None
) -> None:
    """Red stands where blue stood before, or comes out of nowhere."""
    shots: list[tuple[Places, bool]] = []
    for k in range(90):
        places: Places = {RED: (150.0, 100.0)} if k >= 30 else {}
        if other is not None:
            places |= {other: (150.0 if k < 30 else min(150.0 + 4 * (k - 30), 260.0), 100.0)}
        shots.append((places, 30 <= k < 60))
    found = followed(film(shots), tmp_path, Eyes())
    red = next(n for chain in found.people for n in chain if frames_of(tmp_path, n)[0] >= 30)
    assert 30 <= frames_of(tmp_path, red)[0] <= 34
    if other is not None:
        blue = next(chain[0] for chain in found.people if chain[0] != red)
        assert frames_of(tmp_path, blue)[0] == 0


@pytest.mark.slow
def test_in_a_crowd_somebody_is_looked_for_beside_the_others() -> None:
    places: Places = {RED: (60.0, 100.0), BLUE: (140.0, 100.0), GREEN: (220.0, 100.0), GOLD: (108.0, 100.0)}
    pace = Pace.at(30.0, 0)
    for crowd, expected in ((places, 4), ({c: places[c] for c in (BLUE, GOLD)}, 1)):
        eyes, people = Eyes(overlooked=(GOLD,)), People()
        for index in range(40):
            people = follow(people, Frame(index, index / 30, scene(crowd), False), eyes, pace)
        assert len(people.tracks) == expected and COMPANY == 3
