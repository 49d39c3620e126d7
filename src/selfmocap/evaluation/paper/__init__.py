"""The papers' experiments, end to end on synthetic people."""

from pathlib import Path
from typing import Any, Literal

from selfmocap.evaluation.paper.clips import ClipChoice
from selfmocap.evaluation.paper.curves import figure
from selfmocap.evaluation.paper.dynamics import Trainings, hmmr
from selfmocap.evaluation.paper.experience import experience
from selfmocap.evaluation.paper.tables import table
from selfmocap.io.progress import ProgressCallback

What = Literal["table1", "table2", "figure3", "experience", "hmmr"]


def usual_size(what: What) -> tuple[int, int]:
    """How many clips an experiment is run on, and their frames."""
    return (64, 60) if what == "hmmr" else (24, 31)


def reproduce(
    what: What,
    out: Path,
    test_set: ClipChoice,
    weights: Path | None,
    progress: ProgressCallback,
    trainings: Trainings | None = None,
) -> dict[str, Any]:
    """Runs one experiment into the folder `out`, going on where an interrupted run was, and gives its result. Only
    `hmmr` has `trainings`.

    Raises ValueError or FileNotFoundError that name what is wrong with the folders, the weights or the test set."""
    if trainings is not None and what != "hmmr":
        raise ValueError(f"{what} trains no network from its beginning; --train is for hmmr")
    out.mkdir(parents=True, exist_ok=True)
    if what == "hmmr":
        return hmmr(out, test_set, weights, progress, trainings)
    if what == "figure3":
        return figure(out, test_set, weights, progress)
    if what == "experience":
        return experience(out, test_set, weights, progress)
    return table(what, out, test_set, weights, progress)
