"""Tracking pass: the first pass over a video tracks all people and writes their detections to disk, part by part."""

import functools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from selfmocap.io.files import read_json, write_json
from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Frame, InputError, Video
from selfmocap.tracking.appearance import Histogram
from selfmocap.tracking.backward_pass import track_backward
from selfmocap.tracking.camera_motion import GreyImage, grey_thumbnail
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.config import PixelBox
from selfmocap.tracking.detections_store import (
    FrameRecord,
    TrackedDetection,
    part_paths,
    read_columns,
    read_detection_columns,
    read_tracker_state,
    write_part,
)
from selfmocap.tracking.detectors.detection import Detection
from selfmocap.tracking.detectors.protocol import Detector, RoiDetector
from selfmocap.tracking.detectors.window import Window, box_overlap
from selfmocap.tracking.shots import Shot, guess_same_people, shot_starts, shots_between
from selfmocap.tracking.stitching import TrackPath, stitch_tracks
from selfmocap.tracking.track_state import Track, TrackerConfig, TrackerState, activate, trusted_until
from selfmocap.tracking.tracker import end_shot, track_frame

SHOTS_FILE = "shots.json"
"""File of the first frame of each shot."""
FRAMES_PER_PART = 64
"""Frames between two writes, the most that an interruption loses."""


@dataclass(frozen=True)
class TrackingResult:
    """The result of the tracking pass."""

    people: list[tuple[int, ...]]
    """For each person, most visible first, the ids of their tracks."""
    last_frames: dict[int, int]
    """The last frame of each track that counts."""
    frames: int
    corrupt: list[int]
    """Index of every damaged frame."""
    shots: list[Shot]
    """The shots of the video."""
    shot_of: list[int]
    """Index of each person's shot."""
    same_person: dict[int, int]
    """Index of a person, and of the person of an earlier shot whom they may be."""
    appearance: list[Histogram] = field(compare=False)
    """Appearance of each person."""
    visibility: list[float]
    """Sum of the sides of each person's windows, px, by which they are ordered."""


def track_video(
    video: Video,
    detector: Detector,
    folder: Path,
    person_box: PixelBox | None,
    watch: Stopwatch,
    progress: ProgressCallback,
) -> TrackingResult:
    """Track all people of a video, resuming after the parts that `folder` already holds.

    With a `person_box` in the first frame, only the person in it is returned. Raises InputError if there is none in the
    box."""
    with watch.stage("shots"):
        starts = find_shot_starts(video, folder, progress)
    config = TrackerConfig.for_video(video.fps, video.declared_frames)
    state, parts, first = TrackerState(), part_paths(folder), 0
    if parts:
        state = read_tracker_state(parts[-1])[0]
        first = int(read_columns(parts[-1:], ["frame_index"])["frame_index"][-1]) + 1
    frames: list[FrameRecord] = []
    detections: list[TrackedDetection] = []
    latest: dict[int, Track] = {}
    for frame in watch.timed("decode", prefetched(video.frames(first))):
        with watch.stage("detect and track"):
            if frame.index in starts[1:]:
                state = end_shot(state, video.size[0])
            state = track_frame(state, frame, detector, config)
            if frame.index == video.first_frame and person_box is not None:
                state = _with_user_person(state, frame, person_box, detector, config)
        frames.append(FrameRecord(frame.index, frame.time, frame.corrupt, state.camera_offset))
        latest |= {track.track_id: track for track in state.tracks}
        detections += [
            TrackedDetection(frame.index, t.track_id, t.detection)
            for t in state.tracks
            if t.last_frame == frame.index
        ]
        progress("detect and track", video.num_read(frame), video.declared_frames)
        if len(frames) == FRAMES_PER_PART:
            with watch.stage("write"):
                write_part(folder, frames, detections, latest.values(), state)
            frames, detections, latest = [], [], {}
    if frames:
        with watch.stage("write"):
            write_part(folder, frames, detections, latest.values(), state)
    parts = part_paths(folder)
    tracks = {track.track_id: track for part in parts for track in read_tracker_state(part)[1]}
    if isinstance(detector, RoiDetector):
        with watch.stage("track backward"):
            report = functools.partial(progress, "track backward")
            track_backward(video, folder, tracks, detector, config, report)
    return _stitched(video, parts, tracks, config, person_box, starts)


def find_shot_starts(video: Video, folder: Path, progress: ProgressCallback) -> list[int]:
    """Find the first frame of each shot; an earlier run may have stored them in `folder`."""
    path = folder / SHOTS_FILE
    if not path.exists():

        def thumbnails() -> Iterator[GreyImage]:
            for frame in prefetched(video.frames()):
                progress("shots", video.num_read(frame), video.declared_frames)
                yield grey_thumbnail(frame.image)

        write_json(path, [video.first_frame + start for start in shot_starts(thumbnails(), video.fps)])
    return read_json(path)


def _stitched(
    video: Video,
    parts: Sequence[Path],
    tracks: Mapping[int, Track],
    config: TrackerConfig,
    person_box: PixelBox | None,
    starts: list[int],
) -> TrackingResult:
    """Join the tracks of each person, on positions relative to the background."""
    columns = read_columns(parts, ["frame_index", "frame_corrupt", "frame_camera_offset"])
    detections = read_detection_columns(parts, ["frame", "track", "window"])
    last_frames = {track_id: trusted_until(track, config) for track_id, track in tracks.items()}
    paths = {}
    for track_id in tracks:
        rows = np.flatnonzero(
            (detections["track"] == track_id) & (detections["frame"] <= last_frames[track_id])
        )
        rows = rows[detections["frame"][rows].argsort()]
        frame_index, windows = detections["frame"][rows], detections["window"][rows]
        windows[:, :2] -= columns["frame_camera_offset"][frame_index - video.first_frame]
        paths[track_id] = TrackPath(frame_index, windows)
    frames = len(columns["frame_index"])
    people = stitch_tracks(tracks, paths, config, video.fps, frames)
    if person_box is not None:
        people = [chain for chain in people if chain[0] == _USER_TRACK_ID]
    corrupt = columns["frame_index"][columns["frame_corrupt"]].tolist()
    shot_of = [bisect_right(starts, int(paths[chain[0]].frames[0])) - 1 for chain in people]
    appearance = [tracks[chain[0]].appearance for chain in people]
    visibility = [sum(float(paths[n].windows[:, 2].sum()) for n in chain) for chain in people]
    same = guess_same_people(appearance, shot_of)
    shots = shots_between(starts, video.first_frame + frames)
    return TrackingResult(people, last_frames, frames, corrupt, shots, shot_of, same, appearance, visibility)


# ---- the person in the user's box -----------------------------------------------------------------------------

_USER_TRACK_ID = 0
"""Id of the track of the person in the user's box."""
_MIN_BOX_OVERLAP = 0.3
"""Intersection over union of a person's bounding box and the user's box from which the person is the one wanted."""


def _with_user_person(
    state: TrackerState, frame: Frame, box: PixelBox, detector: Detector, config: TrackerConfig
) -> TrackerState:
    """Give the person in the user's box the id _USER_TRACK_ID; begin a track there if the tracker found no person."""
    overlaps = {
        track.track_id: float(
            box_overlap(np.array(box, float), np.array([_bounding_box(track.detection)], float))[0]
        )
        for track in state.tracks
        if track.last_frame == frame.index
    }
    best = max(overlaps, key=lambda track_id: overlaps[track_id], default=None)
    if best is not None and overlaps[best] >= _MIN_BOX_OVERLAP:
        wanted = next(track for track in state.tracks if track.track_id == best)
    else:
        wanted = _activate_in_box(frame, box, detector)
    rest = tuple(track for track in state.tracks if track is not wanted)
    return replace(
        state, tracks=(replace(wanted, track_id=_USER_TRACK_ID, search_hits=config.min_hits), *rest)
    )


def _activate_in_box(frame: Frame, box: PixelBox, detector: Detector) -> Track:
    left, top, right, bottom = box
    detection = None
    if isinstance(detector, RoiDetector):
        around = Window((left + right) / 2, (top + bottom) / 2, 1.4 * max(right - left, bottom - top))
        for roi in (*detector.propose_rois(frame.image, around), around):
            detection = detection or detector.detect_in_roi(frame.image, roi)
    if detection is None:
        raise InputError(
            f"no person was found in the box {left:g} {top:g} {right:g} {bottom:g} of the first frame; "
            "give left, top, right, bottom (px) around a visible person"
        )
    return activate(_USER_TRACK_ID, detection, 1.0, frame, detector.points)


def _bounding_box(detection: Detection) -> PixelBox:
    visible = detection.keypoints[detection.confidence > VISIBLE]
    if not len(visible):
        return (0.0, 0.0, 0.0, 0.0)
    (left, top), (right, bottom) = visible.min(axis=0).tolist(), visible.max(axis=0).tolist()
    return (left, top, right, bottom)
