"""The command `validate-temporal`."""

import json
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from selfmocap.cli.console import OUTPUT
from selfmocap.cli.progress import show_progress
from selfmocap.training.config import TemporalValidationConfig

_DATA = TemporalValidationConfig(validation_clips=64)


def validate_temporal_command(
    data: Annotated[TemporalValidationConfig, arg(name="")] = _DATA, weights: Path | None = None
) -> None:
    """Validate a temporal network beside its frame network, plain and filtered, on synthetic clips. Prints JSON.

    Args:
        weights: Weights file of the network; None uses the shipped weights.
    """
    from selfmocap.training.temporal_recipe import validate_temporal_weights

    with show_progress() as progress:
        scores = validate_temporal_weights(weights, data, progress)
    OUTPUT.print_json(json.dumps(scores))
