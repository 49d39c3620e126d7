"""What a training run says of itself, and what it leaves on disk to go on from."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from selfmocap.io.atomic import atomic_write


@dataclass(frozen=True)
class Progress:
    """What a training run says of itself after a step."""

    step: int
    steps: int
    losses: dict[str, float]
    validation: dict[str, float] | None


def state_of_run(out: Path, config: Any, resume: bool) -> dict[str, Any] | None:
    """What the last checkpoint (`training.pt`) of the run in `out` holds, None where there is none. A ValueError for a
    run that is not to be resumed, or of another configuration."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / "training.pt"
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out} already holds a training run: resume it, or train into another folder")
    state = torch.load(path, weights_only=True, map_location="cpu")
    if state["config"] != json.dumps(asdict(config), sort_keys=True):
        raise ValueError(
            f"{out} holds a run of another configuration: {state['config']}; resume it with that one"
        )
    return state


class History:
    """One JSON line a step, and TensorBoard's events in the folder beside; what lies beyond the step that a run
    resumes from is cut off."""

    def __init__(self, path: Path, start: int, writes: bool) -> None:
        self.file = None
        if writes:
            from torch.utils.tensorboard import SummaryWriter

            kept = path.read_text().splitlines()[:start] if path.exists() else []
            with atomic_write(path) as partial:
                partial.write_text("".join(f"{line}\n" for line in kept))
            self.file = path.open("a")
            self.board = SummaryWriter(path.parent / "tensorboard", purge_step=start + 1)

    def __enter__(self) -> "History":
        return self

    def __exit__(self, *_: object) -> None:
        if self.file:
            self.file.close()
            self.board.close()

    def add(self, step: int, losses: dict[str, float], scores: dict[str, float] | None) -> None:
        if not self.file:
            return
        line = {"step": step, **losses, **({"validation": scores} if scores else {})}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        for name, value in (losses | (scores or {})).items():
            self.board.add_scalar(name, value, step)
