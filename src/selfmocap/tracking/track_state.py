"""The people of a video as the tracker knows them: one track a person so far, and how often to look for new ones."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import appearance
from selfmocap.tracking.detectors.detection import Pose, limb_confidence, moved
from selfmocap.tracking.detectors.window import Window

SMALL = 128.0
"""Side of a window that is taken for small, px."""
_SCORE_SMALL, _SCORE_LARGE, _SCORE_STILL, _LIMBS = 0.88, 0.94, 0.96, 0.52
"""Mean scores of a real person that has moved, in windows of up to 128 px and from 256 px on, and of one that has not;
mean limb confidence. People score 0.99 when they are large and 0.95 when they are 100 px tall, ghosts 0.8 to 0.93."""
COMPANY, _SCORE_COMPANY, SIDE_COMPANY = 3, 0.89, 96.0
"""Beside so many who score so, somebody who has not moved may score this much in a window of at least so many px:
where there are many, they hide each other, and what is taken for a person elsewhere is smaller."""
_OFTEN, _SCORE_OFTEN, _LIMBS_OFTEN = 4, 0.85, 0.45
"""There, after so many searches have found it without knowing of it, a score and limbs of so much are enough."""
_ROAMED = 0.4
"""Sides of its window that somebody must have moved by, against the background, to count as having moved."""
_MEMORY = 60
"""Frames over which these means are taken."""


@dataclass(frozen=True, eq=False)
class Track:
    """One person so far."""

    number: int
    pose: Pose
    """As last seen, carried on by the camera's motion and, while lost, by its own."""
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
    """Where its window began, carried on by the camera's motion, px."""
    step: tuple[float, float] = (0.0, 0.0)
    """How far it moved at last against the background, px per frame."""
    company: int = 0
    """The most people that were seen together with it."""


@dataclass(frozen=True, eq=False)
class People:
    """The state of the tracker between two frames."""

    tracks: tuple[Track, ...] = ()
    next_number: int = 1
    searches: int = 0
    view: UInt8[np.ndarray, "rows columns"] | None = None
    """The last frame, small and grey."""
    drift: tuple[float, float] = (0.0, 0.0)
    """How far the background has moved since the first frame, px."""


@dataclass(frozen=True)
class Pace:
    """How often to look for new people and how long to wait for lost ones, in frames."""

    search: int
    coast: int
    """A lost person is looked for in every frame for so long."""
    forget: int
    """A person seen again after longer is a new one."""

    def patience(self, track: Track) -> int:
        """Frames after which a lost person is given up: soon in company, where many look and move alike."""
        return self.coast // 2 if track.company >= COMPANY else self.forget

    def reach(self, missed: int) -> float:
        """How near the windows must be of somebody lost for so long and of one who is taken for the same person."""
        return 0.35 + 0.35 * min(2 * missed / self.forget, 1.0)

    def likeness(self, missed: int) -> float:
        """How alike the two must be."""
        return 0.75 + 0.2 * min(2 * missed / self.forget, 1.0)

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


def born(number: int, pose: Pose, frame: Frame, points: KeypointSet) -> Track:
    """A person seen for the first time."""
    return Track(
        number,
        pose,
        appearance(frame.image, pose, points),
        begun=frame.index,
        last=frame.index,
        score=pose.score,
        limbs=limb_confidence(pose, points),
        origin=(pose.window.x, pose.window.y),
    )


def carried(track: Track, shift: tuple[float, float]) -> Track:
    """The track after the background has moved by `shift`, px."""
    origin = (track.origin[0] + shift[0], track.origin[1] + shift[1])
    return replace(track, pose=moved(track.pose, shift), origin=origin)


def lost(track: Track) -> Track:
    """The track after a frame in which nobody saw it: it goes on as it went, ever more slowly."""
    slower = (0.8 * track.step[0], 0.8 * track.step[1])
    return replace(track, pose=moved(track.pose, track.step), step=slower)


def seen_again(track: Track, pose: Pose, frame: Frame, points: KeypointSet) -> Track:
    """The track after a frame in which it was seen."""
    weight = 1 / min(track.seen + 1, _MEMORY)
    return replace(
        track,
        pose=pose,
        last=frame.index,
        seen=track.seen + 1,
        score=track.score + (pose.score - track.score) * weight,
        roamed=max(track.roamed, _apart(pose.window, track.origin) / pose.window.side),
        limbs=track.limbs + (limb_confidence(pose, points) - track.limbs) * weight,
        step=_stepped(track, pose, frame.index - track.last),
    )


def _stepped(track: Track, pose: Pose, lapse: int) -> tuple[float, float]:
    """The step, half of it new; after a gap, the pose was carried on by the step already."""
    across, down = pose.window.x - track.pose.window.x, pose.window.y - track.pose.window.y
    if lapse > 1:
        return (track.step[0] + across / lapse, track.step[1] + down / lapse)
    return (0.5 * (track.step[0] + across), 0.5 * (track.step[1] + down))


def _apart(window: Window, origin: tuple[float, float]) -> float:
    return math.hypot(window.x - origin[0], window.y - origin[1])


def confirmed(track: Track, pace: Pace) -> bool:
    """Whether a track is a person: with scores and limbs like a person's, and found twice, or, if it is small or in
    company (and so often missed), once and then followed for as long as between two searches."""
    missed_often = track.pose.window.side < SMALL or track.company >= COMPANY
    return convincing(track) and (track.found >= 2 or (missed_often and track.seen >= pace.search))


def convincing(track: Track) -> bool:
    """Whether the mean scores are a person's; who has not moved yet must score like a large sharp person, or nearly so
    in company."""
    side = track.pose.window.side
    large = min(max(math.log2(side / SMALL), 0.0), 1.0)
    needed, limbs = _SCORE_STILL, _LIMBS
    if track.roamed >= _ROAMED:
        needed = _SCORE_SMALL + large * (_SCORE_LARGE - _SCORE_SMALL)
    if track.company >= COMPANY and side >= SIDE_COMPANY:
        often = track.found >= _OFTEN
        needed = min(needed, _SCORE_OFTEN if often else _SCORE_COMPANY)
        limbs = _LIMBS_OFTEN if often else _LIMBS
    return track.score >= needed and track.limbs >= limbs


def in_company(people: People, now: int, pace: Pace) -> People:
    """The people, each knowing how many certain ones are seen together with it."""
    present = sum(track.last == now and _alone(track, pace) for track in people.tracks)
    tracks = (replace(t, company=max(t.company, present)) if t.last == now else t for t in people.tracks)
    return replace(people, tracks=tuple(tracks))


def _alone(track: Track, pace: Pace) -> bool:
    return confirmed(replace(track, company=0), pace)
