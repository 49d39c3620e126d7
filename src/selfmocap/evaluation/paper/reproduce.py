"""Run the papers' experiments end to end, on synthetic people or on the papers' own data."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from selfmocap.evaluation.paper.config import (
    BenchmarkConfig,
    HmmrTrainingConfig,
    OwnDataConfig,
    PaperExperiment,
)
from selfmocap.evaluation.paper.data_hmmr import reproduce_hmmr_on_data
from selfmocap.evaluation.paper.data_tables import reproduce_table_on_data
from selfmocap.evaluation.paper.figure3 import reproduce_figure3
from selfmocap.evaluation.paper.hmmr import reproduce_hmmr
from selfmocap.evaluation.paper.tables import TableRun, reproduce_table
from selfmocap.evaluation.paper.transfer import reproduce_transfer
from selfmocap.io.progress import ProgressCallback, no_progress

_HMMR_CLIPS, _HMMR_FRAMES = 64, 60
_DATA_OF = {
    "table1": {"surreal", "surreal_list", "smpl_model"},
    "table2": {"human36m"},
    "hmmr": {"threedpw", "human36m", "penn", "smpl_model"},
}
"""Options of data that an experiment takes."""


def reproduce(
    experiment: PaperExperiment,
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None = None,
    trainings: HmmrTrainingConfig | None = None,
    data: OwnDataConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Run one experiment, write its files into the folder `out`, and return its result. An interrupted run resumes.

    Only `hmmr` has `trainings`. `table1`, `table2` and `hmmr` run on `data` if given. Raises ValueError or
    FileNotFoundError that names the problem with the folders, the weights or the test clips."""
    if trainings is not None and experiment != "hmmr":
        raise ValueError(f"{experiment} trains no network; --train is for hmmr")
    if data is not None and data.folders():
        _check_data(experiment, data, trainings)
        out.mkdir(parents=True, exist_ok=True)
        if experiment == "hmmr":
            return reproduce_hmmr_on_data(out, data, weights, progress)
        return reproduce_table_on_data(TableRun(experiment, out, benchmark, weights, progress), data)
    out.mkdir(parents=True, exist_ok=True)
    if experiment == "hmmr":
        clips = _HMMR_CLIPS if benchmark.clips is None else benchmark.clips
        frames = _HMMR_FRAMES if benchmark.frames is None else benchmark.frames
        return reproduce_hmmr(
            out, replace(benchmark, clips=clips, frames=frames), weights, progress, trainings
        )
    if experiment == "figure3":
        return reproduce_figure3(out, benchmark, weights, progress)
    if experiment == "experience":
        return reproduce_transfer(out, benchmark, weights, progress)
    return reproduce_table(TableRun(experiment, out, benchmark, weights, progress))


def _check_data(
    experiment: PaperExperiment, data: OwnDataConfig, trainings: HmmrTrainingConfig | None
) -> None:
    wanted = _DATA_OF.get(experiment, set())
    sets = wanted - {"surreal_list", "smpl_model"}
    given = data.folders().keys()
    if given - wanted or not given & sets:
        options = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(given))
        expected = " or ".join(f"--{name}" for name in sorted(sets)) or "no data"
        raise ValueError(f"{experiment} takes {expected}, found {options}")
    if trainings is not None:
        raise ValueError("--train is for synthetic people; give it without data of the paper")
