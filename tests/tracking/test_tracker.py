"""Who is who: people followed against a background that may move, lost, found again and linked, with a detector that
is told the truth; and what that rests on: the camera's motion, colours, frames made ahead."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from selfmocap.io.prefetch import map_in_threads, prefetched
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import appearance, likeness
from selfmocap.tracking.camera_motion import background_shift, is_cut, small_view
from selfmocap.tracking.detectors.detection import Pose, moved, window_of
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.stitching import Path2D, people_of
from selfmocap.tracking.tiles import FIRST, tiles
from selfmocap.tracking.track_state import (
    COMPANY,
    Pace,
    People,
    Track,
    born,
    carried,
    confirmed,
    convincing,
    in_company,
)
from selfmocap.tracking.tracker import follow
from tests.helpers.stick_figures import BLUE, COCO, HEIGHT, RED, WIDTH, Told, scene, stick

PACE = Pace.at(30.0, 0)


def run(frames: list[dict[tuple[int, int, int], tuple[float, float]]], pace: Pace) -> list[dict[int, Pose]]:
    """Who the tracker says is where: pose by track number, for each frame."""
    detector = Told([list(places.values()) for places in frames])
    people, seen = People(), []
    for index, places in enumerate(frames):
        people = follow(people, Frame(index, index / 30, scene(places), False), detector, pace)
        seen.append({t.number: t.pose for t in people.tracks if t.last == index})
    return seen


def number_at(poses: dict[int, Pose], place: tuple[float, float]) -> int:
    return min(poses, key=lambda n: float(np.abs(poses[n].keypoints - stick(*place)).mean()))


def test_identities_hold_through_a_crossing_with_occlusion() -> None:
    frames = []
    for k in range(60):
        red, blue = (60.0 + 3 * k, 100.0), (240.0 - 3 * k, 104.0)
        hidden = abs(red[0] - blue[0]) < 25
        frames.append({BLUE: blue} if hidden else {RED: red, BLUE: blue})
    seen = run(frames, Pace.at(30.0, 0))
    red, blue = number_at(seen[0], frames[0][RED]), number_at(seen[0], frames[0][BLUE])
    assert red != blue
    for poses, places in zip(seen, frames, strict=True):
        for colour, number in ((RED, red), (BLUE, blue)):
            if colour in places:
                assert number_at(poses, places[colour]) == number


def test_somebody_else_at_the_same_place_is_somebody_new() -> None:
    frames = (
        [{RED: (100.0, 100.0)}] * 20 + [{}] * 20 + [{BLUE: (104.0, 100.0)}] * 20 + [{RED: (104.0, 100.0)}] * 2
    )
    seen = run(frames, Pace.at(30.0, 0))
    (red,), (blue,) = seen[19], seen[59]
    assert red != blue
    again = run([{RED: (100.0, 100.0)}] * 20 + [{}] * 20 + [{RED: (110.0, 100.0)}] * 20, Pace.at(30.0, 0))
    assert list(again[19]) == list(again[59])


def test_a_glimpse_is_not_confirmed_and_tiles_cover_the_frame() -> None:
    pace = Pace.at(30.0, 0)
    detector = Told([[(100.0, 100.0)]] + [[]] * 5)
    people = People()
    for index in range(6):
        people = follow(people, Frame(index, index / 30, scene({}), False), detector, pace)
    assert not people.tracks
    covered = np.zeros((72, 128), bool)
    for tile in tiles(128, 72, FIRST)[1:]:
        half = tile.side / 2
        covered[
            max(round(tile.y - half + 0.5), 0) : round(tile.y + half + 0.5),
            max(round(tile.x - half + 0.5), 0) : round(tile.x + half + 0.5),
        ] = True
    assert covered.all()


def test_tracks_are_linked_dropped_and_ordered() -> None:
    pace, points = Pace.at(30.0, 0), stick(100, 100).astype(np.float32)
    pose = Pose(points, np.ones(17, np.float32), 0.99, window_of(points, np.ones(17)))
    red, blue = np.zeros(384, np.float32), np.zeros(384, np.float32)
    red[0] = blue[1] = 1.0

    def made(
        number: int, colours: np.ndarray, first: int, last: int, x: float, side: float
    ) -> tuple[Track, Path2D]:
        track = Track(
            number, pose, colours, begun=first, last=last, seen=last - first + 1, found=9, roamed=1.0
        )
        windows = np.tile([x, 100.0, side, 0.0], (last - first + 1, 1))
        return track, Path2D(np.arange(first, last + 1), windows)

    everything = {
        1: made(1, red, 0, 99, 100, 200),
        2: made(2, red, 95, 200, 110, 200),  # goes on where 1 ends, and looks like it
        3: made(3, blue, 201, 260, 110, 200),  # comes after, and looks different
        4: made(4, blue, 20, 80, 105, 210),  # a part of 1
        5: made(5, red, 0, 4, 500, 200),  # a glimpse
        6: made(6, red, 0, 40, 500, 50),  # tiny beside the others and soon gone
        7: made(7, blue, 0, 300, 500, 190),
    }
    tracks_, paths = (
        {n: one for n, (one, _) in everything.items()},
        {n: p for n, (_, p) in everything.items()},
    )
    assert people_of(tracks_, paths, pace, 30.0, 301) == [(7,), (1, 2), (3,)]
    doubtful = replace(tracks_[7], score=0.85)
    assert confirmed(tracks_[7], pace) and not confirmed(doubtful, pace)


# ---- a camera that moves ------------------------------------------------------------------------------------


def landscape(seed: int = 0) -> np.ndarray:
    """A wide background with something to hold on to everywhere."""
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT // 6, 6 * WIDTH // 6, 3)).astype(np.float32)
    return cv2.resize(noise, (6 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def filmed(
    background: np.ndarray, left: int, places: dict[tuple[int, int, int], tuple[float, float]]
) -> np.ndarray:
    """What a camera sees that looks at the background from `left` on; the places are in its picture."""
    image = background[:, left : left + WIDTH].copy()
    people = scene(places)
    painted = (people != 128).any(axis=-1)
    image[painted] = people[painted]
    return image


def test_the_camera_is_followed_and_not_the_people() -> None:
    background = landscape()
    before = filmed(background, 100, {RED: (160.0, 100.0)})
    after = filmed(background, 109, {RED: (170.0, 100.0)})
    window = Window(160.0, 125.0, 120.0)
    shift = background_shift(small_view(before), small_view(after), WIDTH, [window])
    np.testing.assert_allclose(shift, (-9.0, 0.0), atol=0.3)
    assert not is_cut(small_view(before), small_view(after))
    assert is_cut(small_view(before), small_view(landscape(seed=1)[:, :WIDTH]))
    plain = small_view(scene({RED: (100.0, 100.0)})), small_view(scene({RED: (104.0, 100.0)}))
    assert background_shift(*plain, WIDTH, []) == (0.0, 0.0) and not is_cut(*plain)
    everywhere = [Window(WIDTH / 2, HEIGHT / 2, 4.0 * WIDTH)]
    assert background_shift(small_view(before), small_view(after), WIDTH, everywhere) == (0.0, 0.0)


def film(shots: list[tuple[np.ndarray, int, dict]]) -> tuple[list[dict[int, Pose]], People]:
    detector, people, seen = Told([list(places.values()) for _, _, places in shots]), People(), []
    for index, (background, left, places) in enumerate(shots):
        frame = Frame(index, index / 30, filmed(background, left, places), False)
        people = follow(people, frame, detector, PACE)
        seen.append({t.number: t.pose for t in people.tracks if t.last == index})
    return seen, people


def test_after_a_pan_somebody_alike_in_the_same_part_of_the_picture_is_somebody_new() -> None:
    background, here = landscape(), {RED: (150.0, 100.0)}
    away = [(background, 100 + 20 * k, {}) for k in range(20)]
    seen, people = film([(background, 100, here)] * 20 + away + [(background, 480, here)] * 10)
    assert list(seen[19]) != list(seen[-1]) and len(seen[-1]) == 1
    assert people.drift[0] == pytest.approx(-380.0, abs=8.0)
    back = away + away[::-1]
    seen, _ = film([(background, 100, here)] * 20 + back + [(background, 100, here)] * 10)
    assert list(seen[19]) == list(seen[-1])


def test_nobody_is_followed_over_a_cut() -> None:
    here = {RED: (150.0, 100.0)}
    seen, people = film([(landscape(), 100, here)] * 20 + [(landscape(seed=1), 100, here)] * 10)
    assert list(seen[19]) != list(seen[-1]) and len(seen[-1]) == 1
    assert abs(people.drift[0]) > 4 * WIDTH


# ---- doubt --------------------------------------------------------------------------------------------------


def test_where_two_lost_people_look_like_one_who_appears_a_new_one_begins() -> None:
    both = {RED: (120.0, 100.0), BLUE: (200.0, 100.0)}
    image = scene({RED: (120.0, 100.0), (220, 30, 31): (200.0, 100.0)})
    detector, people = Told([list(both.values())] * 20 + [[]] * 9 + [[(160.0, 100.0)]]), People()
    for index in range(30):
        shown = scene({RED: (160.0, 100.0)}) if index == 29 else image
        people = follow(people, Frame(index, index / 30, shown, False), detector, PACE)
    (latest,) = (t.number for t in people.tracks if t.last == 29)
    assert latest == 3


class Looking:
    """A detector that sees one person wherever it looks near enough, and finds nobody new."""

    name, points, follows = "looking", COCO, True

    def __init__(self, places: list[tuple[float, float]]) -> None:
        self.poses = [posed(*place) for place in places]

    def search(self, image, tile):
        return []

    def look(self, image, window):
        return min(self.poses, key=lambda pose: pose.window.nearness(window))

    def everybody(self, frame):
        raise NotImplementedError


def posed(x: float, y: float) -> Pose:
    points = stick(x, y).astype(np.float32)
    return Pose(points, np.ones(17, np.float32), 0.99, window_of(points, np.ones(17)))


def test_who_was_hidden_is_not_taken_for_the_one_who_passed_before() -> None:
    """Somebody in red and blue passes before blue, who is given up meanwhile, and leaves as blue is seen again."""
    places = {RED: (150.0, 100.0), BLUE: (160.0, 100.0)}
    red, blue = (
        replace(
            born(number, posed(*place), Frame(0, 0.0, scene({colour: place}), False), COCO),
            found=9,
            company=COMPANY,
        )
        for number, (colour, place) in enumerate(places.items(), start=1)
    )
    both = replace(red, last=9, colours=(red.colours + blue.colours) / 2)
    hidden = replace(blue, last=9 - PACE.patience(blue))
    frame = Frame(10, 1 / 3, scene({BLUE: places[BLUE]}), False)
    for tracks, number in (((both, hidden), 2), ((both,), 1)):
        after = follow(People(tracks, next_number=3, searches=1), frame, Looking([places[BLUE]]), PACE)
        assert [t.number for t in after.tracks if t.last == 10] == [number]


def track(**changes: Any) -> Track:
    points = stick(100, 100, 90.0).astype(np.float32)
    pose = Pose(points, np.ones(17, np.float32), 0.99, window_of(points, np.ones(17)))
    colours = np.zeros(384, np.float32)
    colours[0] = 1.0
    return replace(Track(1, pose, colours, begun=0, last=9, seen=60, found=9), **changes)


def test_who_stands_still_is_believed_less_alone_than_in_company() -> None:
    assert not convincing(track(score=0.93))
    assert convincing(track(score=0.93, roamed=1.0))
    assert convincing(track(score=0.93, company=COMPANY))
    assert not convincing(track(score=0.88, company=COMPANY, found=3))
    crowd = People(tuple(track(score=score) for score in (0.99, 0.98, 0.97, 0.93)))
    assert [t.company for t in in_company(crowd, 9, PACE).tracks] == [3] * 4
    assert [t.company for t in in_company(crowd, 8, PACE).tracks] == [0] * 4
    assert PACE.patience(track(company=COMPANY)) < PACE.patience(track())


def test_who_is_found_again_and_again_in_company_may_be_half_hidden() -> None:
    half_hidden = track(score=0.86, limbs=0.47, company=COMPANY)
    assert convincing(half_hidden)
    for changes in ({"found": 3}, {"company": 0}, {"score": 0.84}, {"limbs": 0.44}):
        assert not convincing(replace(half_hidden, **changes))


def test_what_stands_still_before_a_moving_camera_has_not_roamed() -> None:
    still = track(origin=(100.0, 100.0))
    for _ in range(10):
        still = carried(still, (-30.0, 5.0))
    assert still.origin == pytest.approx((-200.0, 150.0))
    np.testing.assert_allclose(still.pose.keypoints, stick(100, 100, 90.0) + (-300.0, 50.0), atol=1e-3)
    assert moved(still.pose, (0.0, 0.0)).window == still.pose.window


def test_neighbours_of_one_colour_are_two_people() -> None:
    tracks = {1: track(roamed=1.0), 2: track(number=2, roamed=1.0)}

    def paths(apart: float, begun: int) -> dict[int, Path2D]:
        return {
            1: Path2D(np.arange(50), np.tile([100.0, 100.0, 150.0, 0.0], (50, 1))),
            2: Path2D(np.arange(begun, 120), np.tile([100.0 + apart, 100.0, 150.0, 0.0], (120 - begun, 1))),
        }

    assert people_of(tracks, paths(10.0, 40), PACE, 30.0, 120) == [(1, 2)]
    assert people_of(tracks, paths(45.0, 40), PACE, 30.0, 120) == [(2,), (1,)]
    assert people_of(tracks, paths(10.0, 60), PACE, 30.0, 120) == [(1, 2)]
    crowded = {number: replace(t, company=COMPANY) for number, t in tracks.items()}
    assert people_of(crowded, paths(10.0, 60), PACE, 30.0, 120) == [(2,), (1,)]


# ---- colours --------------------------------------------------------------------------------------------------


def test_people_are_told_apart_by_what_they_wear_and_not_by_what_is_around_them() -> None:
    pose = posed(160, 100)
    red, blue = (appearance(scene({c: (160.0, 100.0)}), pose, COCO) for c in (RED, BLUE))
    assert red.sum() == pytest.approx(1.0, abs=1e-4) and likeness(red, red) == pytest.approx(1.0, abs=1e-4)
    assert likeness(red, blue) < 0.1
    elsewhere = filmed(landscape(), 100, {RED: (160.0, 100.0)})
    assert likeness(red, appearance(elsewhere, pose, COCO)) > 0.9
    seated = replace(
        pose, confidence=np.where(["knee" in name for name in COCO.names], 0.0, 1.0).astype(np.float32)
    )
    half = appearance(scene({RED: (160.0, 100.0)}), seated, COCO)
    assert half.sum() == pytest.approx(0.5, abs=1e-4) and likeness(red, half) == pytest.approx(1.0, abs=1e-2)


# ---- frames made ahead ------------------------------------------------------------------------------------------


def test_items_made_ahead_come_in_order_and_errors_in_their_place() -> None:
    def items() -> Iterator[int]:
        yield from range(20)
        raise ValueError("broken")

    got: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        got.extend(prefetched(items()))
    assert got == list(range(20)) and list(prefetched([])) == []


def test_an_endless_source_is_left_alone_when_nobody_wants_more() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    wanted = prefetched(items())
    assert [next(wanted) for _ in range(3)] == [0, 1, 2]
    wanted.close()
    assert threading.active_count() == before and len(made) <= 8


def test_two_threads_keep_the_order_and_take_no_more_than_they_need() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(30):
            taken.append(number)
            yield number

    def slowly(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        if number == 20:
            raise ValueError("twenty")
        return 10 * number

    got: list[int] = []
    with pytest.raises(ValueError, match="twenty"):
        for made in map_in_threads(slowly, items()):
            got.append(made)
            assert len(taken) <= len(got) + 3
    assert got == [10 * number for number in range(20)]
