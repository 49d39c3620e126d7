"""Our figures beside the paper's, in words and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfmocap.io.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED: dict[str, dict[str, dict[str, float]]] = {
    "table1": {
        "optimisation": {"surface_mm": 346.5, "mpjpe_mm": 532.8, "absolute_mpjpe_mm": 1320.1},
        "optimisation_R": {"surface_mm": 301.1, "mpjpe_mm": 222.0, "absolute_mpjpe_mm": 294.9},
        "optimisation_RT": {"surface_mm": 272.8, "mpjpe_mm": 206.6, "absolute_mpjpe_mm": 205.5},
        "pretrained": {"surface_mm": 119.4, "mpjpe_mm": 101.6, "absolute_mpjpe_mm": 351.3},
        "self_supervised": {"surface_mm": 74.5, "mpjpe_mm": 64.4, "absolute_mpjpe_mm": 203.9},
    },
    "table2": {
        "optimisation": {"mpjpe_mm": 562.4, "absolute_mpjpe_mm": 883.1},
        "pretrained": {"mpjpe_mm": 125.6, "absolute_mpjpe_mm": 303.5},
        "self_supervised": {"mpjpe_mm": 98.4, "absolute_mpjpe_mm": 145.8},
    },
}
"""Tung et al. 2017, tables 1 (SURREAL) and 2 (Human3.6M). Its `per-joint` column is free of translation and its
`reconstruction` column includes it, whatever the text says: the figures allow no other reading."""

_SHOWN = {
    "mpjpe_mm": "per joint",
    "surface_mm": "surface",
    "absolute_mpjpe_mm": "with translation",
    "pa_mpjpe_mm": "PA",
    "acceleration_error_m_per_s2": "accel. m/s²",
    "depth_sign_errors": "depth signs wrong",
}
_SOURCE = {"table1": "SURREAL", "table2": "Human3.6M"}


def heading(title: str, header: Mapping[str, Any], note: str) -> list[str]:
    """The first lines of a result in Markdown, from its record's header."""
    return [
        f"# {title}",
        "",
        f"`{header['command']}`",
        "",
        f"{header['machine']['cpu']}, {header['machine']['cores']} cores, {header['seconds']:.0f} s; weights "
        f"{header['weights_sha256'][:12]}; selfmocap {header['versions']['selfmocap']}. {note}",
        "",
    ]


def table_in_words(what: str, result: Mapping[str, Any]) -> str:
    """A table in Markdown: ours, and in brackets the paper's, which were measured on other data."""
    header, published = result["about"], PUBLISHED[what]
    note = (
        f"mm. In brackets the paper's figures, on {_SOURCE[what]}: other people, other motions; its surface error "
        "leaves out the root's rotation, ours does not."
    )
    lines = [
        *heading(f"{what}: {header['protocol']}", header, note),
        "| row | " + " | ".join(_SHOWN.values()) + " | s |",
        "|---" * (len(_SHOWN) + 2) + "|",
    ]
    for row, scores in result["rows"].items():
        cells = [_cell(scores[name], name, published.get(row, {})) for name in _SHOWN]
        lines.append(f"| {row} | {' | '.join(cells)} | {scores['seconds']:.0f} |")
    lines += [
        "",
        "| row | per joint, % lower than pretrained | surface | clips harmed by > 2 mm | self-check |",
        "|---" * 5 + "|",
    ]
    for row, lower in result["lower_than_pretrained_percent"].items():
        harm = result["no_harm"][row]
        check = ", ".join(f"{fate}: {count}" for fate, count in harm.get("self_check", {}).items())
        lines.append(
            f"| {row} | {lower['mpjpe_mm']} | {lower['surface_mm']} | {harm['harmed']:.1%} | {check} |"
        )
    return "\n".join(lines) + "\n"


def _cell(value: float | None, name: str, published: Mapping[str, float]) -> str:
    if value is None:
        return "-"
    text = f"{value:.1%}" if name == "depth_sign_errors" else f"{value:.1f}"
    return f"{text} ({published[name]})" if name in published else text


def draw_table(path: Path, what: str, result: Mapping[str, Any]) -> None:
    """A bar a row: error per joint, the paper's as a line across it."""
    from matplotlib.figure import Figure

    rows, published = result["rows"], PUBLISHED[what]
    figure = Figure(figsize=(8, 0.4 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    axes.barh(places, [row["mpjpe_mm"] for row in rows.values()], 0.6, color="#4878a8", label="measured here")
    theirs = {
        place: published[row]["mpjpe_mm"] for place, row in zip(places, rows, strict=True) if row in published
    }
    label = f"the paper, on {_SOURCE[what]}"
    axes.plot(
        [*theirs.values()], [*theirs], "|", color="#c04030", markersize=16, markeredgewidth=3, label=label
    )
    axes.set_yticks(places, [row.replace("_", " ") for row in rows])
    axes.set_xlabel("error per joint, mm")
    axes.legend(loc="lower right")
    _save(figure, path)


def draw_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, tuple[Sequence[int], np.ndarray]]],
    over: str = "adaptation steps",
    error: str = "error per joint, mm",
) -> None:
    """A panel for each title: by names the places and (seeds, places) errors, mean and spread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(panels), 3.8), layout="constrained")
    columns = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, (title, curves) in zip(columns, panels.items(), strict=True):
        for name, (places, errors) in curves.items():
            mean, spread = errors.mean(0), errors.std(0)
            (line,) = axes.plot(places, mean, label=name)
            axes.fill_between(places, mean - spread, mean + spread, color=line.get_color(), alpha=0.2)
        axes.set_title(title)
        axes.set_xlabel(over)
        axes.set_ylabel(error)
        axes.legend()
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=120)
