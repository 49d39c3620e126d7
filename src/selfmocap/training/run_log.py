"""Log of a training run, and the checkpoint from which it resumes."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from selfmocap.io.atomic import atomic_write

CHECKPOINT_FILE = "training.pt"
"""File of a run's folder that holds all state to resume from."""
_CHECKPOINT_VERSION = 2


@dataclass(frozen=True)
class TrainingStatus:
    """Status of a training run after a step."""

    step: int
    """Steps done."""
    steps: int
    """Steps in all."""
    losses: dict[str, float]
    validation: dict[str, float] | None
    """Scores of the averaged weights, after the steps that validate."""


def read_checkpoint(out: Path, config: Any, resume: bool) -> dict[str, Any] | None:
    """Read the last checkpoint of the run in the folder `out`, None if there is none; the folder is created.

    Raises ValueError if there is one and not `resume`, if it is of another configuration, or of an earlier version."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / CHECKPOINT_FILE
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out} already holds a training run: resume it, or train into another folder")
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state.get("version") != _CHECKPOINT_VERSION:
        raise ValueError(
            f"{out} holds a training run of another version of selfmocap (checkpoint {state.get('version', 1)}, "
            f"expected {_CHECKPOINT_VERSION}): train into another folder"
        )
    if state["config"] != json.dumps(asdict(config), sort_keys=True):
        raise ValueError(
            f"{out} holds a run of another configuration: {state['config']}; resume it with that one"
        )
    return state


def write_checkpoint(out: Path, config: Any, step: int, state: dict[str, Any]) -> None:
    """Write `state` with the configuration and the number of steps done, atomically."""
    header = {
        "version": _CHECKPOINT_VERSION,
        "config": json.dumps(asdict(config), sort_keys=True),
        "step": step,
    }
    with atomic_write(out / CHECKPOINT_FILE) as partial:
        torch.save(state | header, partial)


class TrainingLog:
    """Write losses and validation scores: one JSON line a step, and TensorBoard events in the folder beside."""

    def __init__(self, path: Path, start: int, writes: bool) -> None:
        """Open the log at `path` after `start` steps; later lines of a former attempt are removed.

        With `writes` false nothing is written: of several processes one writes."""
        self.file = None
        if writes:
            from torch.utils.tensorboard import SummaryWriter

            kept = path.read_text().splitlines()[:start] if path.exists() else []
            with atomic_write(path) as partial:
                partial.write_text("".join(f"{line}\n" for line in kept))
            self.file = path.open("a")
            self.board = SummaryWriter(path.parent / "tensorboard", purge_step=start + 1)

    def __enter__(self) -> "TrainingLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
            self.board.close()

    def add(self, step: int, losses: dict[str, float], scores: dict[str, float] | None) -> None:
        """Write the losses of a step, and the scores of a validation after it."""
        if not self.file:
            return
        line = {"step": step, **losses, **({"validation": scores} if scores else {})}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in (losses | (scores or {})).items():
            self.board.add_scalar(name, value, step)
