"""Backward tracking: track confirmed people backwards in time from their first detection, and from the first one after
each gap.

Small people and people in groups are often detected late, and people who were hidden are found again late, although a
model given the right region of interest would have detected them earlier.
"""

import functools
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from selfmocap.io.prefetch import prefetched
from selfmocap.io.video import Frame, Video
from selfmocap.tracking.appearance import appearance_similarity
from selfmocap.tracking.detections_store import (
    TrackedDetection,
    part_paths,
    read_columns,
    read_detections,
    remove_backward,
    write_backward,
)
from selfmocap.tracking.detectors.protocol import RoiDetector
from selfmocap.tracking.reidentification import REACTIVATE_SIMILARITY, is_same_person, track_similarity
from selfmocap.tracking.track_state import (
    Track,
    TrackerConfig,
    TrackerState,
    compensate_camera_motion,
    trusted_until,
)
from selfmocap.tracking.tracker import track_by_roi

_MAX_BACKWARD_FRAMES, _MAX_BACKWARD_BYTES = 64, 1 << 27
"""Frames that a track is extended by at most, and memory that their images may take."""
_MAX_MISSED_FRAMES = 3
"""Frames without a detection after which a track is not extended any further."""
_MAX_SHARED_FRAMES = 3
"""Frames in which an extended track may share the body of an earlier one that looks like it, so that stitching joins
them. On the body of any other person, the extension ends."""
_MIN_FRAMES = 3
"""Frames that a track must have to be extended."""


@dataclass(frozen=True, eq=False)
class _ForwardPass:
    """The results of the forward pass."""

    parts: Sequence[Path]
    camera_offset: Mapping[int, Sequence[float]]
    """Shift of the background since the first frame, px, by frame."""

    @functools.cached_property
    def first_frames(self) -> list[int]:
        """The first frame of each part."""
        return [int(read_columns([part], ["frame_index"])["frame_index"][0]) for part in self.parts]

    def part_with(self, frame: int) -> int:
        """Return the index of the part that holds a frame."""
        return bisect_right(self.first_frames, frame) - 1

    def detections_in(self, frame: int) -> list[TrackedDetection]:
        """Return the detections of a frame."""
        return self._detections_by_frame(self.part_with(frame)).get(frame, [])

    @functools.cached_property
    def _detections_by_frame(self) -> Callable[[int], dict[int, list[TrackedDetection]]]:
        """A function that reads a part; the last three parts are cached."""

        @functools.lru_cache(maxsize=3)
        def by_frame(part: int) -> dict[int, list[TrackedDetection]]:
            result: dict[int, list[TrackedDetection]] = {}
            for detection in read_detections(self.parts[part]):
                result.setdefault(detection.frame, []).append(detection)
            return result

        return by_frame


def track_backward(
    video: Video,
    folder: Path,
    tracks: Mapping[int, Track],
    detector: RoiDetector,
    config: TrackerConfig,
    progress: Callable[[int, int], None],
) -> None:
    """Extend every confirmed track backwards from its first frame and into its gaps; write the detections beside the
    parts.

    Frames are decoded again only up to the last frame from which a track is extended. A marker file in `folder` records
    that the pass is finished."""
    parts, finished = part_paths(folder), folder / "backward-finished"
    if finished.exists():
        return
    remove_backward(folder)
    columns = read_columns(parts, ["frame_index", "frame_camera_offset"])
    offsets = zip(columns["frame_index"].tolist(), columns["frame_camera_offset"].tolist(), strict=True)
    forward = _ForwardPass(parts, dict(offsets))
    confirmed = {
        n: t for n, t in tracks.items() if trusted_until(t, config) >= 0 and t.num_frames >= _MIN_FRAMES
    }
    beginning = _beginning_tracks(parts, confirmed)
    starts = deque(sorted(frame for frame in beginning if frame > video.first_frame))
    image_bytes = 3 * video.size[0] * video.size[1]
    max_frames = max(min(_MAX_BACKWARD_FRAMES, _MAX_BACKWARD_BYTES // image_bytes), 2)
    buffer: deque[Frame] = deque(maxlen=max_frames)
    extensions: dict[int, list[TrackedDetection]] = {}
    for frame in prefetched(video.frames(max(starts[0] - max_frames, 0))) if starts else ():
        if frame.index == starts[0]:
            detections = {d.track_id: d.detection for d in forward.detections_in(starts.popleft())}
            new = [replace(confirmed[n], detection=detections[n]) for n in beginning[frame.index]]
            for detection in _extended(
                new, frame.index, reversed(buffer), forward, confirmed, detector, config
            ):
                extensions.setdefault(forward.part_with(detection.frame), []).append(detection)
            done = [part for part in extensions if part < forward.part_with(frame.index - max_frames)]
            for part in done:
                write_backward(parts[part], extensions.pop(part))
        if not starts:
            break
        if frame.index >= starts[0] - max_frames:
            buffer.append(frame)
        progress(frame.index + 1, starts[-1])
    for part, detections in extensions.items():
        write_backward(parts[part], detections)
    finished.touch()


def _beginning_tracks(parts: Sequence[Path], tracks: Iterable[int]) -> dict[int, list[int]]:
    """Return the tracks that have a detection in a frame and none in the frame before, by that frame."""
    columns = read_columns(parts, ["frame", "track"])
    beginning: dict[int, list[int]] = {}
    for track_id in tracks:
        frames = np.sort(columns["frame"][columns["track"] == track_id])
        for frame in frames[np.diff(frames, prepend=-2) > 1].tolist():
            beginning.setdefault(frame, []).append(track_id)
    return beginning


def _extended(
    tracks: Iterable[Track],
    first_frame: int,
    earlier_frames: Iterable[Frame],
    forward: _ForwardPass,
    confirmed: Mapping[int, Track],
    detector: RoiDetector,
    config: TrackerConfig,
) -> list[TrackedDetection]:
    """Track people who begin in one frame through the earlier frames, the last of these first, as far as their former
    detections.

    The tracker runs on negated frame indices, so that time increases for it."""
    config = replace(config, max_coast_frames=_MAX_MISSED_FRAMES)
    state = TrackerState(tuple(replace(t, last_frame=-first_frame, velocity=(0.0, 0.0)) for t in tracks))
    shared = dict.fromkeys((t.track_id for t in state.tracks), 0)
    result = []
    for frame in earlier_frames:
        shift = np.subtract(forward.camera_offset[frame.index], forward.camera_offset[frame.index + 1])
        if np.abs(shift).max() > frame.image.shape[1]:
            break  # A scene cut.
        dx, dy = shift.tolist()
        mirrored = replace(frame, index=-frame.index)
        others = [d for d in forward.detections_in(frame.index) if d.track_id in confirmed]
        detected = {d.track_id for d in others}
        moved = [compensate_camera_motion(t, (dx, dy)) for t in state.tracks if t.track_id not in detected]
        state = track_by_roi(replace(state, tracks=tuple(moved)), mirrored, detector, config)
        for track in (t for t in state.tracks if t.last_frame == mirrored.index):
            same_body = [
                confirmed[d.track_id]
                for d in others
                if is_same_person(track.detection, d.detection, detector.points)
            ]
            joinable = all(
                other.last_frame < first_frame
                and appearance_similarity(track.appearance, other.appearance) >= config.min_similarity(0)
                for other in same_body
            )
            similar = (
                track_similarity(track, track.detection, frame, detector.points) >= REACTIVATE_SIMILARITY
            )
            shared[track.track_id] += bool(same_body) if similar and joinable else _MAX_SHARED_FRAMES + 1
            if shared[track.track_id] <= _MAX_SHARED_FRAMES:
                result.append(TrackedDetection(frame.index, track.track_id, track.detection))
        active = [
            t
            for t in state.tracks
            if shared[t.track_id] <= _MAX_SHARED_FRAMES
            and mirrored.index - t.last_frame <= _MAX_MISSED_FRAMES
        ]
        state = replace(state, tracks=tuple(active))
        if not active:
            break
    return result
