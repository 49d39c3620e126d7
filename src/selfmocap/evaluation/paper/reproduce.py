"""Run the papers' experiments end to end on synthetic people."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from selfmocap.evaluation.paper.config import BenchmarkConfig, HmmrTrainingConfig, PaperExperiment
from selfmocap.evaluation.paper.figure3 import reproduce_figure3
from selfmocap.evaluation.paper.hmmr import reproduce_hmmr
from selfmocap.evaluation.paper.tables import reproduce_table
from selfmocap.evaluation.paper.transfer import reproduce_transfer
from selfmocap.io.progress import ProgressCallback, no_progress

_HMMR_CLIPS, _HMMR_FRAMES = 64, 60


def reproduce(
    experiment: PaperExperiment,
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None = None,
    trainings: HmmrTrainingConfig | None = None,
    progress: ProgressCallback = no_progress,
) -> dict[str, Any]:
    """Run one experiment, write its files into the folder `out`, and return its result. An interrupted run resumes.

    Only `hmmr` has `trainings`. Raises ValueError or FileNotFoundError that names the problem with the folders, the
    weights or the test clips."""
    if trainings is not None and experiment != "hmmr":
        raise ValueError(f"{experiment} trains no network; --train is for hmmr")
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
    return reproduce_table(experiment, out, benchmark, weights, progress)
