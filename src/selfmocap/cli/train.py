"""The command `train`."""

import json
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.cli.progress import show_progress
from selfmocap.training.config import FrameDataConfig, FrameRunConfig

_DATA = FrameDataConfig(validation_frames=640)


def train_command(
    out: Annotated[Path, arg(aliases=["-o"])],
    run: Annotated[FrameRunConfig, arg(name="")],
    data: Annotated[FrameDataConfig, arg(name="")] = _DATA,
) -> None:
    """Train a frame network on synthetic people. torchrun starts it on several processes.

    Args:
        out: Output folder for checkpoints, weights and the events of TensorBoard.
    """
    from selfmocap.training.frame_recipe import train_frame_preset

    with show_progress() as progress:
        scores = train_frame_preset(out, run, data, progress)
    OUTPUT.print(f"{bold(out / 'network.safetensors')}: {json.dumps(scores)}")
