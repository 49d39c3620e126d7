"""The command `train-temporal`."""

import json
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.training.config import TemporalDataConfig, TemporalRunConfig


def train_temporal_command(
    out: Annotated[Path, arg(aliases=["-o"])],
    run: Annotated[TemporalRunConfig, arg(name="")],
    data: Annotated[TemporalDataConfig, arg(name="")],
) -> None:
    """Train a temporal network on synthetic clips and unlabelled video. torchrun starts it on several processes.

    Args:
        out: Output folder for checkpoints, weights and the events of TensorBoard.
    """
    from selfmocap.training.temporal_recipe import train_temporal_preset

    with show_progress() as progress:
        scores = train_temporal_preset(out, run, data, progress)
    OUTPUT.print(f"{bold(out / 'network.safetensors')}: {json.dumps(scores)}")
