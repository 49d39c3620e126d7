"""Write `report.html`: a capture in one page that works offline."""

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.atomic import atomic_write
from selfmocap.visualization.report.entries import entry, finite, number
from selfmocap.visualization.report.playback import Residuals, playback
from selfmocap.visualization.report.summary import (
    clip_summary,
    read_ranges,
    sections,
    title,
    warning_list,
)

MAX_EMBEDDED_BYTES = 20_000_000
"""A larger overlay video is linked instead of embedded."""

_SCRIPTS = ("playback.js", "scene.js", "view.js", "curves.js", "player.js")


def write_report(
    path: Path,
    motions: Sequence[Motion],
    body: Body,
    report: Mapping[str, Any],
    overlay: Path | None,
    unlinked: Collection[str] = (),
) -> None:
    """Write the page, atomically.

    It shows the warnings, all motions in 3D beside the overlay video, curves over the frames, the scores before and
    after adaptation, low-confidence frames, and links to the exports in the folder of `path`, except to files with the
    names `unlinked`. `report` is the content
    of report.json with its people in the order of `motions`; missing parts are left out. `before` and `after` of a
    person may hold `keypoint_px_by_frame` (see `residuals`). Raises ValueError if no motion has a frame."""
    persons = (entry(report, "people", list) + [{}] * len(motions))[: len(motions)]
    shown = playback(motions, body, [_residuals(person) for person in persons])
    shown["video_start"] = number(entry(report, "video"), "start") or 0.0
    for data in shown["people"]:
        person = persons[data["number"] - 1]
        data["low_confidence_ranges"] = read_ranges(person)
        data["has_floor"] = not isinstance(person, Mapping) or person.get("floor") is not False
    embedded = overlay is not None and overlay.stat().st_size <= MAX_EMBEDDED_BYTES
    if overlay is not None and not embedded and overlay.name in unlinked:
        overlay = None
    script, style = "\n".join(map(_asset, _SCRIPTS)), _asset("page.css")
    several = len(shown["people"]) > 1
    page = Template(_asset("page.html")).substitute(
        policy=_policy(script, style),
        title=escape(title(report)),
        warnings=warning_list(report),
        facts=escape(clip_summary(motions, report, shown["every"])),
        video_pane="" if overlay is None else _video_pane(None if embedded else overlay.name),
        person_choice='<select id="person" aria-label="Person"></select> ' if several else "",
        sections=sections(path.parent, report, len(motions), unlinked),
        playback=json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        embedded=_embedded(overlay) if overlay is not None and embedded else "",
        style=style,
        script=script,
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _residuals(person: Any) -> Residuals:
    named = {name: entry(person, name) for name in ("before", "after")}
    found = {name: entry(record, "keypoint_px_by_frame", list) for name, record in named.items()}
    return {name: [*map(finite, values)] for name, values in found.items() if values}


def _asset(name: str) -> str:
    return (files("selfmocap.visualization.report") / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """Return a policy that allows this script, this style and the video, and no connection."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
        "media-src 'self' file: blob:; img-src data:"
    )


def _video_pane(name: str | None) -> str:
    """Return the pane of the video; `name` is that of a file beside the page, None for an embedded video."""
    source = "" if name is None else f' src="{escape(quote(name))}"'
    return (
        f'<div class="pane video"><video id="video"{source} muted playsinline preload="auto"></video>'
        '<p class="note" id="no-video" hidden>The overlay video cannot be played. '
        "Keep overlay.mp4 in the folder of this page.</p>"
        "</div>"
    )


def _embedded(overlay: Path) -> str:
    return f'<script type="text/plain" id="video-data">{base64.b64encode(overlay.read_bytes()).decode()}</script>'
