"""The command `validate`."""

import json
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from selfmocap.cli.console import OUTPUT
from selfmocap.cli.progress import show_progress
from selfmocap.training.config import FrameDataConfig


def validate_command(data: Annotated[FrameDataConfig, arg(name="")], weights: Path | None = None) -> None:
    """Validate a frame network on synthetic people with motions that it was not trained on. Prints JSON.

    Args:
        weights: Weights file of the network; None uses the shipped weights.
    """
    from selfmocap.training.frame_recipe import validate_frame_weights

    with show_progress() as progress:
        scores = validate_frame_weights(weights, data, progress)
    OUTPUT.print_json(json.dumps(scores))
