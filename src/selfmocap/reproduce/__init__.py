"""The paper's experiments, end to end on synthetic people."""

from pathlib import Path
from typing import Any, Literal

from selfmocap.reproduce.clips import ClipChoice, Report
from selfmocap.reproduce.curves import figure
from selfmocap.reproduce.experience import experience
from selfmocap.reproduce.tables import table

What = Literal["table1", "table2", "figure3", "experience"]


def reproduce(
    what: What, out: Path, test_set: ClipChoice, weights: Path | None, report: Report
) -> dict[str, Any]:
    """Runs one experiment into the folder `out`, going on where an interrupted run was, and gives its result.

    Raises ValueError or FileNotFoundError that name what is wrong with the folders, the weights or the test set."""
    out.mkdir(parents=True, exist_ok=True)
    if what == "figure3":
        return figure(out, test_set, weights, report)
    if what == "experience":
        return experience(out, test_set, weights, report)
    return table(what, out, test_set, weights, report)
