"""First pass over a video: everybody is followed; what is seen goes to disk, window by window."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from selfmocap.io.prefetch import prefetched
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stopwatch import Stopwatch
from selfmocap.io.video import Frame, InputError, Video
from selfmocap.tracking.backward_pass import look_back
from selfmocap.tracking.detections_store import (
    Sighting,
    Stamp,
    part_paths,
    read_columns,
    read_people,
    read_sighted,
    write_part,
)
from selfmocap.tracking.detectors.detection import Pose
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.stitching import Path2D, people_of
from selfmocap.tracking.track_state import Pace, People, Track, born
from selfmocap.tracking.tracker import follow

WINDOW = 64
"""Frames between two writes; what an interruption loses at most."""


Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Followed:
    """What the first pass found."""

    people: list[tuple[int, ...]]
    """For each person, most visible first, the tracks that it is made of."""
    frames: int
    corrupt: list[int]
    """Index of every frame that is damaged."""


def follow_video(
    video: Video,
    detector: Detector,
    folder: Path,
    person_box: Box | None,
    watch: Stopwatch,
    progress: ProgressCallback,
) -> Followed:
    """Follows everybody through the video, going on after the windows that `folder` already holds."""
    pace, people, parts = Pace.at(video.fps, video.declared_frames), People(), part_paths(folder)
    first = 0
    if parts:
        people = read_people(parts[-1])[0]
        first = int(read_columns(parts[-1:], ["frame_index"])["frame_index"][-1]) + 1
    stamps: list[Stamp] = []
    sightings: list[Sighting] = []
    latest: dict[int, Track] = {}
    for frame in watch.each("decode", prefetched(video.frames(first))):
        with watch.stage("detect and follow"):
            people = follow(people, frame, detector, pace)
            if frame.index == 0 and person_box is not None:
                people = _with_chosen(people, frame, person_box, detector)
        stamps.append(Stamp(frame.index, frame.time, frame.corrupt, people.drift))
        latest |= {track.number: track for track in people.tracks}
        sightings += [Sighting(frame.index, t.number, t.pose) for t in people.tracks if t.last == frame.index]
        progress("detect and follow", frame.index + 1, video.declared_frames)
        if len(stamps) == WINDOW:
            with watch.stage("write"):
                write_part(folder, stamps, sightings, latest.values(), people)
            stamps, sightings, latest = [], [], {}
    if stamps:
        with watch.stage("write"):
            write_part(folder, stamps, sightings, latest.values(), people)
    parts = part_paths(folder)
    tracks = {track.number: track for part in parts for track in read_people(part)[1]}
    if detector.follows:
        with watch.stage("look back"):
            look_back(video, folder, tracks, detector, pace, functools.partial(progress, "look back"))
    return _linked(video, parts, tracks, pace, person_box)


def _linked(
    video: Video, parts: Sequence[Path], tracks: Mapping[int, Track], pace: Pace, person_box: Box | None
) -> Followed:
    columns = read_columns(parts, ["frame_index", "frame_corrupt", "frame_drift"])
    sighted = read_sighted(parts, ["frame", "track", "window"])
    paths = {}
    for number in tracks:
        rows = np.flatnonzero(sighted["track"] == number)
        rows = rows[sighted["frame"][rows].argsort()]
        when, windows = sighted["frame"][rows], sighted["window"][rows]
        windows[:, :2] -= columns["frame_drift"][when]
        paths[number] = Path2D(when, windows)
    frames = len(columns["frame_index"])
    people = people_of(tracks, paths, pace, video.fps, frames)
    if person_box is not None:
        people = [chain for chain in people if chain[0] == _CHOSEN]
    if not people:
        raise InputError(
            f"{video.path}: nobody is seen for long enough in its {frames} frames to be followed"
        )
    corrupt = columns["frame_index"][columns["frame_corrupt"]].tolist()
    return Followed(people, frames, corrupt)


# ---- the person whom the user points at -----------------------------------------------------------------------

_CHOSEN = 0
"""Number of the track of the person whom the user pointed at."""


def _with_chosen(people: People, frame: Frame, box: Box, detector: Detector) -> People:
    """The same people, the one in the user's box being number _CHOSEN; begun there if nobody was found."""
    scores = {
        track.number: _overlap(_bounds(track.pose), box)
        for track in people.tracks
        if track.last == frame.index
    }
    best = max(scores, key=lambda number: scores[number], default=None)
    if best is not None and scores[best] >= 0.3:
        chosen = next(track for track in people.tracks if track.number == best)
    else:
        chosen = _begun(frame, box, detector)
    rest = tuple(track for track in people.tracks if track is not chosen)
    return replace(people, tracks=(replace(chosen, number=_CHOSEN, found=2), *rest))


def _begun(frame: Frame, box: Box, detector: Detector) -> Track:
    left, top, right, bottom = box
    pose = None
    if detector.follows:
        around = Window((left + right) / 2, (top + bottom) / 2, 1.4 * max(right - left, bottom - top))
        for window in (*detector.search(frame.image, around), around):
            pose = pose or detector.look(frame.image, window)
    if pose is None:
        raise InputError(
            f"nobody is found in the box {left:g} {top:g} {right:g} {bottom:g} of the first frame"
        )
    return born(_CHOSEN, pose, frame, detector.points)


def _bounds(pose: Pose) -> Box:
    seen = pose.keypoints[pose.confidence > 0.3]
    if not len(seen):
        return (0.0, 0.0, 0.0, 0.0)
    (left, top), (right, bottom) = seen.min(axis=0).tolist(), seen.max(axis=0).tolist()
    return (left, top, right, bottom)


def _overlap(a: Box, b: Box) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return common / max(areas - common, 1e-9)
