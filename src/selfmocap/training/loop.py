"""The training loop of both networks, for one process or for many under `torchrun`.

A step consists of micro-batches, each a pure function of its own seed, and the processes share them. So neither the
number of processes nor that of the workers changes the result, and an interrupted run resumes bit for bit from its last
checkpoint. What differs between the networks is a `TrainingRun`: its modules, batches, step and validation.
"""

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import nn

from selfmocap.models.checkpoints import ema_update
from selfmocap.synthetic.scene_pool import SEEDS_PER_RUN, map_in_workers
from selfmocap.training.run_log import TrainingLog, TrainingStatus, read_checkpoint, write_checkpoint

WARMUP_STEPS = 200
"""Steps over which the learning rate of the cosine schedule rises."""

_Batch = TypeVar("_Batch")


@runtime_checkable
class LoopConfig(Protocol):
    """Settings that the loop reads from a training configuration."""

    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def ema_decay(self) -> float: ...
    @property
    def seed(self) -> int: ...


@runtime_checkable
class Stateful(Protocol):
    """A module or an optimiser: it has a state that a checkpoint holds."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state_dict: dict[str, Any]) -> Any: ...


@dataclass(frozen=True, eq=False)
class TrainingRun(Generic[_Batch]):
    """A training run of one network."""

    config: Any
    """A dataclass with the fields of LoopConfig."""
    network: nn.Module
    average: nn.Module
    """Exponential moving average of the weights, the result."""
    optimizer: torch.optim.Optimizer
    """Optimiser of the network, which follows the learning rate schedule."""
    state: Mapping[str, Stateful]
    """Modules and optimisers that a checkpoint holds, by name."""
    batches: Iterator[_Batch]
    """Batches of this process from the first step on."""
    step: Callable[[int, Iterator[_Batch]], dict[str, float]]
    """Take a step of the optimisers: from its number and the batches to the losses."""
    validate: Callable[[], dict[str, float]]
    """Compute the scores of the average; empty without validation data."""
    save: Callable[[Path, dict[str, Any]], None]
    """Write the average to a weights file, with data that describe it."""
    more_state: Mapping[str, Any]
    """Plain values that a checkpoint also holds."""


def train_network(
    run: TrainingRun[Any],
    start: int,
    out: Path,
    every: int,
    progress: Callable[[TrainingStatus], None],
    fabric: Fabric,
) -> None:
    """Train from step `start` to the last one; validate and write a checkpoint after each `every` steps.

    Writes to the folder `out`: `history.jsonl` and TensorBoard events, `network.safetensors` (the averaged weights)
    and the checkpoint. `progress` is called after every step."""
    config: LoopConfig = run.config
    with TrainingLog(out / "history.jsonl", start, fabric.is_global_zero) as log:
        for step in range(start, config.steps):
            for group in run.optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            losses = run.step(step, run.batches)
            ema_update(run.average, run.network, decay=min(config.ema_decay, (step + 1) / (step + 10)))
            done, scores = step + 1, None
            if done % every == 0 or done == config.steps:
                scores = run.validate()
                if fabric.is_global_zero:
                    about = {"training": asdict(run.config), "step": done, "validation": scores}
                    run.save(out / "network.safetensors", about)
                    state = {name: part.state_dict() for name, part in run.state.items()}
                    write_checkpoint(out, run.config, done, {**state, **run.more_state})
            log.add(done, losses, scores)
            progress(TrainingStatus(done, config.steps, losses, scores))


def restore(state: Mapping[str, Stateful], config: Any, out: Path, resume: bool) -> dict[str, Any]:
    """Load the checkpoint of the run in `out` into modules and optimisers, and return it; `step` is 0 without one.

    Must precede `Fabric.setup`. Raises ValueError as `run_log.read_checkpoint`."""
    checkpoint = read_checkpoint(out, config, resume)
    if checkpoint is None:
        return {"step": 0}
    for name, part in state.items():
        part.load_state_dict(checkpoint[name])
    return checkpoint


def learning_rate(config: LoopConfig, step: int) -> float:
    """Compute the learning rate of a step: constant, or warm-up and then a cosine down to 0."""
    if config.schedule == "constant":
        return config.learning_rate
    warmup = min(1.0, (step + 1) / WARMUP_STEPS)
    return config.learning_rate * warmup * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def launch_fabric() -> Fabric:
    """Set up one process on the best device; under `torchrun`, one of its processes."""
    if not torch.distributed.is_torchelastic_launched():
        return Fabric(accelerator="auto", devices=1)
    local, world = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    fabric = Fabric(accelerator="auto", strategy="ddp", devices=local, num_nodes=world // local)
    fabric.launch()
    return fabric


def micro_batches(
    sample: Callable[[int], _Batch], config: LoopConfig, size: int, start: int, workers: int, fabric: Fabric
) -> Iterator[_Batch]:
    """Return this process' micro-batches of every step from `start` on, in order.

    `sample` makes a micro-batch of `size` from its number; `workers` processes call it. Raises ValueError if the
    processes cannot share the micro-batches of a step equally."""
    per_step = micro_batches_per_step(config, size, fabric) * fabric.world_size
    own = range(fabric.global_rank, per_step, fabric.world_size)
    order = [step * per_step + number for step in range(start, config.steps) for number in own]
    return map_in_workers(sample, order, workers)


def micro_batches_per_step(config: LoopConfig, size: int, fabric: Fabric) -> int:
    """Return the number of micro-batches of one process in a step; errors as in `micro_batches`."""
    per_step = config.batch // size
    if per_step % fabric.world_size:
        raise ValueError(
            f"{per_step} micro-batches of {size} a step cannot be shared equally by {fabric.world_size} processes: "
            f"expected a batch that is a multiple of {size * fabric.world_size}"
        )
    return per_step // fabric.world_size


def micro_batch_seed(config: LoopConfig, number: int) -> int:
    """Compute the seed of a micro-batch: no two runs of different seeds share one."""
    return config.seed * SEEDS_PER_RUN + number
