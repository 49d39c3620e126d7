"""The state of the tracker: one track per person, and when a track counts as a person."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import Histogram, appearance_histogram
from selfmocap.tracking.camera_motion import GreyImage
from selfmocap.tracking.detectors.detection import Detection, PersonBox, translated

SMALL_SIDE_PX = 128.0
"""Side of a window up to which a person counts as small, px."""
_MIN_SCORE, _MIN_AGREEMENT, _MIN_BELIEF = 0.85, 0.2, 0.7
"""Mean score of a person, and the sum of the mean agreement of two models and the mean score of the person detector:
real people reach 1.1 to 1.8, furniture at most 0.9."""
_MEAN_FRAMES, _MEAN_SEARCHES = 60, 20
"""Frames and searches over which these are averaged."""
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
    searches: int = 1
    """Number of searches in frames with a detection."""
    search_hits: int = 1
    """Number of searches in which the person detector saw the person too."""
    last_trusted_hit: int = -1
    """Index of the frame of the last of them while the track was confirmed; -1 before."""
    mean_box_score: float = 1.0
    """Mean over the last searches of the person detector's score, 0 where it did not see the person."""
    mean_score: float = 1.0
    """Mean over about the last 60 frames with a detection."""
    mean_agreement: float = 1.0
    """Mean over the same frames of the agreement of two models."""
    velocity: tuple[float, float] = (0.0, 0.0)
    """Last motion against the background, px per frame."""


class RejectedBox(NamedTuple):
    """A box of the person detector in which the keypoint detector found no person."""

    box: PersonBox
    times: int
    """Number of examinations."""
    search: int
    """Number of the last one."""


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
    rejected: tuple[RejectedBox, ...] = ()


@dataclass(frozen=True)
class TrackerConfig:
    """Time constants of the tracker, in frames."""

    search_interval: int
    """Frames between two searches for new people."""
    max_coast_frames: int
    """Frames for which a lost person is searched for in every frame."""
    max_age: int
    """Frames after which a lost person gets a new track when seen again."""
    min_hits: int
    """Searches that must find a person."""

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
        search_interval = min(max(round(fps / 3), 5), 10)
        return cls(
            search_interval=min(search_interval, max(frames // 4, 1)) if frames else search_interval,
            max_coast_frames=max(round(fps / 2), 4),
            max_age=max(round(4 * fps), 8),
            min_hits=min(frames, 2) if frames else 2,
        )


def activate(
    track_id: int, detection: Detection, box_score: float, frame: Frame, points: KeypointSet
) -> Track:
    """Begin a track at the first detection of a person, whom the person detector saw with a score."""
    return Track(
        track_id,
        detection,
        appearance_histogram(frame.image, detection, points),
        first_frame=frame.index,
        last_frame=frame.index,
        mean_score=detection.score,
        mean_agreement=detection.agreement,
        mean_box_score=box_score,
    )


def compensate_camera_motion(track: Track, shift: tuple[float, float]) -> Track:
    """Move a track by the shift of the background, px."""
    return replace(track, detection=translated(track.detection, shift))


def coast(track: Track) -> Track:
    """Propagate a track through a missed frame with decaying velocity."""
    velocity = (_COAST_DAMPING * track.velocity[0], _COAST_DAMPING * track.velocity[1])
    return replace(track, detection=translated(track.detection, track.velocity), velocity=velocity)


def update_track(track: Track, detection: Detection, frame: Frame, points: KeypointSet) -> Track:
    """Update a track with its detection in a frame."""
    weight = 1 / min(track.num_frames + 1, _MEAN_FRAMES)
    return replace(
        track,
        detection=detection,
        last_frame=frame.index,
        num_frames=track.num_frames + 1,
        mean_score=track.mean_score + (detection.score - track.mean_score) * weight,
        mean_agreement=track.mean_agreement + (detection.agreement - track.mean_agreement) * weight,
        velocity=_updated_velocity(track, detection, frame.index - track.last_frame),
    )


def _updated_velocity(track: Track, detection: Detection, lapse: int) -> tuple[float, float]:
    """Average the old and the new velocity; after a gap, add the error of the propagated position over the gap."""
    dx = detection.window.x - track.detection.window.x
    dy = detection.window.y - track.detection.window.y
    if lapse > 1:
        return (track.velocity[0] + dx / lapse, track.velocity[1] + dy / lapse)
    return (0.5 * (track.velocity[0] + dx), 0.5 * (track.velocity[1] + dy))


def is_confirmed(track: Track, config: TrackerConfig) -> bool:
    """Decide whether a track is a person: its scores are a person's, and enough searches found it."""
    return has_person_scores(track) and track.search_hits >= config.min_hits


def has_person_scores(track: Track) -> bool:
    """Decide whether the mean scores are a person's: models that do not know each other must see the person."""
    return (
        track.mean_score >= _MIN_SCORE
        and track.mean_agreement >= _MIN_AGREEMENT
        and track.mean_agreement + track.mean_box_score >= _MIN_BELIEF
    )


def trusted_until(track: Track, config: TrackerConfig) -> int:
    """Return the last frame that counts, -1 for none: of a track that is not a person any more, that of the last search
    that found one."""
    return track.last_frame if is_confirmed(track, config) else track.last_trusted_hit


def count_search(
    state: TrackerState, frame_index: int, box_scores: Mapping[int, float], config: TrackerConfig
) -> TrackerState:
    """Count a search for some tracks; `box_scores` are the scores with which it found them, 0 if not, by id."""
    tracks = tuple(
        _searched(t, frame_index, box_scores[t.track_id], config) if t.track_id in box_scores else t
        for t in state.tracks
    )
    return replace(state, tracks=tracks)


def _searched(track: Track, frame_index: int, box_score: float, config: TrackerConfig) -> Track:
    weight = 1 / min(track.searches + 1, _MEAN_SEARCHES)
    track = replace(
        track,
        searches=track.searches + 1,
        search_hits=track.search_hits + (box_score > 0),
        mean_box_score=track.mean_box_score + (box_score - track.mean_box_score) * weight,
    )
    trusted = box_score > 0 and is_confirmed(track, config)
    return replace(track, last_trusted_hit=frame_index) if trusted else track
