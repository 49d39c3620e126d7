"""Long films: observe the parts between hard cuts one by one, and join their observations to those of the film.

The tracker begins anew at a cut, so that a part is observed as it is in the whole film. What depends on all parts is
done when they are joined: the order of the people, and who may be whom."""

import os
import shutil
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from selfmocap.io.files import read_json, write_json
from selfmocap.io.npz import read_npz
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.io.video import open_video
from selfmocap.tracking.appearance import Histogram
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.observe import (
    PEOPLE_FILE,
    find_shots,
    max_people,
    no_person_error,
    observed_fingerprint,
)
from selfmocap.tracking.shots import guess_same_people, shots_between

MIN_PART_SECONDS, MAX_PARTS = 10.0, 64
"""Least length of a part, and the most parts of a film."""


@dataclass(frozen=True)
class FilmPart:
    """Some shots of a film."""

    start: float
    """Time of its first frame, s."""
    end: float
    """Time of the first frame after it, s."""
    shot_starts: tuple[int, ...]
    """Index of the first frame of each shot."""

    def settings(self, whole: ObserveConfig) -> ObserveConfig:
        """Return the settings of the film for this part alone."""
        return replace(whole, input=replace(whole.input, start=self.start, end=self.end))


def split_film(
    video: Path, out: Path, settings: ObserveConfig, progress: ProgressCallback = no_progress
) -> list[FilmPart]:
    """Split a film at hard cuts into parts of at least MIN_PART_SECONDS; one part if it is short, or has no such cuts.

    `out` keeps the shots that were found for `observe`. Raises the errors of `open_video`."""
    opened = open_video(video, settings.input)
    times = opened.times[opened.first_frame :][: opened.declared_frames]
    seconds = float(times[-1] - times[0])
    starts, shortest = [opened.first_frame], max(MIN_PART_SECONDS, seconds / MAX_PARTS)
    if seconds >= 2 * shortest:
        starts = [shot.first_frame for shot in find_shots(video, out, settings, progress)]
    firsts = [0]
    for number, start in enumerate(starts):
        since = float(opened.times[start] - opened.times[starts[firsts[-1]]])
        left = float(times[-1] - opened.times[start])
        if min(since, left) >= shortest:
            firsts.append(number)
    limits = [float(opened.times[starts[first]]) for first in firsts] + [float(times[-1]) + 1 / opened.fps]
    return [
        FilmPart(begin, end, tuple(starts[first:last]))
        for begin, end, first, last in zip(
            limits, limits[1:], firsts, [*firsts[1:], len(starts)], strict=False
        )
    ]


class _Person(NamedTuple):
    """A person of a part."""

    visibility: float
    appearance: Histogram
    shot: int
    """Index of the shot in the film."""
    observed: dict[str, Any]
    """Their entry in the part's observations.json."""
    file: Path


def join_parts(
    video: Path,
    out: Path,
    settings: ObserveConfig,
    parts: Sequence[FilmPart],
    folders: Sequence[Path],
    missing: Sequence[str] = (),
) -> None:
    """Write the observations of a film from those of its parts, as `observe` with these settings would.

    `folders` hold what `observe_part` wrote, in order. `missing` has a warning for each part of which there is none.
    Raises InputError if no part has people."""
    opened = open_video(video, settings.input)
    starts = [start for part in parts for start in part.shot_starts]
    reports = [read_json(folder / "observations.json") for folder in folders]
    people = [
        one
        for folder, report in zip(folders, reports, strict=True)
        for one in _people(folder, report, starts)
    ]
    people.sort(key=lambda person: -person.visibility)
    if not people:
        raise no_person_error(opened, settings)
    same = guess_same_people([one.appearance for one in people], [one.shot for one in people])
    kept = people[: max_people(settings)]
    for number, person in enumerate(kept, start=1):
        _link(person.file, out / f"person-{number}" / person.file.name)
    observed = reports[0]["video"]
    write_json(
        out / "observations.json",
        reports[0]
        | {
            "settings": observed_fingerprint(video, settings),
            "video": observed
            | {
                "frames": opened.declared_frames,
                "start": float(opened.times[opened.first_frame]),
                "warnings": [*observed["warnings"], *missing],
                "corrupt_frames": [
                    frame for report in reports for frame in report["video"]["corrupt_frames"]
                ],
            },
            "shots": [asdict(s) for s in shots_between(starts, opened.first_frame + opened.declared_frames)],
            "people_found": len(people),
            "people": [
                person.observed
                | {"shot": person.shot + 1, "perhaps_person": _earlier(same.get(index), len(kept))}
                for index, person in enumerate(kept)
            ],
            "stages": _durations(reports, opened.declared_frames),
            "peak_memory_gb": max(report["peak_memory_gb"] for report in reports),
        },
        indent=2,
    )


def _people(folder: Path, report: dict[str, Any], starts: Sequence[int]) -> list[_Person]:
    arrays = read_npz(folder / PEOPLE_FILE)
    return [
        _Person(
            float(visibility),
            appearance,
            bisect_right(starts, report["shots"][entry["shot"] - 1]["first_frame"]) - 1,
            entry,
            folder / f"person-{number}" / "observations.npz",
        )
        for number, (entry, visibility, appearance) in enumerate(
            zip(report["people"], arrays["visibility"], arrays["appearance"], strict=False), start=1
        )
    ]


def _earlier(index: int | None, kept: int) -> int | None:
    """Return the number of a person with this index, if they are kept."""
    return None if index is None or index >= kept else index + 1


def _link(file: Path, path: Path) -> None:
    """Give a file a second path; copy it where the file system has no links."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    try:
        os.link(file, path)
    except OSError:
        shutil.copyfile(file, path)


def _durations(reports: Sequence[dict[str, Any]], frames: int) -> list[dict[str, Any]]:
    """Sum the duration of each stage over the parts."""
    seconds: dict[str, float] = {}
    for stage in (stage for report in reports for stage in report["stages"]):
        if stage["name"] != "total":
            seconds[stage["name"]] = seconds.get(stage["name"], 0.0) + stage["seconds"]
    seconds["total"] = sum(seconds.values())
    return [
        {"name": name, "seconds": round(value, 3), "frames_per_second": round(frames / max(value, 1e-6), 1)}
        for name, value in seconds.items()
    ]
