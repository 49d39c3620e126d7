"""The state of the tracker: one track per person, and when a track counts as a person."""

import math
from dataclasses import dataclass, replace

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import Histogram, appearance_histogram
from selfmocap.tracking.camera_motion import GreyImage
from selfmocap.tracking.detectors.detection import Detection, limb_confidence, translated
from selfmocap.tracking.detectors.window import Window

SMALL_SIDE_PX = 128.0
"""Side of a window up to which a person counts as small, px."""
_MIN_SCORE_SMALL, _MIN_SCORE_LARGE, _MIN_SCORE_STATIC, _MIN_LIMB_CONFIDENCE = 0.88, 0.94, 0.96, 0.52
"""Mean scores of a person who has moved, in windows of up to 128 px and from 256 px on, and of one who has not; mean
limb confidence. Large people score 0.99, people of 100 px height 0.95, false detections 0.8 to 0.93."""
CROWD_SIZE, _MIN_SCORE_CROWD, CROWD_MIN_SIDE_PX = 3, 0.89, 96.0
"""People in a frame from which it counts as a crowd. There, a person who has not moved may have this lower score in a
window of at least this side: people in crowds occlude each other, and false detections are smaller."""
_REPEATED_HITS, _MIN_SCORE_REPEATED, _MIN_LIMB_CONFIDENCE_REPEATED = 4, 0.85, 0.45
"""In a crowd, after this many searches that found a track independently, this score and limb confidence suffice."""
_MIN_DISPLACEMENT = 0.4
"""Displacement against the background, in sides of the window, from which a person counts as having moved."""
_MEAN_FRAMES = 60
"""Frames over which scores are averaged."""
_COAST_DAMPING = 0.8
"""Factor on the velocity of a lost track in each frame."""


@dataclass(frozen=True, eq=False)
class Track:
    """One tracked person."""

    track_id: int
    detection: Detection
    """The last detection, moved by the camera's motion and, while the person is lost, by the track's velocity."""
    appearance: Histogram
    first_frame: int
    """Index of the first frame."""
    last_frame: int
    """Index of the last frame with a detection."""
    num_frames: int = 1
    """Number of frames with a detection."""
    search_hits: int = 1
    """Number of searches that found the person independently of the track."""
    mean_score: float = 1.0
    """Mean over about the last 60 frames with a detection."""
    mean_limb_confidence: float = 1.0
    """Mean over the same frames."""
    max_displacement: float = 0.0
    """Largest distance of the window from where it began, in sides of the window."""
    origin: tuple[float, float] = (0.0, 0.0)
    """Position of the first window, moved by the camera's motion, px."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Last motion against the background, px per frame."""
    crowd_size: int = 0
    """Largest number of confirmed people in a frame with this person."""

    @property
    def in_crowd(self) -> bool:
        """True if the person was in a crowd."""
        return self.crowd_size >= CROWD_SIZE


@dataclass(frozen=True, eq=False)
class TrackerState:
    """The state of the tracker between two frames."""

    tracks: tuple[Track, ...] = ()
    next_id: int = 1
    num_searches: int = 0
    thumbnail: GreyImage | None = None
    """The last frame, small and grey."""
    camera_offset: tuple[float, float] = (0.0, 0.0)
    """Shift of the background since the first frame, px."""


@dataclass(frozen=True)
class TrackerConfig:
    """Time constants of the tracker, in frames."""

    search_interval: int
    """Frames between two searches for new people."""
    max_coast_frames: int
    """Frames for which a lost person is searched for in every frame."""
    max_age: int
    """Frames after which a lost person gets a new track when seen again."""

    def max_missed_frames(self, track: Track) -> int:
        """Return the frames after which a lost person is dropped: fewer in crowds, where many look and move alike."""
        return self.max_coast_frames // 2 if track.in_crowd else self.max_age

    def max_window_distance(self, missed: int) -> float:
        """Return the largest distance of the windows of a person lost for `missed` frames and of a candidate."""
        return 0.35 + 0.35 * min(2 * missed / self.max_age, 1.0)

    def min_similarity(self, missed: int) -> float:
        """Return the least appearance similarity of a person lost for `missed` frames and a candidate."""
        return 0.75 + 0.2 * min(2 * missed / self.max_age, 1.0)

    @classmethod
    def for_video(cls, fps: float, frames: int) -> "TrackerConfig":
        """Choose the time constants for a video with about `frames` frames (0 if unknown).

        A short video is searched more often, since a person must be found twice."""
        search_interval = min(max(round(fps / 2), 3), 15)
        return cls(
            search_interval=min(search_interval, max(frames // 4, 1)) if frames else search_interval,
            max_coast_frames=max(round(fps / 2), 4),
            max_age=max(round(4 * fps), 8),
        )


def activate(track_id: int, detection: Detection, frame: Frame, points: KeypointSet) -> Track:
    """Begin a track at the first detection of a person."""
    return Track(
        track_id,
        detection,
        appearance_histogram(frame.image, detection, points),
        first_frame=frame.index,
        last_frame=frame.index,
        mean_score=detection.score,
        mean_limb_confidence=limb_confidence(detection, points),
        origin=(detection.window.x, detection.window.y),
    )


def compensate_camera_motion(track: Track, shift: tuple[float, float]) -> Track:
    """Move a track by the shift of the background, px."""
    origin = (track.origin[0] + shift[0], track.origin[1] + shift[1])
    return replace(track, detection=translated(track.detection, shift), origin=origin)


def coast(track: Track) -> Track:
    """Propagate a track through a missed frame with decaying velocity."""
    velocity = (_COAST_DAMPING * track.velocity[0], _COAST_DAMPING * track.velocity[1])
    return replace(track, detection=translated(track.detection, track.velocity), velocity=velocity)


def update_track(track: Track, detection: Detection, frame: Frame, points: KeypointSet) -> Track:
    """Update a track with its detection in a frame."""
    weight = 1 / min(track.num_frames + 1, _MEAN_FRAMES)
    displacement = _distance(detection.window, track.origin) / detection.window.side
    limbs = limb_confidence(detection, points)
    return replace(
        track,
        detection=detection,
        last_frame=frame.index,
        num_frames=track.num_frames + 1,
        mean_score=track.mean_score + (detection.score - track.mean_score) * weight,
        max_displacement=max(track.max_displacement, displacement),
        mean_limb_confidence=track.mean_limb_confidence + (limbs - track.mean_limb_confidence) * weight,
        velocity=_updated_velocity(track, detection, frame.index - track.last_frame),
    )


def _updated_velocity(track: Track, detection: Detection, lapse: int) -> tuple[float, float]:
    """Average the old and the new velocity; after a gap, add the error of the propagated position over the gap."""
    dx = detection.window.x - track.detection.window.x
    dy = detection.window.y - track.detection.window.y
    if lapse > 1:
        return (track.velocity[0] + dx / lapse, track.velocity[1] + dy / lapse)
    return (0.5 * (track.velocity[0] + dx), 0.5 * (track.velocity[1] + dy))


def _distance(window: Window, origin: tuple[float, float]) -> float:
    return math.hypot(window.x - origin[0], window.y - origin[1])


def is_confirmed(track: Track, config: TrackerConfig) -> bool:
    """Decide whether a track is a person: its scores are a person's, and two searches found it.

    For small people and in crowds, where searches often miss people, one search and a track as long as a search
    interval suffice."""
    often_missed = track.detection.window.side < SMALL_SIDE_PX or track.in_crowd
    return has_person_scores(track) and (
        track.search_hits >= 2 or (often_missed and track.num_frames >= config.search_interval)
    )


def has_person_scores(track: Track) -> bool:
    """Decide whether the mean scores are a person's.

    A person who has not moved needs the score of a large sharp person, or a little less in a crowd."""
    side = track.detection.window.side
    large = min(max(math.log2(side / SMALL_SIDE_PX), 0.0), 1.0)
    min_score, min_limbs = _MIN_SCORE_STATIC, _MIN_LIMB_CONFIDENCE
    if track.max_displacement >= _MIN_DISPLACEMENT:
        min_score = _MIN_SCORE_SMALL + large * (_MIN_SCORE_LARGE - _MIN_SCORE_SMALL)
    if track.in_crowd and side >= CROWD_MIN_SIDE_PX:
        repeated = track.search_hits >= _REPEATED_HITS
        min_score = min(min_score, _MIN_SCORE_REPEATED if repeated else _MIN_SCORE_CROWD)
        min_limbs = _MIN_LIMB_CONFIDENCE_REPEATED if repeated else _MIN_LIMB_CONFIDENCE
    return track.mean_score >= min_score and track.mean_limb_confidence >= min_limbs


def with_crowd_sizes(state: TrackerState, frame_index: int, config: TrackerConfig) -> TrackerState:
    """Update the crowd sizes of the tracks with a detection in a frame.

    Only people who are confirmed without the crowd rules count."""
    present = sum(
        track.last_frame == frame_index and is_confirmed(replace(track, crowd_size=0), config)
        for track in state.tracks
    )
    tracks = (
        replace(t, crowd_size=max(t.crowd_size, present)) if t.last_frame == frame_index else t
        for t in state.tracks
    )
    return replace(state, tracks=tuple(tracks))
