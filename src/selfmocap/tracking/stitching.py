"""Track stitching: join the tracks of one person, remove duplicates, and sort people by how visible they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high

import numpy as np
from jaxtyping import Float, Int

from selfmocap.tracking.appearance import appearance_similarity
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.track_state import Track, TrackerConfig, trusted_until

_DUPLICATE_DISTANCE = 0.45
"""Median window distance over the common frames below which two tracks are of one person, outside crowds."""
_STRICT_DUPLICATE_DISTANCE = 0.2
"""Stricter distance in crowds, and for a track that may continue another: neighbours are farther apart."""
_DUPLICATE_FRACTION = 0.7
"""Fraction of a track's frames that it must share with another one to be its duplicate."""
_MIN_TRACK_S = 0.5
_TINY_FRACTION, _MIN_TINY_TRACK_S = 0.35, 5.0
"""A person whose window is smaller than this fraction of the median person's must be tracked for this long: people
detected in the legs of a table are small and soon lost."""


@dataclass(frozen=True, eq=False)
class TrackPath:
    """The windows of a track over time."""

    frames: Int[np.ndarray, " time"]
    windows: Float[np.ndarray, "time 4"]
    """x, y (px, relative to the background of the first frame), side, angle."""

    def at(self, row: int) -> Window:
        """Return the window of a row."""
        return Window(*map(float, self.windows[row]))


def min_track_frames(fps: float, frames: int) -> int:
    """Return the least number of frames of a person's track: half a second, or half of a shorter video."""
    return min(max(round(_MIN_TRACK_S * fps), 3), max(frames // 2, 1))


def stitch_tracks(
    tracks: Mapping[int, Track],
    paths: Mapping[int, TrackPath],
    config: TrackerConfig,
    fps: float,
    frames: int,
) -> list[tuple[int, ...]]:
    """Return the people of a video with `frames` frames as the ids of their tracks, the most visible person first.

    A track that ends where another begins and looks like it is continued by that one. In crowds, where many look alike,
    the two must also overlap in time. Of two tracks of one body the shorter is removed."""
    shortest = min_track_frames(fps, frames)
    real = [
        n for n, t in tracks.items() if trusted_until(t, config) >= 0 and len(paths[n].frames) >= shortest
    ]
    sides = {n: float(np.median(paths[n].windows[:, 2])) for n in real}
    tiny = _TINY_FRACTION * (median_high(sides.values()) if sides else 0.0)
    real = [n for n in real if sides[n] > tiny or len(paths[n].frames) >= _MIN_TINY_TRACK_S * fps]
    real = remove_duplicate_tracks(sorted(real, key=lambda n: -len(paths[n].frames)), tracks, paths)
    chains: list[tuple[int, ...]] = []
    for track_id in sorted(real, key=lambda n: int(paths[n].frames[0])):
        earlier = [c for c in chains if _continues(c[-1], track_id, tracks, paths, config)]
        if earlier:
            appearance = tracks[track_id].appearance
            best = max(earlier, key=lambda c: appearance_similarity(tracks[c[-1]].appearance, appearance))
            chains[chains.index(best)] = (*best, track_id)
        else:
            chains.append((track_id,))
    return sorted(chains, key=lambda chain: -sum(float(paths[n].windows[:, 2].sum()) for n in chain))


def remove_duplicate_tracks(
    longest_first: Sequence[int], tracks: Mapping[int, Track], paths: Mapping[int, TrackPath]
) -> list[int]:
    """Remove tracks that spend most of their frames on the body of a longer one."""
    kept: list[int] = []
    for track_id in longest_first:
        limit = _DUPLICATE_DISTANCE
        if not any(_is_duplicate(paths[track_id], paths[other], limit) for other in kept):
            kept.append(track_id)
    return kept


def _is_duplicate(path: TrackPath, other: TrackPath, limit: float) -> bool:
    shared, distance = _overlap(path, other)
    return shared >= _DUPLICATE_FRACTION * len(path.frames) and distance < limit


def _overlap(path: TrackPath, other: TrackPath) -> tuple[int, float]:
    """Return the number of common frames of two tracks, and the median distance of their windows in them."""
    _, rows, other_rows = np.intersect1d(path.frames, other.frames, return_indices=True)
    pairs = zip(rows.tolist(), other_rows.tolist(), strict=True)
    distances = [path.at(a).distance(other.at(b)) for a, b in pairs]
    return len(distances), float(np.median(distances)) if distances else np.inf


def _continues(
    first: int,
    second: int,
    tracks: Mapping[int, Track],
    paths: Mapping[int, TrackPath],
    config: TrackerConfig,
) -> bool:
    """Decide whether the second track continues the first."""
    path, other = paths[first], paths[second]
    gap = int(other.frames[0] - path.frames[-1])
    max_gap = config.max_age
    if gap > max_gap or path.frames[-1] >= other.frames[-1]:
        return False
    missed = max(gap, 0)
    similarity = appearance_similarity(tracks[first].appearance, tracks[second].appearance)
    if similarity < config.min_similarity(missed):
        return False
    if gap <= 0:
        return _overlap(path, other)[1] < _STRICT_DUPLICATE_DISTANCE
    return path.at(-1).distance(other.at(0)) < config.max_window_distance(missed)
