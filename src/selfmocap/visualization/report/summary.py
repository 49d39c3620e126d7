"""Tables and lists of the report as HTML. All external text is escaped; any part of report.json may be missing."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from selfmocap.body_model.motion import Motion
from selfmocap.visualization.report.assumptions import assumptions_list
from selfmocap.visualization.report.entries import entry, finite, number
from selfmocap.visualization.report.terms import term

_SCORES = (
    ("heldout_reprojection_px", "Held-out reprojection error", "px", -1),
    ("keypoint_px", "Keypoint residual", "px", -1),
    ("mask_iou", "Mask overlap (IoU)", "", 1),
    ("flow_px", "Optical-flow residual", "px", -1),
    ("jitter", "Jitter", "m/s³", -1),
    ("foot_slide_mm", "Foot slide", "mm", -1),
)
"""Key in report.json, name, unit, and whether higher (1) or lower (-1) is better."""

_MAX_RANGES = 100
_EXPORTS = ("person-*/motion*", "person-*/character*", "scene.*")


def read_ranges(person: Any) -> list[tuple[int, int, str]]:
    """Read the low-confidence ranges (first and last frame of the video, reason) of a person."""
    ranges = (
        s for s in entry(person, "low_confidence_ranges", list) if isinstance(s, Sequence) and len(s) == 3
    )
    frames = ((finite(first), finite(last), str(reason)) for first, last, reason in ranges)
    return [
        (int(first), int(last), reason)
        for first, last, reason in frames
        if first is not None and last is not None
    ]


def title(report: Mapping[str, Any]) -> str:
    """Return the name of the video file."""
    return Path(str(entry(report, "video").get("path") or "")).name or "Captured motion"


def clip_summary(motions: Sequence[Motion], report: Mapping[str, Any], every: int) -> str:
    """Summarise the clip in one line."""
    fps = number(entry(report, "video"), "fps") or motions[0].fps
    frames = number(entry(report, "video"), "frames") or max(len(motion) for motion in motions)
    parts = [f"{len(motions)} {'person' if len(motions) == 1 else 'people'}", f"{frames:.0f} frames"]
    if fps:
        parts += [f"{fps:.4g} frames/s", f"{frames / fps:.1f} s"]
    if every > 1:
        parts.append(f"one frame in {every} is shown")
    return " · ".join(parts)


def warning_list(report: Mapping[str, Any]) -> str:
    """Return the warnings of a capture as a list; nothing without any."""
    items = "".join(f"<li>{escape(str(warning))}</li>" for warning in entry(report, "warnings", list))
    return f'<ul id="warnings" aria-label="Warnings">{items}</ul>' if items else ""


def sections(folder: Path, report: Mapping[str, Any], people: int, unlinked: Collection[str] = ()) -> str:
    """Return the sections beside the curves: people, assumptions, scores before and after, low-confidence frames,
    files (except those with the names `unlinked`), processing time."""
    persons = [p if isinstance(p, Mapping) else {} for p in entry(report, "people", list)][:people]
    named = [
        ("People", _people_list(persons)),
        ("Assumptions", assumptions_list(report, persons)),
        *_score_tables(persons, people > 1),
        ("Low-confidence frames", _range_list(persons, people > 1)),
        ("Files", _file_list(folder, unlinked)),
        ("Processing time", _stage_list(entry(report, "stages", list))),
    ]
    return "\n".join(f"<section><h2>{term(name)}</h2>{html}</section>" for name, html in named if html)


def _people_list(persons: Sequence[Mapping[str, Any]]) -> str:
    """Return when each person is in the video, as far as it is known."""
    items = []
    for count, person in enumerate(persons, 1):
        parts = [
            part for part in entry(person, "segments", list) if isinstance(part, Sequence) and len(part) == 2
        ]
        times = [(finite(start), finite(end)) for start, end in parts]
        spans = [f"{start:.2f}–{end:.2f} s" for start, end in times if start is not None and end is not None]
        if spans:
            button = f'<button data-time="{times[0][0]}">Person {count}</button>'
            items.append(f"<li>{button}<span>{escape(', '.join(spans))}</span></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _score_tables(persons: Sequence[Mapping[str, Any]], several: bool) -> Iterator[tuple[str, str]]:
    for count, person in enumerate(persons, 1):
        before, after = entry(person, "before"), entry(person, "after")
        rows = [row for measure in _SCORES if (row := _score_row(before, after, *measure))]
        if rows:
            head = "<thead><tr><th></th><th>Before</th><th>After</th></tr></thead>"
            table = f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"
            name = "Before and after adaptation and post-processing" + (
                f": person {count}" if several else ""
            )
            yield name, f"<p>{_verdict(person)}</p>{table}"


def _verdict(person: Mapping[str, Any]) -> str:
    if person.get("accepted"):
        return "Adapted to this video: the error of held-out keypoints decreased."
    return (
        "Not adapted to this video: adaptation was off, or the error of held-out keypoints did not decrease."
    )


def _score_row(before: Any, after: Any, key: str, name: str, unit: str, better: int) -> str:
    old, new = number(before, key), number(after, key)
    if old is None and new is None:
        return ""
    trend = ""
    if old is not None and new is not None and old != new:
        trend = ' class="better"' if (new - old) * better > 0 else ' class="worse"'
    unit = f" {unit}" if unit else ""
    return f"<tr><th>{term(name)}</th><td>{_digits(old, unit)}</td><td{trend}>{_digits(new, unit)}</td></tr>"


def _digits(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(places, 3)}f}{unit}"


def _range_list(persons: Sequence[Mapping[str, Any]], several: bool) -> str:
    found = [(count, *span) for count, person in enumerate(persons, 1) for span in read_ranges(person)]
    items = []
    for count, first, last, reason in found[:_MAX_RANGES]:
        frames = f"frame {first}" if first == last else f"frames {first}–{last}"
        name = f"Person {count}, {frames}" if several else frames.capitalize()
        items.append(f'<li><button data-frame="{first}">{name}</button><span>{escape(reason)}</span></li>')
    if len(found) > _MAX_RANGES:
        items.append(f"<li>and {len(found) - _MAX_RANGES} more, in report.json</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _file_list(folder: Path, unlinked: Collection[str]) -> str:
    exports = sorted(path for pattern in _EXPORTS for path in folder.glob(pattern))
    paths = [*exports, folder / "overlay.mp4", folder / "report.json"]
    items = []
    for path in paths:
        if path.is_file() and path.name not in unlinked:
            name = path.relative_to(folder).as_posix()
            link = f'<a href="{escape(quote(name))}" download>{escape(name)}</a>'
            items.append(f"<li>{link}<span>{_size(path.stat().st_size)}</span></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _stage_list(stages: Sequence[Any]) -> str:
    items = []
    for stage in stages:
        seconds, rate = number(stage, "seconds"), number(stage, "frames_per_second")
        if seconds is not None:
            speed = "" if rate is None else f" · {_digits(rate)} frames/s"
            name = escape(str(stage.get("name", "")))
            items.append(f"<li><span>{name}</span><span>{_digits(seconds)} s{speed}</span></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""
