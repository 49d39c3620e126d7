"""Reports of results on the papers' own data, beside what the papers say."""

from collections.abc import Mapping
from typing import Any

from selfmocap.evaluation.paper.hmmr_report import PUBLISHED_HMMR
from selfmocap.evaluation.paper.report import PUBLISHED_TUNG2017, report_heading

_TABLE_COLUMNS = {
    "mpjpe_mm": "per joint",
    "surface_mm": "surface",
    "unrotated_surface_mm": "surface without root rotation",
    "absolute_mpjpe_mm": "with translation",
    "absolute_surface_mm": "surface with translation",
    "translation_aligned_mpjpe_mm": "least over translation",
    "pa_mpjpe_mm": "PA",
    "mpjpe_14_mm": "14 joints",
    "pa_mpjpe_14_mm": "14 joints, PA",
}
_PAPER_COLUMNS = {"surface_mm": "unrotated_surface_mm"}
"""Columns in which figures of the paper stand if they were computed: its surface error leaves out the root's
rotation."""
_HMMR_COLUMNS = {
    "mpjpe_mm": "per joint",
    "pa_mpjpe_mm": "PA",
    "acceleration_error_mm_per_frame2": "accel. error",
    "acceleration_mm_per_frame2": "accel. of the estimate",
    "pck": "PCK",
}
_PAPER_ROWS = {
    "threedpw": ("the paper, 3DPW", "its released weights, 3DPW"),
    "human36m": ("the paper, Human3.6M",),
    "penn": ("its released weights, Penn Action",),
}


def data_table_markdown(name: str, result: Mapping[str, Any]) -> str:
    """Format table 1 or 2 on the paper's data: each row of this project, below it the paper's."""
    rows, published = result["rows"], PUBLISHED_TUNG2017[name]
    columns = {
        key: title for key, title in _TABLE_COLUMNS.items() if any(key in row for row in rows.values())
    }
    note = "mm, means over frames. The paper's figures are those of its tables."
    lines = [
        *report_heading(f"{name}: {result['about']['protocol']}", result["about"], note),
        "| row | " + " | ".join(columns.values()) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for row, scores in rows.items():
        lines.append(_line(row, scores, columns))
        if row in published:
            moved = {
                _PAPER_COLUMNS[key] if _PAPER_COLUMNS.get(key) in columns else key: value
                for key, value in published[row].items()
            }
            lines.append(_line(f"*{row}, the paper*", moved, columns))
    return "\n".join(lines) + "\n"


def data_hmmr_markdown(result: Mapping[str, Any]) -> str:
    """Format the second paper's table on its data: one table a set, with the averages of release and text."""
    note = (
        "mm and mm/frame². `over frames`: mean over all frames. The other rows: mean over the frames of a sequence, "
        "then over sequences, as the paper's release computes. It prints the acceleration of the estimate as an error."
    )
    lines = report_heading(f"hmmr: {result['about']['protocol']}", result["about"], note)
    for name, part in result["sets"].items():
        rows = part["rows"]
        columns = {
            key: title for key, title in _HMMR_COLUMNS.items() if any(key in row for row in rows.values())
        }
        lines += [
            f"## {name}: {part['sequences']} sequences, {part['frames']} frames; images of {part['with_images']} clips",
            "",
            "| row | " + " | ".join(columns.values()) + " |",
            "|---" * (len(columns) + 1) + "|",
        ]
        for row, scores in rows.items():
            lines.append(_line(row, scores, columns))
            lines.append(_line(f"{row}, over frames", scores["over_frames"], columns))
        lines += [_line(f"*{row}*", PUBLISHED_HMMR[row], columns) for row in _PAPER_ROWS[name]] + [""]
    return "\n".join(lines)


def _line(row: str, scores: Mapping[str, Any], columns: Mapping[str, str]) -> str:
    cells = [_cell(key, scores.get(key)) for key in columns]
    return f"| {row} | {' | '.join(cells)} |"


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.1f} %" if key == "pck" else f"{value:.1f}"
