"""The command `reproduce`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT
from selfmocap.cli.progress import show_progress
from selfmocap.evaluation.paper.config import (
    BenchmarkConfig,
    HmmrTrainingConfig,
    OwnDataConfig,
    PaperExperiment,
)


def reproduce_command(
    experiment: Positional[PaperExperiment],
    out: Annotated[Path, arg(aliases=["-o"])],
    benchmark: Annotated[BenchmarkConfig, arg(name="")],
    trainings: Annotated[HmmrTrainingConfig, arg(name="")],
    data: Annotated[OwnDataConfig, arg(name="")],
    weights: Path | None = None,
    train: bool = False,
) -> None:
    """Run an experiment of the papers on synthetic people, or on the papers' data.

    Args:
        experiment: Table 1 (true keypoints), table 2 (another domain, detected keypoints), figure 3 (losses),
            experience (does adaptation transfer to new clips), or hmmr (the second paper's table).
        out: Output folder. An interrupted run resumes there.
        weights: Weights file of the network; None uses the shipped weights.
        train: For hmmr, also train rows without deltas and with increasing fractions of unlabelled video.
    """
    from selfmocap.evaluation.paper.reproduce import reproduce

    with show_progress() as progress:
        reproduce(experiment, out, benchmark, weights, trainings if train else None, data, progress)
    OUTPUT.print(f"[bold]{out / experiment}.json[/]")
