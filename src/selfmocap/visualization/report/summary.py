"""What a report says in words and tables, as HTML. Whatever comes from outside is escaped; anything may be missing."""

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from selfmocap.body_model.motion import Motion

_MEASURES = (
    ("self_check_px", "Self-check", "px", -1),
    ("keypoint_px", "Keypoints", "px", -1),
    ("mask_iou", "Mask overlap (IoU)", "", 1),
    ("flow_px", "Optical flow", "px", -1),
    ("jitter", "Jitter", "m/s³", -1),
    ("foot_slide_mm", "Foot slide", "mm", -1),
)
"""Key in report.json, name, unit, and whether more (1) or less (-1) is better."""

_MOST_STRETCHES = 100
_EXPORTS = "person-*/motion*"


def entry(record: Any, key: str, kind: type = dict) -> Any:
    """What a record of report.json holds under a key: an empty one of its kind if there is none of that kind."""
    value = record.get(key) if isinstance(record, Mapping) else None
    return value if isinstance(value, kind) else kind()


def finite(value: Any) -> float | None:
    """A finite number, None for anything else."""
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if real and math.isfinite(value) else None


def number(record: Any, key: str) -> float | None:
    """The finite number that a record of report.json holds under a key."""
    return finite(record.get(key)) if isinstance(record, Mapping) else None


def untrusted(person: Any) -> list[tuple[int, int, str]]:
    """The stretches [first, last, why] of frames of the video that are not to be trusted."""
    stretches = (s for s in entry(person, "untrusted", list) if isinstance(s, Sequence) and len(s) == 3)
    frames = ((finite(first), finite(last), str(why)) for first, last, why in stretches)
    return [
        (int(first), int(last), why) for first, last, why in frames if first is not None and last is not None
    ]


def title(report: Mapping[str, Any]) -> str:
    """The video's name."""
    return Path(str(entry(report, "video").get("path") or "")).name or "Captured motion"


def facts(motions: Sequence[Motion], report: Mapping[str, Any], every: int) -> str:
    """One line about the clip."""
    fps = number(entry(report, "video"), "fps") or motions[0].fps
    frames = number(entry(report, "video"), "frames") or max(len(motion) for motion in motions)
    parts = [f"{len(motions)} {'person' if len(motions) == 1 else 'people'}", f"{frames:.0f} frames"]
    if fps:
        parts += [f"{fps:.4g} frames a second", f"{frames / fps:.1f} s"]
    if every > 1:
        parts.append(f"one frame in {every} is shown")
    return " · ".join(parts)


def asides(folder: Path, report: Mapping[str, Any], people: int) -> str:
    """What changed from the first answer to the result, what is not to be trusted, the files beside the page, and the
    time it took."""
    persons = [p if isinstance(p, Mapping) else {} for p in entry(report, "people", list)][:people]
    sections = [
        *_changes(persons, people > 1),
        ("Not to be trusted", _doubts(persons, people > 1)),
        ("Files", _files(folder)),
        ("Time taken", _stages(entry(report, "stages", list))),
    ]
    return "\n".join(f"<section><h2>{name}</h2>{html}</section>" for name, html in sections if html)


def _changes(persons: Sequence[Mapping[str, Any]], several: bool) -> Iterator[tuple[str, str]]:
    for count, person in enumerate(persons, 1):
        before, after = entry(person, "before"), entry(person, "after")
        rows = [row for measure in _MEASURES if (row := _change(before, after, *measure))]
        if rows:
            head = "<thead><tr><th></th><th>First answer</th><th>Result</th></tr></thead>"
            table = f"<table>{head}<tbody>{''.join(rows)}</tbody></table>"
            name = "What adaptation and cleaning changed" + (f": person {count}" if several else "")
            yield name, f"<p>{_verdict(person)}</p>{table}"


def _verdict(person: Mapping[str, Any]) -> str:
    if person.get("accepted"):
        return "Adapted to this video: evidence that adaptation never saw is explained better."
    return "Not adapted to this video: not asked for, or no better on evidence that adaptation never saw."


def _change(before: Any, after: Any, key: str, name: str, unit: str, better: int) -> str:
    old, new = number(before, key), number(after, key)
    if old is None and new is None:
        return ""
    trend = ""
    if old is not None and new is not None and old != new:
        trend = ' class="better"' if (new - old) * better > 0 else ' class="worse"'
    unit = f" {unit}" if unit else ""
    return f"<tr><th>{name}</th><td>{_digits(old, unit)}</td><td{trend}>{_digits(new, unit)}</td></tr>"


def _digits(value: float | None, unit: str = "") -> str:
    if value is None:
        return "–"
    places = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:.{min(places, 3)}f}{unit}"


def _doubts(persons: Sequence[Mapping[str, Any]], several: bool) -> str:
    found = [(count, *stretch) for count, person in enumerate(persons, 1) for stretch in untrusted(person)]
    items = []
    for count, first, last, why in found[:_MOST_STRETCHES]:
        frames = f"frame {first}" if first == last else f"frames {first}–{last}"
        name = f"Person {count}, {frames}" if several else frames.capitalize()
        items.append(f'<li><button data-frame="{first}">{name}</button><span>{escape(why)}</span></li>')
    if len(found) > _MOST_STRETCHES:
        items.append(f"<li>and {len(found) - _MOST_STRETCHES} more, in report.json</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _files(folder: Path) -> str:
    paths = [*sorted(folder.glob(_EXPORTS)), folder / "overlay.mp4", folder / "report.json"]
    items = []
    for path in paths:
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            link = f'<a href="{escape(quote(name))}" download>{escape(name)}</a>'
            items.append(f"<li>{link}<span>{_size(path.stat().st_size)}</span></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _stages(stages: Sequence[Any]) -> str:
    items = []
    for stage in stages:
        seconds, rate = number(stage, "seconds"), number(stage, "frames_per_second")
        if seconds is not None:
            pace = "" if rate is None else f" · {_digits(rate)} frames/s"
            name = escape(str(stage.get("name", "")))
            items.append(f"<li><span>{name}</span><span>{_digits(seconds)} s{pace}</span></li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""
