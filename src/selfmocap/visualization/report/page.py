"""`report.html`: a capture in one page that opens offline and asks nothing of the network."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.io.atomic import atomic_write
from selfmocap.visualization.report.playback import Residuals, playback
from selfmocap.visualization.report.summary import asides, entry, facts, finite, title, untrusted

MOST_EMBEDDED_BYTES = 20_000_000
"""An overlay of more than this is linked to instead of being put into the page."""

_SCRIPTS = ("playback.js", "scene.js", "view.js", "curves.js", "player.js")


def write_report(
    path: Path, motions: Sequence[Motion], body: Body, report: Mapping[str, Any], overlay: Path | None
) -> None:
    """Writes one page, whole or not at all: all motions in 3D beside the overlay video, curves a frame, what
    adaptation changed, which frames are not to be trusted, and links to the exports in `path`'s folder.

    `report` is the content of report.json, its people in the order of `motions`; whatever of it is missing is left
    out. People's `before` and `after` may hold `keypoint_px_by_frame` (see `residuals`). Raises ValueError where no
    motion has a frame."""
    persons = (entry(report, "people", list) + [{}] * len(motions))[: len(motions)]
    shown = playback(motions, body, [_residuals(person) for person in persons])
    for data in shown["people"]:
        data["untrusted"] = untrusted(persons[data["number"] - 1])
    embedded = overlay is not None and overlay.stat().st_size <= MOST_EMBEDDED_BYTES
    script, style = "\n".join(map(_asset, _SCRIPTS)), _asset("page.css")
    several = len(shown["people"]) > 1
    page = Template(_asset("page.html")).substitute(
        policy=_policy(script, style),
        title=escape(title(report)),
        facts=escape(facts(motions, report, shown["every"])),
        film="" if overlay is None else _film(None if embedded else overlay.name),
        who='<select id="who" aria-label="Person"></select> ' if several else "",
        asides=asides(path.parent, report, len(motions)),
        playback=json.dumps(shown, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        embedded=_embedded(overlay) if overlay is not None and embedded else "",
        style=style,
        script=script,
    )
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8")


def _residuals(person: Any) -> Residuals:
    named = {"first answer": entry(person, "before"), "result": entry(person, "after")}
    found = {name: entry(record, "keypoint_px_by_frame", list) for name, record in named.items()}
    return {name: [*map(finite, values)] for name, values in found.items() if values}


def _asset(name: str) -> str:
    return (files("selfmocap.visualization.report") / name).read_text(encoding="utf-8")


def _policy(script: str, style: str) -> str:
    """What the browser is to allow: this script, this style, the video; no connection to anywhere."""

    def digest(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    return (
        f"default-src 'none'; script-src {digest(script)}; style-src {digest(style)}; "
        "media-src 'self' file: blob:; img-src data:"
    )


def _film(name: str | None) -> str:
    """The pane of the video; `name` is the file beside the page where it is not embedded."""
    source = "" if name is None else f' src="{escape(quote(name))}"'
    return (
        f'<div class="pane film"><video id="film"{source} muted playsinline preload="auto"></video>'
        '<p class="note" id="no-film" hidden>The overlay video cannot be played: is overlay.mp4 beside this page?</p>'
        "</div>"
    )


def _embedded(overlay: Path) -> str:
    return (
        f'<script type="text/plain" id="film-data">{base64.b64encode(overlay.read_bytes()).decode()}</script>'
    )
