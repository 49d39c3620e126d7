"""What a capture assumed, and how sure it is, as rows of the report."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from selfmocap.visualization.report.entries import entry, number
from selfmocap.visualization.report.terms import term

_STATURES = {
    "height": "given",
    "floor": "estimated from the floor shared with others",
    "proportions": "estimated from the body's proportions: uncertain by about 10 %",
}
_FOCALS = {
    "option": "given",
    "calibration": "from the calibration",
    "metadata": "read from the file",
    "estimate": "estimated from walking feet",
    "default": "assumed: the usual one of such a video",
    "result": "that of the given result",
}


def assumptions_list(report: Mapping[str, Any], persons: Sequence[Mapping[str, Any]]) -> str:
    """Return the list of stature, focal length, camera and floor; nothing where the report has none of them."""
    rows = [*_statures(persons), *_focal(entry(report, "focal")), *_cameras(entry(report, "shots", list))]
    items = (f"<li>{term(name)}<span>{escape(text)}</span></li>" for name, text in [*rows, *_floors(persons)])
    return f'<ul class="pairs">{"".join(items)}</ul>' if rows else ""


def _who(count: int, persons: Sequence[Any]) -> str:
    return f"person {count}: " if len(persons) > 1 else ""


def _statures(persons: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for count, person in enumerate(persons, 1):
        metres, source = number(person, "stature"), _STATURES.get(str(person.get("stature_from")))
        if metres is not None and source is not None:
            yield "Stature", f"{_who(count, persons)}{metres:.2f} m, {source}"


def _focal(focal: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    px, spread = number(focal, "px"), number(focal, "uncertainty")
    if px is not None:
        sure = f" (± {spread:.0%})" if spread else ""
        yield "Focal length", f"{px:.0f} px{sure}, {_FOCALS.get(str(focal.get('source')), 'unknown')}"


def _cameras(shots: Sequence[Any]) -> Iterator[tuple[str, str]]:
    for count, shot in enumerate(shots, 1):
        camera = entry(shot, "camera")
        if not camera:
            continue
        if camera.get("static"):
            text = "stands still"
        elif all(kind == "unknown" for kind in entry(camera, "kinds", list)):
            text = "moves, and its path is unknown: the motion is relative to the camera"
        else:
            text = "moves; its path is estimated from the background"
        certainty = number(camera, "certainty")
        sure = "" if certainty is None else f" ({certainty:.0%} of the background's points agree)"
        yield "Camera", (f"shot {count}: " if len(shots) > 1 else "") + text + sure


def _floors(persons: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for count, person in enumerate(persons, 1):
        if isinstance(found := person.get("floor"), bool):
            text = "found under the feet" if found else "not found: heights are relative to the camera"
            yield "Floor", _who(count, persons) + text
