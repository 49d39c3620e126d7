"""Who is who: people followed from frame to frame, found again after an occlusion, begun and ended.

Each step is a function from a state and a frame to the next state, so that a run can stop and go on anywhere.
"""

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32, UInt8

from selfmocap.frontend.appearance import appearance, likeness
from selfmocap.frontend.poses import Pose, body_distance, extent, limb_confidence, share_within
from selfmocap.frontend.tiles import FIRST, THEN, tiles
from selfmocap.frontend.windows import Window
from selfmocap.skeleton import KeypointSet
from selfmocap.video import Frame

Image = UInt8[np.ndarray, "height width 3"]

_SAME_BODY = 0.45
"""Body distance below which two poses are of one person."""
_NEAR = 0.35
"""Nearness of two windows below which they look at one person."""
_BIRTH_SCORE, _BIRTH_EXTENT = 0.8, 0.52
"""What a new person must have: the table legs, hands and dogs that the models take for people often lack one."""
_WITHIN = 0.6
"""A pose with this share of its keypoints on another person's mask is a part of that person."""
_SMALLEST = 56.0
"""Side of the smallest window, px: a person of about 45 px."""
_SMALL = 128.0
"""Side of a window that is taken for small, px."""
_SCORE_SMALL, _SCORE_LARGE, _SCORE_STILL, _LIMBS = 0.88, 0.94, 0.96, 0.55
"""Mean scores of a real person that has moved, in windows of up to 128 px and from 256 px on, and of one that has not;
mean limb confidence. People score 0.99 when they are large and 0.95 when they are 100 px tall, ghosts 0.8 to 0.93."""
_ROAMED = 0.4
"""Sides of its window that somebody must have moved by to count as having moved."""
_MEMORY = 60
"""Frames over which these means are taken."""
_LIKE, _UNLIKE = 0.6, 0.4
"""Likeness from which a lost person may be taken up again, and below which a followed one is somebody else."""
_COLOURS_EVERY = 3
"""Frames between two looks at the colours of somebody who is followed."""


@runtime_checkable
class Detector(Protocol):
    """Finds people. `follows`: it can look for a person in a window; otherwise it is asked for everybody in each
    frame, by `everybody`."""

    name: str
    points: KeypointSet
    follows: bool

    def search(self, image: Image, tile: Window) -> list[Window]:
        """Windows of the people found in a square tile of the image."""
        ...

    def look(self, image: Image, window: Window) -> Pose | None:
        """The person in a window, or None."""
        ...

    def everybody(self, frame: Frame) -> list[Pose]:
        """All people of a frame."""
        ...


@dataclass(frozen=True, eq=False)
class Track:
    """One person so far."""

    number: int
    pose: Pose
    """As last seen."""
    colours: Float32[np.ndarray, " bins"]
    begun: int
    """Frame index."""
    last: int
    """Frame index at which it was last seen."""
    seen: int = 1
    """Number of frames."""
    found: int = 1
    """Number of searches that found it without knowing of it."""
    score: float = 1.0
    """Mean over about the last 60 frames in which it was seen."""
    limbs: float = 1.0
    """Mean limb confidence over the same."""
    roamed: float = 0.0
    """Farthest that its window has been from where it began, in sides."""
    origin: tuple[float, float] = (0.0, 0.0)
    """Where its window began, px."""
    step: tuple[float, float] = (0.0, 0.0)
    """How far its window moved at last, px per frame."""


@dataclass(frozen=True, eq=False)
class People:
    """The state of the tracker between two frames."""

    tracks: tuple[Track, ...] = ()
    next_number: int = 1
    searches: int = 0


@dataclass(frozen=True)
class Pace:
    """How often to look for new people and how long to wait for lost ones, in frames."""

    search: int
    coast: int
    """A lost person is looked for in every frame for so long."""
    forget: int
    """A person seen again after longer is a new one."""

    @classmethod
    def at(cls, fps: float, frames: int) -> "Pace":
        """For a video of that rate and of about so many frames (0: unknown); a short one is searched more often, since
        a person must be found twice."""
        search = min(max(round(fps / 2), 3), 15)
        return cls(
            search=min(search, max(frames // 4, 1)) if frames else search,
            coast=max(round(fps / 2), 4),
            forget=max(round(4 * fps), 8),
        )


def follow(people: People, frame: Frame, detector: Detector, pace: Pace) -> People:
    """The state after one frame; the tracks with `last == frame.index` were seen in it."""
    searching = frame.index % pace.search == 0 or people.searches == 0
    if detector.follows:
        people = _followed(people, frame, detector, pace)
        if searching:
            people = _searched(people, frame, detector, pace)
    else:
        people = _associated(people, frame, detector.everybody(frame), detector.points, pace)
    kept = tuple(track for track in people.tracks if _alive(track, frame.index, pace))
    return replace(people, tracks=kept)


def confirmed(track: Track, pace: Pace) -> bool:
    """Whether a track is a person: with scores and limbs like a person's, and found twice, or, if it is small (small
    people are often missed), once and then followed for as long as between two searches."""
    small = track.pose.window.side < _SMALL
    return convincing(track) and (track.found >= 2 or (small and track.seen >= pace.search))


def convincing(track: Track) -> bool:
    """Whether the mean scores are a person's; who has not moved yet must score like a large sharp person."""
    large = min(max(math.log2(track.pose.window.side / _SMALL), 0.0), 1.0)
    needed = _SCORE_SMALL + large * (_SCORE_LARGE - _SCORE_SMALL) if track.roamed >= _ROAMED else _SCORE_STILL
    return track.score >= needed and track.limbs >= _LIMBS


def _alive(track: Track, now: int, pace: Pace) -> bool:
    missed = now - track.last
    if confirmed(track, pace):
        return missed <= pace.forget
    return missed <= 2 and (convincing(track) or track.seen < 3 * pace.search)


# ---- people who are followed ----------------------------------------------------------------------------------


def _followed(people: People, frame: Frame, detector: Detector, pace: Pace) -> People:
    poses = {}
    for track in people.tracks:
        missed = frame.index - track.last
        if missed <= pace.coast:
            poses[track.number] = _look_again(track, frame, detector, missed)
    seen = {number: pose for number, pose in poses.items() if pose is not None}
    seen = _without_doubles(people.tracks, seen, frame.image, detector.points)
    return replace(
        people,
        tracks=tuple(
            _updated(t, seen.get(t.number), frame, seen.values(), detector.points) for t in people.tracks
        ),
    )


def _look_again(track: Track, frame: Frame, detector: Detector, missed: int) -> Pose | None:
    """The person where it should be by now; if nobody is there, where the detector sees somebody near."""
    here = track.pose.window
    ahead = replace(here, x=here.x + track.step[0], y=here.y + track.step[1])
    pose = detector.look(frame.image, ahead)
    if pose is not None and _continues(track, pose, missed, detector.points):
        checked = missed > 1 or frame.index % _COLOURS_EVERY == 0
        somebody_else = checked and likeness(track.colours, appearance(frame.image, pose)) < _UNLIKE
        return None if somebody_else else pose
    around = Window(ahead.x, ahead.y, 1.6 * ahead.side)
    for window in sorted(detector.search(frame.image, around), key=ahead.nearness):
        pose = detector.look(frame.image, window)
        if pose is not None and _continues(track, pose, missed, detector.points):
            alike = likeness(track.colours, appearance(frame.image, pose))
            return pose if alike >= _LIKE else None
    return None


def _continues(track: Track, pose: Pose, missed: int, points: KeypointSet) -> bool:
    reach = 1.0 + 0.15 * min(missed - 1, 6)
    near = track.pose.window.nearness(pose.window) < 0.35 * reach and pose.window.side > 0.7 * _SMALLEST
    return near and body_distance(track.pose, pose, points) < 1.2 * reach


def _without_doubles(
    tracks: Iterable[Track], seen: dict[int, Pose], image: Image, points: KeypointSet
) -> dict[int, Pose]:
    """Where two tracks ended on one body, it stays with the one that looks like it (or that has been known for
    longer, if both do): the other person is hidden."""
    by_number = {track.number: track for track in tracks}
    kept = dict(seen)
    for a, b in itertools.combinations(seen, 2):
        if a not in kept or b not in kept or body_distance(seen[a], seen[b], points) > _SAME_BODY:
            continue
        claims = [
            likeness(by_number[n].colours, appearance(image, seen[n])) + _standing(by_number[n])
            for n in (a, b)
        ]
        del kept[a if claims[0] < claims[1] else b]
    return kept


def _standing(track: Track) -> float:
    """How much having been seen for long weighs against colours, when two tracks claim one body."""
    return 0.1 * min(track.seen, 60) / 60


def _updated(
    track: Track, pose: Pose | None, frame: Frame, others: Iterable[Pose], points: KeypointSet
) -> Track:
    if pose is None:
        return replace(track, step=(0.5 * track.step[0], 0.5 * track.step[1]))
    colours = track.colours
    if frame.index % _COLOURS_EVERY == 0 and all(
        o is pose or o.window.nearness(pose.window) > 0.7 for o in others
    ):
        colours = (0.95 * colours + 0.05 * appearance(frame.image, pose)).astype(np.float32)
    lapse, weight = frame.index - track.last, 1 / min(track.seen + 1, _MEMORY)
    step = (
        0.5 * (pose.window.x - track.pose.window.x) / lapse,
        0.5 * (pose.window.y - track.pose.window.y) / lapse,
    )
    return replace(
        track,
        pose=pose,
        colours=colours,
        last=frame.index,
        seen=track.seen + 1,
        score=track.score + (pose.score - track.score) * weight,
        roamed=max(track.roamed, _apart(pose.window, track.origin) / pose.window.side),
        limbs=track.limbs + (limb_confidence(pose, points) - track.limbs) * weight,
        step=step,
    )


def _apart(window: Window, origin: tuple[float, float]) -> float:
    return math.hypot(window.x - origin[0], window.y - origin[1])


# ---- people who are found -------------------------------------------------------------------------------------


def _searched(people: People, frame: Frame, detector: Detector, pace: Pace) -> People:
    height, width = frame.image.shape[:2]
    sides = THEN[people.searches % len(THEN)] if people.searches else FIRST
    windows = [
        w
        for tile in tiles(width, height, sides)
        for w in _plausible(detector.search(frame.image, tile), tile)
    ]
    present = [track for track in people.tracks if track.last == frame.index]
    again = {t.number for t in present if any(t.pose.window.nearness(w) < _NEAR for w in windows)}
    tracks = tuple(replace(t, found=t.found + 1) if t.number in again else t for t in people.tracks)
    people = replace(people, tracks=tracks, searches=people.searches + 1)
    poses, nobody = [track.pose for track in present], []
    for window in windows:
        if any(w.nearness(window) < _NEAR for w in (*(p.window for p in poses), *nobody)):
            continue
        pose = _person(frame.image, window, detector)
        if pose is None or any(_part_of(pose, other, detector.points) for other in poses):
            nobody.append(window)
            continue
        poses.append(pose)
        people = _taken_up(people, pose, frame, detector.points, pace)
    return people


def _part_of(pose: Pose, other: Pose, points: KeypointSet) -> bool:
    return body_distance(pose, other, points) < _SAME_BODY or share_within(pose, other) > _WITHIN


def _plausible(windows: list[Window], tile: Window) -> list[Window]:
    return [w for w in windows if w.side >= max(_SMALLEST, 0.2 * tile.side) and w.side < 2 * tile.side]


def _person(image: Image, window: Window, detector: Detector) -> Pose | None:
    """What is in a window, looked at again where the first look says that it is; None unless both agree."""
    first = detector.look(image, window)
    if first is None or first.window.side < _SMALLEST:
        return None
    pose = detector.look(image, first.window)
    if pose is None or first.window.nearness(pose.window) > 0.3:
        return None
    return pose if pose.score >= _BIRTH_SCORE and extent(pose) >= _BIRTH_EXTENT else None


def _taken_up(people: People, pose: Pose, frame: Frame, points: KeypointSet, pace: Pace) -> People:
    """A person who was lost and looks like this pose is seen again; otherwise a new one begins."""
    colours = appearance(frame.image, pose)
    chances = []
    for track in people.tracks:
        missed = frame.index - track.last
        if missed and track.pose.window.nearness(pose.window) < 0.5 + 0.8 * missed / pace.forget:
            chances.append((likeness(track.colours, colours), track.number))
    best, number = max(chances, default=(0.0, 0))
    if best < _LIKE:
        limbs = limb_confidence(pose, points)
        born = Track(
            people.next_number, pose, colours, frame.index, frame.index, score=pose.score, limbs=limbs
        )
        return replace(people, tracks=(*people.tracks, born), next_number=people.next_number + 1)
    tracks = tuple(
        replace(_updated(t, pose, frame, (), points), found=t.found + 1) if t.number == number else t
        for t in people.tracks
    )
    return replace(people, tracks=tracks)


# ---- people whom the detector gives in every frame -------------------------------------------------------------


def _associated(people: People, frame: Frame, poses: list[Pose], points: KeypointSet, pace: Pace) -> People:
    """The best assignment of poses to tracks by distance and colours; poses left over begin new tracks."""
    from scipy.optimize import linear_sum_assignment

    people = replace(people, searches=people.searches + 1)
    colours = [appearance(frame.image, pose) for pose in poses]
    cost = np.array(
        [[_cost(t, p, c, frame, points) for p, c in zip(poses, colours, strict=True)] for t in people.tracks]
    )
    pairs = zip(*linear_sum_assignment(np.minimum(cost, 10.0)), strict=True) if cost.size else ()
    chosen = {int(row): int(column) for row, column in pairs if math.isfinite(cost[row, column])}
    tracks = []
    for row, track in enumerate(people.tracks):
        pose = poses[chosen[row]] if row in chosen else None
        track = _updated(track, pose, frame, poses, points)
        tracks.append(replace(track, found=track.found + 1) if pose is not None else track)
    people = replace(people, tracks=tuple(tracks))
    for column, pose in enumerate(poses):
        if column not in chosen.values():
            people = _taken_up(people, pose, frame, points, pace)
    return people


def _cost(
    track: Track, pose: Pose, colours: Float32[np.ndarray, " bins"], frame: Frame, points: KeypointSet
) -> float:
    missed = frame.index - track.last
    distance = body_distance(track.pose, pose, points)
    if distance > 1.2 + 0.3 * min(missed - 1, 6):
        return math.inf
    alike = likeness(track.colours, colours)
    return math.inf if missed > 1 and alike < _LIKE else distance + 1.0 - alike
