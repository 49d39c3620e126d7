"""Which tracks are people, which of them are one person, and in which order they come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median_high

import numpy as np
from jaxtyping import Float, Int

from selfmocap.tracking.appearance import likeness
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.track_state import COMPANY, Pace, Track, confirmed

_ON_ONE_BODY = 0.45
"""Nearness of two windows over their common frames below which they follow one person, where there is no crowd."""
_IN_ONE_PLACE = 0.2
"""The same in a crowd, and of two tracks the first of which may have passed into the second: neighbours are farther
apart."""
_SHORTEST_S = 0.5
_TINY, _LONG_S = 0.35, 5.0
"""Somebody whose window is smaller than this share of the usual person's must be seen for so many seconds: what the
models see in the legs of a table is small and soon gone."""


@dataclass(frozen=True, eq=False)
class Path2D:
    """Where a track was."""

    frames: Int[np.ndarray, " time"]
    windows: Float[np.ndarray, "time 4"]
    """x, y (px, against the background), side, angle."""

    def at(self, row: int) -> Window:
        return Window(*map(float, self.windows[row]))


def people_of(
    tracks: Mapping[int, Track], paths: Mapping[int, Path2D], pace: Pace, fps: float, frames: int
) -> list[tuple[int, ...]]:
    """The people, each as the numbers of the tracks that it is made of, ordered by how long and how large they are
    seen. A track that ends where another begins, and looks like it, is continued by it (in company, where many look
    alike, only if both are followed at once); one that runs beside a longer one on the same body is dropped."""
    shortest = min(max(round(_SHORTEST_S * fps), 3), max(frames // 2, 1))
    real = [n for n, t in tracks.items() if confirmed(t, pace) and len(paths[n].frames) >= shortest]
    sides = {n: float(np.median(paths[n].windows[:, 2])) for n in real}
    tiny = _TINY * (median_high(sides.values()) if sides else 0.0)
    real = [n for n in real if sides[n] > tiny or len(paths[n].frames) >= _LONG_S * fps]
    real = _without_shadows(sorted(real, key=lambda n: -len(paths[n].frames)), tracks, paths)
    chains: list[tuple[int, ...]] = []
    for number in sorted(real, key=lambda n: int(paths[n].frames[0])):
        before = [c for c in chains if _continues(c[-1], number, tracks, paths, pace)]
        if before:
            best = max(before, key=lambda c: likeness(tracks[c[-1]].colours, tracks[number].colours))
            chains[chains.index(best)] = (*best, number)
        else:
            chains.append((number,))
    return sorted(chains, key=lambda chain: -sum(float(paths[n].windows[:, 2].sum()) for n in chain))


def _without_shadows(
    longest_first: Sequence[int], tracks: Mapping[int, Track], paths: Mapping[int, Path2D]
) -> list[int]:
    kept: list[int] = []
    for number in longest_first:
        near = _IN_ONE_PLACE if tracks[number].company >= COMPANY else _ON_ONE_BODY
        if not any(_shadows(paths[number], paths[other], near) for other in kept):
            kept.append(number)
    return kept


def _shadows(path: Path2D, other: Path2D, near: float) -> bool:
    """Whether a track spends most of its life so `near` another."""
    shared, apart = _together(path, other)
    return shared >= 0.7 * len(path.frames) and apart < near


def _together(path: Path2D, other: Path2D) -> tuple[int, float]:
    """The number of frames that two tracks share, and how near their windows are in them (median)."""
    _, here, there = np.intersect1d(path.frames, other.frames, return_indices=True)
    near = [path.at(a).nearness(other.at(b)) for a, b in zip(here.tolist(), there.tolist(), strict=True)]
    return len(near), float(np.median(near)) if near else np.inf


def _continues(
    first: int, second: int, tracks: Mapping[int, Track], paths: Mapping[int, Path2D], pace: Pace
) -> bool:
    path, other = paths[first], paths[second]
    gap = int(other.frames[0] - path.frames[-1])
    patience = 0 if tracks[first].company >= COMPANY else pace.forget
    if gap > patience or path.frames[-1] >= other.frames[-1]:
        return False
    missed = max(gap, 0)
    if likeness(tracks[first].colours, tracks[second].colours) < pace.likeness(missed):
        return False
    if gap <= 0:
        return _together(path, other)[1] < _IN_ONE_PLACE
    return path.at(-1).nearness(other.at(0)) < pace.reach(missed)
