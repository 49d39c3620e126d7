"""Report of the rows of Kanazawa et al. 2019 beside the figures of the paper, and the curve over unlabelled video."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.evaluation.paper.report import draw_curves, report_heading
from selfmocap.losses.metrics import PCK_THRESHOLD

PUBLISHED_HMMR: dict[str, dict[str, float]] = {
    "the paper, 3DPW": {
        "mpjpe_mm": 116.5, "pa_mpjpe_mm": 72.6, "acceleration_error_mm_per_frame2": 15.2,
    },
    "the paper, Human3.6M": {"mpjpe_mm": 83.7, "pa_mpjpe_mm": 56.9},
    "its released weights, 3DPW": {
        "mpjpe_mm": 116.88, "pa_mpjpe_mm": 72.66, "surface_mm": 139.34, "pck": 0.9296,
    },
    "its released weights, Penn Action": {"pck": 0.7955},
}  # fmt: skip
"""Kanazawa et al. 2019, the whole system. The acceleration that the release prints is not an error, and is left out."""

_COLUMNS = {
    "mpjpe_mm": "per joint",
    "pa_mpjpe_mm": "PA",
    "surface_mm": "surface",
    "acceleration_error_mm_per_frame2": "accel. error",
    "limb_acceleration_error_mm_per_frame2": "of limbs",
    "pck": "PCK",
}
_CURVES = {"mpjpe_mm": "error per joint, mm", "pa_mpjpe_mm": "after Procrustes, mm"}


def hmmr_markdown(result: Mapping[str, Any]) -> str:
    """Format the table in Markdown. The rows of the paper, which were measured on other data, come last."""
    header, rows = result["about"], result["rows"]
    note = (
        f"mm. Accelerations: mm/frame² at {header['fps']:.0f} frames a second. PCK: after the best scale and "
        f"translation in the image, within {PCK_THRESHOLD:.3f} of the diagonal around the true keypoints (11.2 px of "
        "the paper's crop)."
    )
    lines = [
        *report_heading(f"hmmr: {header['protocol']}", header, note),
        "| row | " + " | ".join(_COLUMNS.values()) + " |",
        "|---" * (len(_COLUMNS) + 1) + "|",
        *(_line(row, scores) for row, scores in rows.items()),
        *(_line(f"*{row}*", scores) for row, scores in PUBLISHED_HMMR.items()),
        "",
        *(_trained_note(rows["temporal"]) if "temporal" in rows else []),
        "| from one frame | hallucinated | present repeated | % lower |",
        "|---|---|---|---|",
    ]
    for when, errors in result["hallucination"].items():
        mm = f"{errors['estimate_mm']:.1f} | {errors['constant_mm']:.1f}"
        lines.append(f"| {when} | {mm} | {errors['improvement_percent']} |")
    return "\n".join(lines) + "\n"


def _line(row: str, scores: Mapping[str, Any]) -> str:
    spread = scores.get("spread", {})
    cells = [_cell(name, scores.get(name), spread.get(name)) for name in _COLUMNS]
    return f"| {row} | {' | '.join(cells)} |"


def _cell(name: str, value: float | None, spread: float | None) -> str:
    if value is None:
        return "-"
    percent = name == "pck"
    around = "" if spread is None else f" ± {100 * spread if percent else spread:.1f}"
    return f"{100 * value if percent else value:.1f}{around}{' %' if percent else ''}"


def _trained_note(row: Mapping[str, Any]) -> list[str]:
    seeds = len(row["seeds"])
    spread = "mean and standard deviation over" if seeds > 1 else "with"
    return [
        f"`temporal` (without deltas and hallucinator) and `unlabelled_...` are trained for {row['steps']} steps, "
        f"{spread} {seeds} seed{'s' * (seeds > 1)}. `temporal_deltas` and the hallucinations below are of the weights.",
        "",
    ]


def draw_unlabelled(path: Path, result: Mapping[str, Any]) -> None:
    """Draw errors over the percentage of unlabelled video, mean and spread over seeds, beside the frame network's."""
    rows = result["rows"]
    percentages = [int(row.removeprefix("unlabelled_")) for row in rows if row.startswith("unlabelled_")]

    def by_seed(row: str, score: str) -> np.ndarray:
        return np.array([one[score] for one in rows[row]["seeds"]])

    panels = {}
    for score, title in _CURVES.items():
        trained = np.stack([by_seed(f"unlabelled_{percent}", score) for percent in percentages], axis=1)
        present = np.repeat(by_seed("temporal", score)[:, None], len(percentages), axis=1)
        panels[title] = {
            "trained": (percentages, trained),
            "without deltas, at 0 %": (percentages, present),
            "frame network": (percentages, np.full((1, len(percentages)), rows["frame"][score])),
        }
    draw_curves(path, panels, "unlabelled video, %", "mm")
