"""Who is who: people followed from frame to frame, found again after an occlusion, begun and ended.

Each step is a function from a state and a frame to the next state, so that a run can stop and go on anywhere.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from jaxtyping import Float32

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.prefetch import map_in_threads
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import appearance, likeness
from selfmocap.tracking.camera_motion import background_shift, is_cut, small_view
from selfmocap.tracking.detectors.detection import Pose, body_distance, extent, moved, share_within
from selfmocap.tracking.detectors.protocol import AT_ONCE, Detector, Image
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.hog_detector import standing
from selfmocap.tracking.tiles import FIRST, THEN, THEN_CROWD, tiles
from selfmocap.tracking.track_state import (
    COMPANY,
    SIDE_COMPANY,
    SMALL,
    Pace,
    People,
    Track,
    born,
    carried,
    confirmed,
    convincing,
    in_company,
    lost,
    seen_again,
)

Colours = Float32[np.ndarray, " bins"]

_SAME_BODY = 0.45
"""Body distance below which two poses are of one person."""
_NEAR = 0.35
"""Nearness of two windows below which they look at one person."""
_APART = (-0.6, -0.3, 0.3, 0.6)
"""How far from somebody, in sides of the window, the next person is looked for in a crowd."""
_CLOSER_AND_WIDER = (1.0, 0.85, 1.2)
"""Sides of the windows, in that of the expected one, through which somebody in a crowd is looked for until seen."""
_TRIED = 0.15
"""Nearness of two windows below which nobody in one means nobody in the other; in a crowd, below which the people in
them need not be told apart."""
_LEAP = 0.7
"""Body distance from where somebody was expected in the next frame beyond which it is somebody else: real people,
runners included, stay below 0.5."""
_BIRTH_SCORE, _BIRTH_EXTENT = 0.8, 0.52
"""What a new person must have: the table legs, hands and dogs that the models take for people often lack one."""
_UPSIDE_DOWN = -0.5
"""Cosine of the angle beyond which somebody small is none: a hoop, a lamp."""
_WITHIN = 0.6
"""A pose with this share of its keypoints on another person's mask is a part of that person."""
_SMALLEST = 56.0
"""Side of the smallest window, px: a person of about 45 px."""
LIKE, _UNLIKE = 0.7, 0.6
"""Likeness from which a lost person may be taken up again, and below which a followed one is somebody else."""
_CLEARLY = 0.08
"""By how much a lost person must resemble a pose more than another lost one does, to be taken for it."""
_BLINK = 3
"""Frames for which another program may miss somebody who is simply followed on."""
_BELIEVED = 1.0
"""What counts as moved of a person whom another program sees, ghosts being its own affair."""
_COLOURS_EVERY = 3
"""Frames between two looks at the colours of somebody who is followed."""


def follow(people: People, frame: Frame, detector: Detector, pace: Pace) -> People:
    """The state after one frame; the tracks with `last == frame.index` were seen in it."""
    people = _panned(people, frame)
    if detector.follows:
        people = followed(people, frame, detector, pace)
        if _searching(people, frame.index, pace):
            people = _searched(people, frame, detector, pace)
    else:
        people = _associated(people, frame, detector.everybody(frame), detector.points, pace)
    people = in_company(people, frame.index, pace)
    kept = tuple(track for track in people.tracks if _alive(track, frame.index, pace))
    return replace(people, tracks=kept)


def _panned(people: People, frame: Frame) -> People:
    """The people carried on by what the camera did; nobody is followed over a cut, and nobody linked."""
    view = small_view(frame.image)
    if people.view is None:
        return replace(people, view=view)
    windows = [track.pose.window for track in people.tracks if track.last == frame.index - 1]
    width = frame.image.shape[1]
    if is_cut(people.view, view):
        away = (people.drift[0] + 10.0 * width, people.drift[1])
        return replace(people, tracks=(), searches=0, view=view, drift=away)
    shift = background_shift(people.view, view, width, windows)
    return replace(
        people,
        tracks=tuple(carried(track, shift) for track in people.tracks),
        view=view,
        drift=(people.drift[0] + shift[0], people.drift[1] + shift[1]),
    )


def _searching(people: People, now: int, pace: Pace) -> bool:
    crowd = sum(track.last == now and confirmed(track, pace) for track in people.tracks) >= COMPANY
    return now % (max(pace.search // 3, 1) if crowd else pace.search) == 0 or people.searches == 0


def _alive(track: Track, now: int, pace: Pace) -> bool:
    missed = now - track.last
    if confirmed(track, pace):
        return missed <= pace.forget
    return missed <= 2 and (convincing(track) or track.seen < 3 * pace.search)


# ---- people who are followed ----------------------------------------------------------------------------------


def followed(people: People, frame: Frame, detector: Detector, pace: Pace) -> People:
    """The people after a frame in which they, and nobody else, were looked for."""
    wanted = [t for t in people.tracks if frame.index - t.last <= min(pace.coast, pace.patience(t))]
    poses = map_in_threads(lambda track: _look_again(track, frame, detector), wanted)
    seen = {t.number: pose for t, pose in zip(wanted, poses, strict=True) if pose is not None}
    seen = _without_doubles(people.tracks, seen, frame.image, detector.points)
    seen = _given_back(people.tracks, seen, frame, detector.points)
    return replace(
        people,
        tracks=tuple(
            _updated(t, seen.get(t.number), frame, seen.values(), detector.points) for t in people.tracks
        ),
    )


def _look_again(track: Track, frame: Frame, detector: Detector) -> Pose | None:
    """The person where it should be by now; if nobody is there, where the detector sees somebody near."""
    missed = frame.index - track.last
    expected = moved(track.pose, track.step)
    scales = _CLOSER_AND_WIDER if track.company >= COMPANY else (1.0,)
    windows = (replace(expected.window, side=scale * expected.window.side) for scale in scales)
    looks = (detector.look(frame.image, window) for window in windows)
    pose = next((pose for pose in looks if pose is not None), None)
    if pose is not None and _continues(expected, pose, missed, detector.points):
        checked = missed > 1 or pose.window.side < 2 * SMALL or frame.index % _COLOURS_EVERY == 0
        needed = _UNLIKE if missed == 1 else LIKE
        somebody_else = checked and resemblance(track, pose, frame, detector.points) < needed
        return None if somebody_else else pose
    around = Window(expected.window.x, expected.window.y, 1.6 * expected.window.side)
    for window in sorted(detector.search(frame.image, around), key=expected.window.nearness):
        pose = detector.look(frame.image, window)
        if pose is not None and _continues(expected, pose, missed, detector.points):
            return pose if resemblance(track, pose, frame, detector.points) >= LIKE else None
    return None


def resemblance(track: Track, pose: Pose, frame: Frame, points: KeypointSet) -> float:
    """How much a pose looks like somebody who is known, in [0, 1]."""
    return likeness(track.colours, appearance(frame.image, pose, points))


def _continues(expected: Pose, pose: Pose, missed: int, points: KeypointSet) -> bool:
    reach = 1.0 + 0.15 * min(missed - 1, 6)
    near = expected.window.nearness(pose.window) < _NEAR * reach and pose.window.side > 0.7 * _SMALLEST
    near = near and (missed == 1 or pose.score >= _BIRTH_SCORE)
    return near and body_distance(expected, pose, points) < _LEAP * reach


def _without_doubles(
    tracks: Iterable[Track], seen: dict[int, Pose], image: Image, points: KeypointSet
) -> dict[int, Pose]:
    """Where two tracks ended on one body, it stays with the one that looks like it and was expected there (or that has
    been known for longer, if both do): the other person is hidden."""
    by_number = {track.number: track for track in tracks}
    kept = dict(seen)
    for a, b in itertools.combinations(seen, 2):
        if a not in kept or b not in kept or body_distance(seen[a], seen[b], points) > _SAME_BODY:
            continue
        claims = [_claim(by_number[n], seen[n], image, points) for n in (a, b)]
        del kept[a if claims[0] < claims[1] else b]
    return kept


def _given_back(
    tracks: Iterable[Track], seen: dict[int, Pose], frame: Frame, points: KeypointSet
) -> dict[int, Pose]:
    """Where somebody who is followed stands where another was lost, and clearly looks like that one, it is that one:
    whoever passed before it went on unseen."""
    by_number, kept = {track.number: track for track in tracks}, dict(seen)
    for hidden in tracks:
        for number, pose in list(kept.items()):
            if hidden.number in kept or hidden.pose.window.nearness(pose.window) > _NEAR:
                continue
            alike = resemblance(hidden, pose, frame, points)
            if alike > max(LIKE, resemblance(by_number[number], pose, frame, points) + _CLEARLY):
                kept[hidden.number] = kept.pop(number)
    return kept


def _claim(track: Track, pose: Pose, image: Image, points: KeypointSet) -> float:
    expected = moved(track.pose, track.step)
    alike = likeness(track.colours, appearance(image, pose, points))
    return alike - 0.5 * body_distance(expected, pose, points) + 0.1 * min(track.seen, 60) / 60


def _updated(
    track: Track, pose: Pose | None, frame: Frame, others: Iterable[Pose], points: KeypointSet
) -> Track:
    if pose is None:
        return lost(track)
    if frame.index % _COLOURS_EVERY == 0 and all(
        o is pose or o.window.nearness(pose.window) > 0.7 for o in others
    ):
        track = replace(track, colours=_learnt(track.colours, appearance(frame.image, pose, points)))
    return seen_again(track, pose, frame, points)


def _learnt(colours: Colours, seen: Colours) -> Colours:
    """Colours change slowly, and not into somebody else's."""
    if likeness(colours, seen) < LIKE:
        return colours
    return (0.95 * colours + 0.05 * seen).astype(np.float32)


# ---- people who are found -------------------------------------------------------------------------------------


def _searched(people: People, frame: Frame, detector: Detector, pace: Pace) -> People:
    height, width = frame.image.shape[:2]
    present = [track for track in people.tracks if track.last == frame.index]
    crowd = len(present) >= COMPANY
    taken = _TRIED if crowd else _NEAR
    poses, nobody, windows = [track.pose for track in present], [], []

    def known(window: Window) -> bool:
        """Somebody, or nobody. What is known stays so: whoever asks ahead, the answer that counts is the same."""
        near = any(p.window.nearness(window) < taken for p in poses)
        return near or any(w.nearness(window) < _TRIED for w in nobody)

    def looked_into(window: Window) -> tuple[Window, Pose | None]:
        return window, None if known(window) else _person(frame.image, window, detector)

    tiled = tiles(width, height, _sides(people, len(present)))
    beside = [*_beside(present), *standing(frame.image)] if crowd else []
    for window, pose in map_in_threads(looked_into, itertools.chain(_windows(detector, frame.image, tiled), beside)):
        if window not in beside:
            windows.append(window)
        if known(window):
            continue
        if pose is None or any(part_of(pose, other, detector.points) for other in poses):
            nobody.append(window)
            continue
        poses.append(pose)
        people = _taken_up(people, pose, frame, detector.points, pace)
    again = {t.number for t in present if any(t.pose.window.nearness(w) < _NEAR for w in windows)}
    tracks = tuple(replace(t, found=t.found + 1) if t.number in again else t for t in people.tracks)
    return replace(people, tracks=tracks, searches=people.searches + 1)


def _beside(tracks: Sequence[Track]) -> list[Window]:
    """Where, in a crowd, somebody may stand whom the detector does not tell from the next person."""
    large = [t.pose.window for t in tracks if t.pose.window.side >= SIDE_COMPANY]
    return [Window(w.x + apart * w.side, w.y, w.side) for w in large for apart in _APART]


def _windows(detector: Detector, image: Image, searched: Sequence[Window]) -> Iterator[Window]:
    """Where people are found in some tiles, tile after tile; the next ones are searched meanwhile."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = pool.map(functools.partial(detector.search, image), searched)
        for tile, windows in zip(searched, found, strict=True):
            yield from _plausible(windows, tile)


def _sides(people: People, present: int) -> tuple[float, ...]:
    if not people.searches:
        return FIRST
    then = THEN_CROWD if present >= COMPANY else THEN
    return then[people.searches % len(then)]


def part_of(pose: Pose, other: Pose, points: KeypointSet) -> bool:
    """Whether a pose is of the other's body, or lies on it."""
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
    upright = math.cos(pose.window.angle) > _UPSIDE_DOWN or pose.window.side >= SMALL
    return pose if upright and pose.score >= _BIRTH_SCORE and extent(pose) >= _BIRTH_EXTENT else None


def _taken_up(people: People, pose: Pose, frame: Frame, points: KeypointSet, pace: Pace) -> People:
    """A person who was lost near here and looks like this pose is seen again; otherwise, and where two lost people
    look like it, a new one begins."""
    new = born(people.next_number, pose, frame, points)
    chances = [(-1.0, 0)]
    for track in people.tracks:
        missed = frame.index - track.last
        if 0 < missed <= pace.patience(track) and track.pose.window.nearness(pose.window) < pace.reach(
            missed
        ):
            chances.append((likeness(track.colours, new.colours) - pace.likeness(missed), track.number))
    (best, number), (second, _) = sorted([*chances, (-1.0, 0)], reverse=True)[:2]
    if best < 0 or best - second < _CLEARLY:
        return replace(people, tracks=(*people.tracks, new), next_number=people.next_number + 1)
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
    colours = [appearance(frame.image, pose, points) for pose in poses]
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
    return replace(people, tracks=tuple(replace(t, roamed=_BELIEVED) for t in people.tracks))


def _cost(track: Track, pose: Pose, colours: Colours, frame: Frame, points: KeypointSet) -> float:
    """Infinite where they cannot be one; who was lost for longer can only be taken up again."""
    missed = frame.index - track.last
    distance = body_distance(moved(track.pose, track.step), pose, points)
    if missed > _BLINK or distance > 1.2 + 0.3 * (missed - 1):
        return math.inf
    alike = likeness(track.colours, colours)
    return math.inf if missed > 1 and alike < LIKE else distance + 1.0 - alike
