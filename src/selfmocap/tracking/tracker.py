"""Multi-person tracker: continue tracks from frame to frame, search for new people, end lost tracks.

Each step is a function from a state and a frame to the next state, so that a run can be resumed at any frame.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.prefetch import map_in_threads
from selfmocap.io.video import Frame
from selfmocap.tracking.appearance import Histogram, appearance_histogram, appearance_similarity
from selfmocap.tracking.camera_motion import background_shift, grey_thumbnail
from selfmocap.tracking.detectors.detection import (
    Detection,
    PersonBox,
    body_distance,
    translated,
    visible_box,
)
from selfmocap.tracking.detectors.protocol import Detector, RoiDetector
from selfmocap.tracking.detectors.window import RgbImage, Window
from selfmocap.tracking.person_search import MIN_NEW_SCORE, MIN_WINDOW_SIDE_PX, search_for_people
from selfmocap.tracking.reidentification import (
    APPEARANCE_INTERVAL,
    REACTIVATE_SIMILARITY,
    SAME_BODY_DISTANCE,
    SAME_PERSON_DISTANCE,
    SIMILARITY_MARGIN,
    reactivate,
    track_similarity,
    update_or_coast,
)
from selfmocap.tracking.track_state import (
    SMALL_SIDE_PX,
    Track,
    TrackerConfig,
    TrackerState,
    compensate_camera_motion,
    count_search,
    has_person_scores,
    is_confirmed,
)

_MAX_BODY_STEP = 0.7
"""Body distance from the expected detection in the next frame above which it is another person: real people, runners
included, stay below 0.5."""
_MIN_CONTINUED_SIMILARITY = 0.6
"""Appearance similarity below which a detection in the next frame is another person."""
_MAX_MISSED_EXTERNAL = 3
"""Frames that a detector without regions of interest may miss before a track has to be reactivated."""


def track_frame(state: TrackerState, frame: Frame, detector: Detector, config: TrackerConfig) -> TrackerState:
    """Advance the tracker by one frame; tracks with `last_frame == frame.index` have a detection in it."""
    state = _compensated(state, frame)
    if isinstance(detector, RoiDetector):
        state = track_by_roi(state, frame, detector, config)
        if _search_is_due(state, frame.index, config):
            state = search_for_people(state, frame, detector, config)
    else:
        state = _associate(state, frame, detector.detect(frame), detector.points, config)
    kept = tuple(track for track in state.tracks if _is_alive(track, frame.index, config))
    return replace(state, tracks=kept)


def end_shot(state: TrackerState, width: int) -> TrackerState:
    """End all tracks at a cut, far from all later positions; `width` is that of the frames, px."""
    offset = (state.camera_offset[0] + 10.0 * width, state.camera_offset[1])
    return replace(state, tracks=(), num_searches=0, thumbnail=None, camera_offset=offset)


def _compensated(state: TrackerState, frame: Frame) -> TrackerState:
    """Move all tracks by the camera's motion."""
    thumbnail = grey_thumbnail(frame.image)
    if state.thumbnail is None:
        return replace(state, thumbnail=thumbnail)
    windows = [track.detection.window for track in state.tracks if track.last_frame == frame.index - 1]
    width = frame.image.shape[1]
    shift = background_shift(state.thumbnail, thumbnail, width, windows)
    return replace(
        state,
        tracks=tuple(compensate_camera_motion(track, shift) for track in state.tracks),
        thumbnail=thumbnail,
        camera_offset=(state.camera_offset[0] + shift[0], state.camera_offset[1] + shift[1]),
    )


def _search_is_due(state: TrackerState, frame_index: int, config: TrackerConfig) -> bool:
    return frame_index % config.search_interval == 0 or state.num_searches == 0


def _is_alive(track: Track, frame_index: int, config: TrackerConfig) -> bool:
    missed = frame_index - track.last_frame
    if is_confirmed(track, config):
        return missed <= config.max_age
    young = track.num_frames < 3 * config.search_interval
    return missed <= config.search_interval and (has_person_scores(track) or young)


# ---- tracked people -------------------------------------------------------------------------------------------


def track_by_roi(
    state: TrackerState, frame: Frame, detector: RoiDetector, config: TrackerConfig
) -> TrackerState:
    """Continue the tracks by detecting each person in the region of interest where they are expected."""
    wanted = [t for t in state.tracks if frame.index - t.last_frame <= config.max_coast_frames]
    results = map_in_threads(lambda track: _redetect(track, frame, detector), wanted)
    detections = {t.track_id: d for t, d in zip(wanted, results, strict=True) if d is not None}
    detections = _without_duplicates(state.tracks, detections, frame.image, detector.points)
    detections = _without_identity_switches(state.tracks, detections, frame, detector.points)
    tracks = tuple(
        update_or_coast(t, detections.get(t.track_id), frame, detections.values(), detector.points)
        for t in state.tracks
    )
    return replace(state, tracks=tracks)


def _redetect(track: Track, frame: Frame, detector: RoiDetector) -> Detection | None:
    """Detect a tracked person where they are expected; failing that, in other regions near by."""
    missed = frame.index - track.last_frame
    expected = translated(track.detection, track.velocity)
    detection = detector.detect_in_roi(frame.image, expected.window)
    if detection is not None and _continues(expected, detection, missed, detector.points):
        checked = (
            missed > 1 or detection.window.side < 2 * SMALL_SIDE_PX or frame.index % APPEARANCE_INTERVAL == 0
        )
        needed = _MIN_CONTINUED_SIMILARITY if missed == 1 else REACTIVATE_SIMILARITY
        other = checked and track_similarity(track, detection, frame, detector.points) < needed
        return None if other else detection
    if missed & (missed - 1):
        return None  # At doubling intervals, so that the time for lost people is bounded.
    for roi in _other_rois(expected, frame.image, detector):
        detection = detector.detect_in_roi(frame.image, roi)
        if detection is not None and _continues(expected, detection, missed, detector.points):
            similarity = track_similarity(track, detection, frame, detector.points)
            return detection if similarity >= REACTIVATE_SIMILARITY else None
    return None


def _other_rois(expected: Detection, image: RgbImage, detector: RoiDetector) -> Iterator[Window]:
    """Yield regions of interest for a person who is not found in the expected one."""
    height, width = image.shape[:2]
    box = PersonBox._make([*visible_box(expected, width, height).tolist(), 0.0])
    if box.right > box.left and box.bottom > box.top:
        yield from detector.rois_of_box(image, box)
    around = Window(expected.window.x, expected.window.y, 1.6 * expected.window.side)
    yield from sorted(detector.propose_rois(image, around), key=expected.window.distance)


def _continues(expected: Detection, detection: Detection, missed: int, points: KeypointSet) -> bool:
    """Decide whether a detection can be the expected person, after `missed` frames."""
    reach = 1.0 + 0.15 * min(missed - 1, 6)
    near = (
        expected.window.distance(detection.window) < SAME_PERSON_DISTANCE * reach
        and detection.window.side > 0.7 * MIN_WINDOW_SIDE_PX
    )
    near = near and (missed == 1 or detection.score >= MIN_NEW_SCORE)
    return near and body_distance(expected, detection, points) < _MAX_BODY_STEP * reach


def _without_duplicates(
    tracks: Iterable[Track], detections: dict[int, Detection], image: RgbImage, points: KeypointSet
) -> dict[int, Detection]:
    """Keep one track where two ended on one body: the one with the better score of `_match_score`.

    The other person is occluded."""
    by_id = {track.track_id: track for track in tracks}
    kept = dict(detections)
    for a, b in itertools.combinations(detections, 2):
        if (
            a not in kept
            or b not in kept
            or body_distance(detections[a], detections[b], points) > SAME_BODY_DISTANCE
        ):
            continue
        scores = [_match_score(by_id[n], detections[n], image, points) for n in (a, b)]
        del kept[a if scores[0] < scores[1] else b]
    return kept


def _without_identity_switches(
    tracks: Iterable[Track], detections: dict[int, Detection], frame: Frame, points: KeypointSet
) -> dict[int, Detection]:
    """Undo identity switches: reassign a detection at the position of a lost track to that track.

    The detection's appearance must match the lost track better, by a margin, than the track that it was assigned to."""
    by_id, kept = {track.track_id: track for track in tracks}, dict(detections)
    for lost in tracks:
        for track_id, detection in list(kept.items()):
            distance = lost.detection.window.distance(detection.window)
            if lost.track_id in kept or distance > SAME_PERSON_DISTANCE:
                continue
            similarity = track_similarity(lost, detection, frame, points)
            other = track_similarity(by_id[track_id], detection, frame, points)
            if similarity > max(REACTIVATE_SIMILARITY, other + SIMILARITY_MARGIN):
                kept[lost.track_id] = kept.pop(track_id)
    return kept


def _match_score(track: Track, detection: Detection, image: RgbImage, points: KeypointSet) -> float:
    """Score a match: higher for similar appearance, small distance from the expected position, and long tracks."""
    expected = translated(track.detection, track.velocity)
    similarity = appearance_similarity(track.appearance, appearance_histogram(image, detection, points))
    return (
        similarity - 0.5 * body_distance(expected, detection, points) + 0.1 * min(track.num_frames, 60) / 60
    )


# ---- detectors without regions of interest --------------------------------------------------------------------


def _associate(
    state: TrackerState,
    frame: Frame,
    detections: list[Detection],
    points: KeypointSet,
    config: TrackerConfig,
) -> TrackerState:
    """Assign detections to tracks by distance and appearance (Hungarian method).

    Other detections reactivate lost tracks or begin new ones."""
    from scipy.optimize import linear_sum_assignment

    observed = [appearance_histogram(frame.image, detection, points) for detection in detections]
    cost = np.array(
        [
            [_association_cost(t, d, a, frame, points) for d, a in zip(detections, observed, strict=True)]
            for t in state.tracks
        ]
    )
    pairs = zip(*linear_sum_assignment(np.minimum(cost, 10.0)), strict=True) if cost.size else ()
    assigned = {int(row): int(column) for row, column in pairs if math.isfinite(cost[row, column])}
    tracks = []
    for row, track in enumerate(state.tracks):
        detection = detections[assigned[row]] if row in assigned else None
        tracks.append(update_or_coast(track, detection, frame, detections, points))
    state = replace(state, tracks=tuple(tracks))
    present = {t.track_id: 1.0 for t in tracks if t.last_frame == frame.index}
    state = count_search(replace(state, num_searches=state.num_searches + 1), frame.index, present, config)
    for column, detection in enumerate(detections):
        if column not in assigned.values():
            state = reactivate(state, detection, 1.0, frame, points, config)
    return state


def _association_cost(
    track: Track, detection: Detection, observed: Histogram, frame: Frame, points: KeypointSet
) -> float:
    """Add body distance and appearance dissimilarity; infinite for an impossible match or a track lost for too long."""
    missed = frame.index - track.last_frame
    distance = body_distance(translated(track.detection, track.velocity), detection, points)
    if missed > _MAX_MISSED_EXTERNAL or distance > 1.2 + 0.3 * (missed - 1):
        return math.inf
    similarity = appearance_similarity(track.appearance, observed)
    return math.inf if missed > 1 and similarity < REACTIVATE_SIMILARITY else distance + 1.0 - similarity
