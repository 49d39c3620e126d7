"""The tracker's findings on disk, one file a window of frames: what the next stages read, and where a run that was
interrupted goes on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selfmocap.io.npz import read_npz, write_npz
from selfmocap.tracking.detectors.detection import MASK_SIDE, Pose
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.track_state import People, Track

_COUNTS = ("number", "begun", "last", "seen", "found", "company")
_MEANS = ("score", "limbs", "roamed")


@dataclass(frozen=True, eq=False)
class Sighting:
    """One person of one frame."""

    frame: int
    track: int
    pose: Pose


@dataclass(frozen=True)
class Stamp:
    """A frame without its picture."""

    index: int
    time: float
    corrupt: bool
    drift: tuple[float, float]
    """How far the background has moved since the first frame, px."""


def part_paths(folder: Path) -> list[Path]:
    """The files of the windows so far, in order."""
    return sorted(folder.glob("people-*.npz"))


def write_part(
    folder: Path,
    frames: Sequence[Stamp],
    sightings: Sequence[Sighting],
    latest: Iterable[Track],
    people: People,
) -> None:
    """Writes one window: its frames, who was seen, the latest of every track in it, and the tracker's state."""
    latest = list(latest)
    alive = {track.number for track in people.tracks}
    arrays = {
        "frame_index": np.array([frame.index for frame in frames]),
        "frame_times": np.array([frame.time for frame in frames]),
        "frame_corrupt": np.array([frame.corrupt for frame in frames]),
        "frame_drift": np.array([frame.drift for frame in frames]),
        **_columns(sightings),
        "state": np.array([people.next_number, people.searches]),
        "state_view": np.zeros((0, 0), np.uint8) if people.view is None else people.view,
        "state_drift": np.array(people.drift),
        "track_alive": np.array([track.number in alive for track in latest], bool),
        "track_counts": np.array([[getattr(t, n) for n in _COUNTS] for t in latest], np.int64).reshape(
            -1, len(_COUNTS)
        ),
        "track_means": np.array([[getattr(t, n) for n in _MEANS] for t in latest]).reshape(-1, len(_MEANS)),
        "track_steps": np.array([[*t.step, *t.origin] for t in latest]).reshape(-1, 4),
        "track_colours": np.array([t.colours for t in latest], np.float32),
        **_stacked("track_", [t.pose for t in latest]),
    }
    write_npz(folder / f"people-{frames[0].index:09d}.npz", arrays)


def write_earlier(part: Path, sightings: Sequence[Sighting]) -> None:
    """Writes, beside a window, who was seen in it by looking back."""
    write_npz(_earlier(part), _columns(sightings))


def read_people(path: Path) -> tuple[People, list[Track]]:
    """The tracker's state at the end of a window, and the latest of every track in it."""
    arrays = read_npz(path)
    tracks = []
    for row, pose in enumerate(_unstacked("track_", arrays)):
        counts = dict(zip(_COUNTS, arrays["track_counts"][row].tolist(), strict=True))
        means = dict(zip(_MEANS, arrays["track_means"][row].tolist(), strict=True))
        x, y, left, top = arrays["track_steps"][row].tolist()
        colours = arrays["track_colours"][row]
        tracks.append(Track(pose=pose, colours=colours, origin=(left, top), step=(x, y), **counts, **means))
    alive = tuple(track for track, lives in zip(tracks, arrays["track_alive"], strict=True) if lives)
    view, drift = arrays["state_view"], arrays["state_drift"].tolist()
    number, searches = arrays["state"].tolist()
    return People(alive, number, searches, view if view.size else None, (drift[0], drift[1])), tracks


def read_sightings(path: Path) -> list[Sighting]:
    """Who was seen in a window, masks included; by looking back, too, once that is done."""
    found = []
    for arrays in map(read_npz, _with_earlier([path])):
        poses = zip(arrays["frame"], arrays["track"], _unstacked("", arrays), strict=True)
        found += [Sighting(int(frame), int(track), pose) for frame, track, pose in poses]
    return found


def read_columns(paths: Sequence[Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Some arrays of all windows, joined; masks stay on disk."""
    parts = [read_npz(path, only=set(names)) for path in paths]
    return {
        name: np.concatenate([part[name] for part in parts if len(part[name])] or [parts[0][name]])
        for name in names
    }


def read_sighted(paths: Sequence[Path], names: Sequence[str]) -> dict[str, np.ndarray]:
    """`read_columns` of who was seen, by looking back too; frames do not come in order."""
    return read_columns(_with_earlier(paths), names)


def _earlier(part: Path) -> Path:
    return part.with_name(part.name.replace("people", "earlier"))


def _with_earlier(paths: Sequence[Path]) -> list[Path]:
    return [p for path in paths for p in (path, _earlier(path)) if p == path or p.is_file()]


def _columns(sightings: Sequence[Sighting]) -> dict[str, np.ndarray]:
    return {
        "frame": np.array([s.frame for s in sightings], np.int64),
        "track": np.array([s.track for s in sightings], np.int64),
        **_stacked("", [s.pose for s in sightings]),
    }


def _stacked(prefix: str, poses: Sequence[Pose]) -> dict[str, np.ndarray]:
    blank = np.zeros((MASK_SIDE, MASK_SIDE), np.uint8)
    masks = [blank if pose.mask is None else pose.mask for pose in poses]
    return {
        f"{prefix}keypoints": np.array([pose.keypoints for pose in poses], np.float32),
        f"{prefix}confidence": np.array([pose.confidence for pose in poses], np.float32),
        f"{prefix}score": np.array([pose.score for pose in poses]),
        f"{prefix}window": np.array([_numbers(pose.window) for pose in poses]).reshape(-1, 4),
        f"{prefix}masked": np.array([pose.mask is not None for pose in poses], bool),
        f"{prefix}mask": np.array(masks, np.uint8).reshape(-1, MASK_SIDE, MASK_SIDE),
        f"{prefix}mask_window": np.array(
            [_numbers(pose.mask_window or pose.window) for pose in poses]
        ).reshape(-1, 4),
    }


def _unstacked(prefix: str, arrays: dict[str, np.ndarray]) -> list[Pose]:
    names = ("keypoints", "confidence", "score", "window", "masked", "mask", "mask_window")
    return [
        Pose(
            keypoints,
            confidence,
            float(score),
            Window(*map(float, window)),
            mask if masked else None,
            Window(*map(float, mask_window)) if masked else None,
        )
        for keypoints, confidence, score, window, masked, mask, mask_window in zip(
            *(arrays[f"{prefix}{name}"] for name in names), strict=True
        )
    ]


def _numbers(window: Window) -> tuple[float, float, float, float]:
    return window.x, window.y, window.side, window.angle
