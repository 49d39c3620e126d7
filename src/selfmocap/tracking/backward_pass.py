"""People followed back in time from where they were first seen: who is small, or stands close to others, is often
found late, although a model that looks in the right place could have seen it all along."""

import functools
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from selfmocap.io.prefetch import prefetched
from selfmocap.io.video import Frame, Video
from selfmocap.tracking.appearance import likeness
from selfmocap.tracking.detections_store import (
    Sighting,
    part_paths,
    read_columns,
    read_sightings,
    write_earlier,
)
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.track_state import Pace, People, Track, carried, confirmed
from selfmocap.tracking.tracker import LIKE, followed, part_of, resemblance

_MOST_FRAMES, _MOST_BYTES = 64, 1 << 27
"""How far back, and what the pictures of it may take."""
_MISSED = 3
"""Frames without the person after which it is not looked for any longer."""
_SHARED = 3
"""Frames in which a track that is followed back is on the body of an earlier one that looks like it, to be linked with
it; where it meets somebody else, it ends."""
_SHORTEST = 3
"""Frames that a track must have to be followed back."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """What the first pass wrote."""

    parts: Sequence[Path]
    drift: Mapping[int, Sequence[float]]
    """How far the background has moved since the first frame, px, by frame."""

    @functools.cached_property
    def begins(self) -> list[int]:
        """The first frame of each part."""
        return [int(read_columns([part], ["frame_index"])["frame_index"][0]) for part in self.parts]

    def part_with(self, frame: int) -> int:
        return bisect_right(self.begins, frame) - 1

    def at(self, frame: int) -> list[Sighting]:
        """The sightings of a frame."""
        return self._by_frame(self.part_with(frame)).get(frame, [])

    @functools.cached_property
    def _by_frame(self) -> Callable[[int], dict[int, list[Sighting]]]:
        """Of a part; the last three are kept."""

        @functools.lru_cache(maxsize=3)
        def by_frame(part: int) -> dict[int, list[Sighting]]:
            found: dict[int, list[Sighting]] = {}
            for sighting in read_sightings(self.parts[part]):
                found.setdefault(sighting.frame, []).append(sighting)
            return found

        return by_frame


def look_back(
    video: Video,
    folder: Path,
    tracks: Mapping[int, Track],
    detector: Detector,
    pace: Pace,
    progress: Callable[[int, int], None],
) -> None:
    """Follows every confirmed one of the `tracks` back from its first frame, and writes what is seen beside the windows
    of the first pass. Frames are decoded again only as far as somebody was found after the first one."""
    parts, done = part_paths(folder), folder / "looked-back"
    if done.exists():
        return
    for stale in folder.glob("earlier-*"):
        stale.unlink()
    columns = read_columns(parts, ["frame_index", "frame_drift"])
    seen = _Seen(
        parts, dict(zip(columns["frame_index"].tolist(), columns["frame_drift"].tolist(), strict=True))
    )
    real = {n: t for n, t in tracks.items() if confirmed(t, pace) and t.seen >= _SHORTEST}
    begun: dict[int, list[int]] = {}
    for number, track in real.items():
        begun.setdefault(track.begun, []).append(number)
    births = deque(sorted(frame for frame in begun if frame > 0))
    most = max(min(_MOST_FRAMES, _MOST_BYTES // (3 * video.size[0] * video.size[1])), 2)
    kept: deque[Frame] = deque(maxlen=most)
    earlier: dict[int, list[Sighting]] = {}
    for frame in prefetched(video.frames(max(births[0] - most, 0))) if births else ():
        if frame.index == births[0]:
            poses = {s.track: s.pose for s in seen.at(births.popleft())}
            new = [replace(real[n], pose=poses[n]) for n in begun[frame.index]]
            for sighting in _followed_back(new, frame.index, reversed(kept), seen, real, detector, pace):
                earlier.setdefault(seen.part_with(sighting.frame), []).append(sighting)
            for part in [part for part in earlier if part < seen.part_with(frame.index - most)]:
                write_earlier(parts[part], earlier.pop(part))
        if not births:
            break
        if frame.index >= births[0] - most:
            kept.append(frame)
        progress(frame.index + 1, births[-1])
    for part, sightings in earlier.items():
        write_earlier(parts[part], sightings)
    done.touch()


def _followed_back(
    tracks: Iterable[Track],
    begun: int,
    before: Iterable[Frame],
    seen: _Seen,
    real: Mapping[int, Track],
    detector: Detector,
    pace: Pace,
) -> list[Sighting]:
    """What is seen of tracks that begin in one frame, in the frames `before` it, the last one first. Time runs
    backwards: frames and tracks count from minus infinity."""
    pace = replace(pace, coast=_MISSED)
    people = People(tuple(replace(t, last=-begun, step=(0.0, 0.0)) for t in tracks))
    shared = dict.fromkeys((t.number for t in people.tracks), 0)
    found = []
    for frame in before:
        shift = np.subtract(seen.drift[frame.index], seen.drift[frame.index + 1])
        if np.abs(shift).max() > frame.image.shape[1]:
            break
        across, down = shift.tolist()
        mirrored = replace(frame, index=-frame.index)
        people = replace(people, tracks=tuple(carried(t, (across, down)) for t in people.tracks))
        people = followed(people, mirrored, detector, pace)
        others = [s for s in seen.at(frame.index) if s.track in real]
        for track in (t for t in people.tracks if t.last == mirrored.index):
            met = [real[s.track] for s in others if part_of(track.pose, s.pose, detector.points)]
            linkable = all(
                other.last < begun and likeness(track.colours, other.colours) >= pace.likeness(0)
                for other in met
            )
            known = resemblance(track, track.pose, frame, detector.points) >= LIKE
            shared[track.number] += bool(met) if known and linkable else _SHARED + 1
            if shared[track.number] <= _SHARED:
                found.append(Sighting(frame.index, track.number, track.pose))
        alive = [
            t for t in people.tracks if shared[t.number] <= _SHARED and mirrored.index - t.last <= _MISSED
        ]
        people = replace(people, tracks=tuple(alive))
        if not alive:
            break
    return found
