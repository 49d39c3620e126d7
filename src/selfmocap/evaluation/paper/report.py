"""Tables and figures of results beside those of the paper: Markdown and pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from selfmocap.io.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PUBLISHED_TUNG2017: dict[str, dict[str, dict[str, float]]] = {
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
`reconstruction` column includes translation. The text says otherwise, but the figures allow no other reading."""

_COLUMNS = {
    "mpjpe_mm": "per joint",
    "surface_mm": "surface",
    "absolute_mpjpe_mm": "with translation",
    "pa_mpjpe_mm": "PA",
    "acceleration_error_m_per_s2": "accel. m/s²",
    "depth_sign_errors": "depth signs wrong",
}
_PAPER_DATASET = {"table1": "SURREAL", "table2": "Human3.6M"}


def report_heading(title: str, header: Mapping[str, Any], note: str) -> list[str]:
    """Format the first lines of a result in Markdown."""
    return [
        f"# {title}",
        "",
        f"`{header['command']}`",
        "",
        f"{header['machine']['cpu']}, {header['machine']['cores']} cores, {header['seconds']:.0f} s; weights "
        f"{header['weights_sha256'][:12]}; selfmocap {header['versions']['selfmocap']}. {note}",
        "",
    ]


def table_markdown(name: str, result: Mapping[str, Any]) -> str:
    """Format a table in Markdown, with the paper's figures, which were measured on other data, in brackets."""
    header, published = result["about"], PUBLISHED_TUNG2017[name]
    note = (
        f"mm. In brackets the paper's figures, on {_PAPER_DATASET[name]}: other people and motions. Its surface error "
        "leaves out the rotation of the root; this one includes it."
    )
    lines = [
        *report_heading(f"{name}: {header['protocol']}", header, note),
        "| row | " + " | ".join(_COLUMNS.values()) + " | s |",
        "|---" * (len(_COLUMNS) + 2) + "|",
    ]
    for row, scores in result["rows"].items():
        cells = [_cell(scores[score], score, published.get(row, {})) for score in _COLUMNS]
        lines.append(f"| {row} | {' | '.join(cells)} | {scores['seconds']:.0f} |")
    lines += [
        "",
        "| row | per joint, % lower than pretrained | surface | clips worse by > 2 mm | held-out check |",
        "|---" * 5 + "|",
    ]
    for row, lower in result["improvement_percent"].items():
        worse = result["regressions"][row]
        check = ", ".join(f"{outcome}: {count}" for outcome, count in worse.get("heldout_check", {}).items())
        lines.append(
            f"| {row} | {lower['mpjpe_mm']} | {lower['surface_mm']} | {worse['fraction']:.1%} | {check} |"
        )
    return "\n".join(lines) + "\n"


def _cell(value: float | None, name: str, published: Mapping[str, float]) -> str:
    if value is None:
        return "-"
    text = f"{value:.1%}" if name == "depth_sign_errors" else f"{value:.1f}"
    return f"{text} ({published[name]})" if name in published else text


def draw_table(path: Path, name: str, result: Mapping[str, Any]) -> None:
    """Draw one bar per row, the error per joint, with the paper's figure as a mark."""
    from matplotlib.figure import Figure

    rows, published = result["rows"], PUBLISHED_TUNG2017[name]
    figure = Figure(figsize=(8, 0.4 * len(rows) + 1.2), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(len(rows))[::-1]
    axes.barh(
        positions, [row["mpjpe_mm"] for row in rows.values()], 0.6, color="#4878a8", label="measured here"
    )
    of_paper = {
        position: published[row]["mpjpe_mm"]
        for position, row in zip(positions, rows, strict=True)
        if row in published
    }
    label = f"the paper, on {_PAPER_DATASET[name]}"
    axes.plot(
        [*of_paper.values()], [*of_paper], "|", color="#c04030", markersize=16, markeredgewidth=3, label=label
    )
    axes.set_yticks(positions, [row.replace("_", " ") for row in rows])
    axes.set_xlabel("error per joint, mm")
    axes.legend(loc="lower right")
    _save(figure, path)


def draw_curves(
    path: Path,
    panels: Mapping[str, Mapping[str, tuple[Sequence[int], np.ndarray]]],
    xlabel: str = "adaptation steps",
    ylabel: str = "error per joint, mm",
) -> None:
    """Draw one panel per title: for each name, positions and errors (seeds, positions) as mean and spread."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5 * len(panels), 3.8), layout="constrained")
    columns = np.atleast_1d(figure.subplots(1, len(panels)))
    for axes, (title, curves) in zip(columns, panels.items(), strict=True):
        for name, (positions, errors) in curves.items():
            mean, spread = errors.mean(0), errors.std(0)
            (line,) = axes.plot(positions, mean, label=name)
            axes.fill_between(positions, mean - spread, mean + spread, color=line.get_color(), alpha=0.2)
        axes.set_title(title)
        axes.set_xlabel(xlabel)
        axes.set_ylabel(ylabel)
        axes.legend()
    _save(figure, path)


def _save(figure: "Figure", path: Path) -> None:
    with atomic_write(path) as partial:
        figure.savefig(partial, dpi=120)
