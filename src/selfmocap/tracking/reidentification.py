"""Re-identification: compare detections with tracks, update tracks, and recover lost people."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import Histogram, appearance_histogram, appearance_similarity
from selfmocap.tracking.detectors.detection import Detection, body_distance, fraction_on_mask
from selfmocap.tracking.track_state import (
    Track,
    TrackerConfig,
    TrackerState,
    activate,
    coast,
    count_search,
    update_track,
)

SAME_BODY_DISTANCE = 0.45
"""Body distance below which two detections are of one person."""
SAME_PERSON_DISTANCE = 0.35
"""Window distance below which two windows hold one person."""
_MIN_FRACTION_ON_MASK = 0.6
"""Fraction of a detection's keypoints on another person's mask above which it is a part of that person."""
REACTIVATE_SIMILARITY = 0.7
"""Appearance similarity from which a lost person may be recovered."""
SIMILARITY_MARGIN = 0.08
"""Margin by which the more similar of two lost people must win to be reactivated."""
APPEARANCE_INTERVAL = 3
"""Frames between two comparisons or updates of a tracked person's appearance."""


def track_similarity(track: Track, detection: Detection, frame: Frame, points: KeypointSet) -> float:
    """Compute the appearance similarity of a track and a detection, in [0, 1]."""
    return appearance_similarity(track.appearance, appearance_histogram(frame.image, detection, points))


def is_same_person(detection: Detection, other: Detection, points: KeypointSet) -> bool:
    """Decide whether a detection is of the other's body, or lies on its mask."""
    return (
        body_distance(detection, other, points) < SAME_BODY_DISTANCE
        or fraction_on_mask(detection, other) > _MIN_FRACTION_ON_MASK
    )


def update_or_coast(
    track: Track,
    detection: Detection | None,
    frame: Frame,
    others: Iterable[Detection],
    points: KeypointSet,
) -> Track:
    """Update a track with its detection, or let it coast; learn its appearance where no other person is near."""
    if detection is None:
        return coast(track)
    if frame.index % APPEARANCE_INTERVAL == 0 and all(
        other is detection or other.window.distance(detection.window) > 0.7 for other in others
    ):
        observed = appearance_histogram(frame.image, detection, points)
        track = replace(track, appearance=_updated_appearance(track.appearance, observed))
    return update_track(track, detection, frame, points)


def _updated_appearance(appearance: Histogram, observed: Histogram) -> Histogram:
    """Average the appearance slowly; ignore an observation that may be of another person."""
    if appearance_similarity(appearance, observed) < REACTIVATE_SIMILARITY:
        return appearance
    return (0.95 * appearance + 0.05 * observed).astype(np.float32)


def reactivate(
    state: TrackerState,
    detection: Detection,
    box_score: float,
    frame: Frame,
    points: KeypointSet,
    config: TrackerConfig,
) -> TrackerState:
    """Reactivate the lost track that is near the detection and looks like it; otherwise activate a new one.

    A new track also begins if two lost tracks look like the detection."""
    new = activate(state.next_id, detection, box_score, frame, points)
    candidates = [(-1.0, 0)]
    for track in state.tracks:
        missed = frame.index - track.last_frame
        if not 0 < missed <= config.max_age:
            continue
        if track.detection.window.distance(detection.window) < config.max_window_distance(missed):
            similarity = appearance_similarity(track.appearance, new.appearance)
            candidates.append((similarity - config.min_similarity(missed), track.track_id))
    (best, track_id), (second, _) = sorted([*candidates, (-1.0, 0)], reverse=True)[:2]
    if best < 0 or best - second < SIMILARITY_MARGIN:
        return replace(state, tracks=(*state.tracks, new), next_id=state.next_id + 1)
    tracks = tuple(
        update_or_coast(t, detection, frame, (), points) if t.track_id == track_id else t
        for t in state.tracks
    )
    state = replace(state, tracks=tracks)
    return count_search(state, frame.index, {track_id: box_score}, config)
