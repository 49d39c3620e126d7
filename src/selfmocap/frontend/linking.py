"""Which tracks are people, which of them are one person, and in which order they come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from selfmocap.frontend.appearance import likeness
from selfmocap.frontend.tracks import Pace, Track, confirmed
from selfmocap.frontend.windows import Window

_LIKE = 0.6
_NEAR = 0.7
_SHORTEST_S = 0.5


@dataclass(frozen=True, eq=False)
class Path2D:
    """Where a track was."""

    frames: Int[np.ndarray, " time"]
    windows: Float[np.ndarray, "time 4"]

    def at(self, row: int) -> Window:
        return Window(*map(float, self.windows[row]))


def people_of(
    tracks: Mapping[int, Track], paths: Mapping[int, Path2D], pace: Pace, fps: float, frames: int
) -> list[tuple[int, ...]]:
    """The people, each as the numbers of the tracks that it is made of, ordered by how long and how large they are
    seen. A track that ends where another begins, and looks like it, is continued by it; one that runs beside a longer
    one on the same body is dropped."""
    shortest = min(max(round(_SHORTEST_S * fps), 3), max(frames // 2, 1))
    real = [n for n, t in tracks.items() if confirmed(t, pace) and t.seen >= shortest]
    real = _without_shadows(sorted(real, key=lambda n: -len(paths[n].frames)), paths)
    chains: list[tuple[int, ...]] = []
    for number in sorted(real, key=lambda n: int(paths[n].frames[0])):
        before = [c for c in chains if _continues(c[-1], number, tracks, paths, pace)]
        if before:
            best = max(before, key=lambda c: likeness(tracks[c[-1]].colours, tracks[number].colours))
            chains[chains.index(best)] = (*best, number)
        else:
            chains.append((number,))
    return sorted(chains, key=lambda chain: -sum(float(paths[n].windows[:, 2].sum()) for n in chain))


def _without_shadows(longest_first: Sequence[int], paths: Mapping[int, Path2D]) -> list[int]:
    kept: list[int] = []
    for number in longest_first:
        if not any(_shadows(paths[number], paths[other]) for other in kept):
            kept.append(number)
    return kept


def _shadows(path: Path2D, other: Path2D) -> bool:
    """Whether a track spends most of its life on the body of another."""
    _, here, there = np.intersect1d(path.frames, other.frames, return_indices=True)
    if len(here) < 0.7 * len(path.frames):
        return False
    return (
        float(np.median([path.at(a).nearness(other.at(b)) for a, b in zip(here, there, strict=True)])) < 0.4
    )


def _continues(
    first: int, second: int, tracks: Mapping[int, Track], paths: Mapping[int, Path2D], pace: Pace
) -> bool:
    end, start = int(paths[first].frames[-1]), int(paths[second].frames[0])
    if start - end > pace.forget or end - start > pace.coast or end >= int(paths[second].frames[-1]):
        return False
    row = int(np.searchsorted(paths[first].frames, min(start, end)))
    reach = _NEAR + 0.8 * max(start - end, 0) / pace.forget
    near = paths[first].at(row).nearness(paths[second].at(0)) < reach
    return near and likeness(tracks[first].colours, tracks[second].colours) >= _LIKE
