"""Store the tracker's detections and state on disk, one file per part of the video.

Later passes read the files, and an interrupted run is resumed after the last one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfmocap.io.npz import read_npz, write_npz
from selfmocap.tracking.detectors.detection import MASK_SIDE, Detection
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.track_state import Track, TrackerState

_COUNTS = (
    "track_id",
    "first_frame",
    "last_frame",
    "num_frames",
    "searches",
    "search_hits",
    "last_trusted_hit",
)
_MEANS = ("mean_score", "mean_agreement", "mean_box_score")


@dataclass(frozen=True, eq=False)
class TrackedDetection:
    """The detection of a tracked person in a frame."""

    frame: int
    track_id: int
    detection: Detection


@dataclass(frozen=True)
class FrameRecord:
    """A frame without its image."""

    index: int
    time: float
    corrupt: bool
    camera_offset: tuple[float, float]
    """Shift of the background since the first frame, px."""


def part_paths(folder: Path) -> list[Path]:
    """Return the files of the parts written so far, in order."""
    return sorted(folder.glob("people-*.npz"))


def write_part(
    folder: Path,
    frames: Sequence[FrameRecord],
    detections: Sequence[TrackedDetection],
    latest: Iterable[Track],
    state: TrackerState,
) -> None:
    """Write one part: its frames, their detections, the last state of each track in it, and the tracker's state."""
    latest = list(latest)
    active = {track.track_id for track in state.tracks}
    arrays = {
        "frame_index": np.array([frame.index for frame in frames]),
        "frame_times": np.array([frame.time for frame in frames]),
        "frame_corrupt": np.array([frame.corrupt for frame in frames]),
        "frame_camera_offset": np.array([frame.camera_offset for frame in frames]),
        **_columns(detections),
        "state": np.array([state.next_id, state.num_searches]),
        "state_thumbnail": np.zeros((0, 0), np.uint8) if state.thumbnail is None else state.thumbnail,
        "state_camera_offset": np.array(state.camera_offset),
        "track_active": np.array([track.track_id in active for track in latest], bool),
        "track_counts": np.array([[getattr(t, n) for n in _COUNTS] for t in latest], np.int64).reshape(
            -1, len(_COUNTS)
        ),
        "track_means": np.array([[getattr(t, n) for n in _MEANS] for t in latest]).reshape(-1, len(_MEANS)),
        "track_motion": np.array([t.velocity for t in latest]).reshape(-1, 2),
        "track_appearance": np.array([t.appearance for t in latest], np.float32),
        **_stacked("track_", [t.detection for t in latest]),
    }
    write_npz(folder / f"people-{frames[0].index:09d}.npz", arrays)


def write_backward(part: Path, detections: Sequence[TrackedDetection]) -> None:
    """Write the detections of the backward pass beside a part."""
    write_npz(_backward(part), _columns(detections))


def read_tracker_state(path: Path) -> tuple[TrackerState, list[Track]]:
    """Read the tracker's state at the end of a part, and the last state of each track in it."""
    arrays = read_npz(path)
    tracks = []
    for row, detection in enumerate(_unstacked("track_", arrays)):
        counts = dict(zip(_COUNTS, arrays["track_counts"][row].tolist(), strict=True))
        means = dict(zip(_MEANS, arrays["track_means"][row].tolist(), strict=True))
        velocity = arrays["track_motion"][row].tolist()
        tracks.append(
            Track(
                detection=detection,
                appearance=arrays["track_appearance"][row],
                velocity=(velocity[0], velocity[1]),
                **counts,
                **means,
            )
        )
    active = tuple(track for track, flag in zip(tracks, arrays["track_active"], strict=True) if flag)
    thumbnail, offset = arrays["state_thumbnail"], arrays["state_camera_offset"].tolist()
    next_id, num_searches = arrays["state"].tolist()
    thumbnail = thumbnail if thumbnail.size else None
    return TrackerState(active, next_id, num_searches, thumbnail, (offset[0], offset[1])), tracks


def read_detections(path: Path) -> list[TrackedDetection]:
    """Read the detections of a part with their masks, including those of the backward pass if it is finished."""
    result = []
    for arrays in map(read_npz, _with_backward([path])):
        rows = zip(arrays["frame"], arrays["track"], _unstacked("", arrays), strict=True)
        result += [TrackedDetection(int(frame), int(track), detection) for frame, track, detection in rows]
    return result


def read_columns(paths: Sequence[Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some arrays of all parts, concatenated; the other arrays stay on disk."""
    parts = [read_npz(path, only=set(names)) for path in paths]
    return {
        name: np.concatenate([part[name] for part in parts if len(part[name])] or [parts[0][name]])
        for name in names
    }


def read_detection_columns(paths: Sequence[Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Read some arrays of all detections, including those of the backward pass; rows are not sorted by frame."""
    return read_columns(_with_backward(paths), names)


def remove_backward(folder: Path) -> None:
    """Remove the detections of an unfinished backward pass."""
    for stale in folder.glob("backward-*.npz"):
        stale.unlink()


def _backward(part: Path) -> Path:
    return part.with_name(part.name.replace("people", "backward"))


def _with_backward(paths: Sequence[Path]) -> list[Path]:
    return [p for path in paths for p in (path, _backward(path)) if p == path or p.is_file()]


def _columns(detections: Sequence[TrackedDetection]) -> dict[str, np.ndarray]:
    return {
        "frame": np.array([d.frame for d in detections], np.int64),
        "track": np.array([d.track_id for d in detections], np.int64),
        **_stacked("", [d.detection for d in detections]),
    }


def _stacked(prefix: str, detections: Sequence[Detection]) -> dict[str, np.ndarray]:
    """Convert detections to arrays with a row per detection."""
    blank = np.zeros((MASK_SIDE, MASK_SIDE), np.uint8)
    masks = [blank if d.mask is None else d.mask for d in detections]
    return {
        f"{prefix}keypoints": np.array([d.keypoints for d in detections], np.float32),
        f"{prefix}confidence": np.array([d.confidence for d in detections], np.float32),
        f"{prefix}score": np.array([d.score for d in detections]),
        f"{prefix}window": np.array([_row(d.window) for d in detections]).reshape(-1, 4),
        f"{prefix}has_mask": np.array([d.mask is not None for d in detections], bool),
        f"{prefix}mask": np.array(masks, np.uint8).reshape(-1, MASK_SIDE, MASK_SIDE),
        f"{prefix}mask_window": np.array([_row(d.mask_window or d.window) for d in detections]).reshape(
            -1, 4
        ),
    }


def _unstacked(prefix: str, arrays: dict[str, np.ndarray]) -> list[Detection]:
    """Convert the arrays of `_stacked` to detections."""
    names = ("keypoints", "confidence", "score", "window", "has_mask", "mask", "mask_window")
    return [
        Detection(
            keypoints,
            confidence,
            float(score),
            Window(*map(float, window)),
            mask if has_mask else None,
            Window(*map(float, mask_window)) if has_mask else None,
        )
        for keypoints, confidence, score, window, has_mask, mask, mask_window in zip(
            *(arrays[f"{prefix}{name}"] for name in names), strict=True
        )
    ]


def _row(window: Window) -> tuple[float, float, float, float]:
    return window.x, window.y, window.side, window.angle
