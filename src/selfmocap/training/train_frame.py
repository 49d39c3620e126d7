"""Strong supervision: a frame network learns from synthetic people (Tung et al. 2017, section 3.2).

One script for one process, and for many under `torchrun`: a step's images come in parts of PART, each a pure function
of its own seed, and the processes share the parts among them. So neither the number of processes nor that of the
workers changes what is learned, and a run that was killed goes on exactly where its last checkpoint left it.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.geometry.tensors import concat, weighted_sum
from selfmocap.io.atomic import atomic_write
from selfmocap.io.cores import cap_workers
from selfmocap.losses.metrics import absolute_error, procrustes_error, root_aligned_error
from selfmocap.losses.supervised import (
    PAPER_WEIGHTS,
    SupervisedWeights,
    located_losses,
    paper_losses,
    supervised_losses,
)
from selfmocap.models.checkpoints import begin_from, blend, copy_of, save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.corrector import Located
from selfmocap.models.frame import FrameInputs, FrameNetwork, Prediction
from selfmocap.training.run_log import History, Progress, state_of_run

PART = 32
"""Images that are made together."""
_SURFACE_SAMPLE = 200
"""Vertices, beside those that keypoints need, on which the surface loss is taken."""

Sample = Callable[[int], tuple[FrameInputs, BodyParameters]]
"""From a seed to PART images and their truth in the camera frame."""


@dataclass(frozen=True)
class TrainConfig:
    """How to train."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    steps: int = 60_000
    batch: int = 64
    """Images a step, over all processes: a multiple of PART."""
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    losses: Literal["supervised", "paper"] = "supervised"
    average: float = 0.999
    """How much the averaged weights, which are the result, keep at each step."""
    seed: int = 0

    @classmethod
    def paper(cls) -> "TrainConfig":
        """The settings of the paper's release: Adam at a constant 1e-4, 32 images a step, the paper's four terms."""
        return cls(NetworkConfig.paper(), 10_000, PART, 1e-4, "constant", "paper")

    def __post_init__(self) -> None:
        if self.batch % PART or self.batch < PART or self.steps < 1:
            raise ValueError(
                f"a batch of {self.batch} images for {self.steps} steps: expected a multiple of {PART}"
            )


@runtime_checkable
class Schedule(Protocol):
    """How fast to learn, and for how long."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def steps(self) -> int: ...


@runtime_checkable
class Pool(Protocol):
    """Frames that lie on the device that learns, instead of a `Sample`."""

    def batches(
        self, steps: range, batch: int, seed: int, workers: int, device: torch.device
    ) -> Iterator[tuple[FrameInputs, BodyParameters]]:
        """`batch` frames and their truth for each of `steps`: the same for the same arguments, wherever `steps`
        begins."""
        ...


class _Parts(Dataset[tuple[FrameInputs, BodyParameters]]):
    def __init__(self, sample: Sample, seed: int) -> None:
        self.sample, self.seed = sample, seed

    def __getitem__(self, part: int) -> tuple[FrameInputs, BodyParameters]:
        return self.sample(self.seed * 1_000_003_000 + part)


def train(
    config: TrainConfig,
    sample: Sample | Pool,
    body: Body,
    out: Path,
    workers: int = 0,
    resume: bool = False,
    begin: FrameNetwork | None = None,
    validation: Sequence[tuple[FrameInputs, BodyParameters]] = (),
    every: int = 1000,
    progress: Callable[[Progress], None] = lambda _: None,
    fabric: Fabric | None = None,
) -> FrameNetwork:
    """Trains a network into the folder `out` and gives its averaged weights.

    `out/network.safetensors` holds the averaged weights with all that is to be known about them, `out/training.pt`
    what `resume` goes on from, `out/history.jsonl` the losses a step and the validation every `every` steps, when both
    checkpoints are written too. `report` is called after every step. Raises ValueError where `out` already holds a run
    that is not to be resumed, or one of another configuration. With `begin`, a network that sees coordinates alone,
    training starts from what that one has learned. Of a Pool, every process draws frames of its own."""
    fabric = fabric or fabric_here()
    torch.manual_seed(config.seed)
    network = FrameNetwork(config.network).to(fabric.device)
    if begin is not None:
        begin_from(network, begin)
    average = copy_of(network).eval()
    optimizer = optimizer_of(config, network)
    start, precision = _resumed(config, out, resume, network, average, optimizer)
    model, fabric_optimizer = fabric.setup(ByName(network), optimizer)
    surface = supervised_body(body, config.network.keypoint_set).to(fabric.device)
    seen = batches(config, sample, start, workers, fabric)
    with History(out / "history.jsonl", start, fabric.is_global_zero) as history:
        for step in range(start, config.steps):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(config, step)
            losses = train_step(config, model, fabric_optimizer, *next(seen), surface, precision, fabric)
            blend(average, network, keep=min(config.average, (step + 1) / (step + 10)))
            done = step + 1
            scores = None
            if done % every == 0 or done == config.steps:
                scores = validate(average, body, validation) if validation else {}
                if fabric.is_global_zero:
                    _save(config, out, done, precision, network, average, optimizer, scores)
            history.add(done, losses, scores)
            progress(Progress(done, config.steps, losses, scores))
    return average


def fabric_here() -> Fabric:
    """One process on the best device there is; under `torchrun`, one of the processes that it started."""
    if not torch.distributed.is_torchelastic_launched():
        return Fabric(accelerator="auto", devices=1)
    here, everywhere = (int(os.environ[name]) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
    fabric = Fabric(accelerator="auto", strategy="ddp", devices=here, num_nodes=everywhere // here)
    fabric.launch()
    return fabric


class ByName(torch.nn.Module):
    """The network with plain tensors in and out, which is all that Fabric passes on; compiled on a GPU, where what it
    does to each pixel takes longer than its convolutions."""

    def __init__(self, network: FrameNetwork) -> None:
        super().__init__()
        self.network = network
        if network.corrector is not None and network.start.is_cuda:
            network.corrector.compile()

    def forward(self, **tensors: Tensor | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The parts of a Prediction, and of a Located where keypoints are corrected."""
        known: dict[str, Any] = tensors
        inputs = FrameInputs(**known)
        located = self.network.located(inputs)
        return vars(self.network(inputs.corrected(located))), vars(located) if located else {}


def optimizer_of(config: TrainConfig, network: FrameNetwork) -> torch.optim.Optimizer:
    if config.losses == "paper":
        return torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.5, 0.999))
    return torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0.01)


def learning_rate(config: Schedule, step: int) -> float:
    """Constant, or 200 steps of warm-up and then a cosine down to 0."""
    if config.schedule == "constant":
        return config.learning_rate
    warm = min(1.0, (step + 1) / 200)
    return config.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / config.steps))


def batches(
    config: TrainConfig, sample: Sample | Pool, start: int, workers: int, fabric: Fabric
) -> Iterator[tuple[FrameInputs, BodyParameters]]:
    """This process' share of every step from `start` on, in order, on its device."""
    a_step = config.batch // PART
    if a_step % fabric.world_size:
        raise ValueError(
            f"{a_step} parts of {PART} images a step cannot be shared by {fabric.world_size} processes"
        )
    if isinstance(sample, Pool):
        seed = config.seed * fabric.world_size + fabric.global_rank
        share = config.batch // fabric.world_size
        yield from sample.batches(range(start, config.steps), share, seed, workers, fabric.device)
        return
    mine = range(fabric.global_rank, a_step, fabric.world_size)
    order = [step * a_step + part for step in range(start, config.steps) for part in mine]
    parts = iter(
        DataLoader(
            _Parts(sample, config.seed), batch_size=None, sampler=order, num_workers=cap_workers(workers)
        )
    )
    for _ in range(start, config.steps):
        inputs, truths = zip(*(next(parts) for _ in mine), strict=True)
        yield concat(inputs).to(fabric.device), concat(truths).to(fabric.device)


def supervised_body(body: Body, keypoint_set: str) -> Body:
    """The body with the vertices on which the supervised losses are taken."""
    used = body.regressors[keypoint_set].vertices
    spread = torch.linspace(0, len(body.vertex_joint) - 1, _SURFACE_SAMPLE).long()
    return body.with_vertices(torch.unique(torch.cat([used, spread])))


def train_step(
    config: TrainConfig,
    model: Any,
    optimizer: Any,
    inputs: FrameInputs,
    truth: BodyParameters,
    body: Body,
    precision: torch.dtype,
    fabric: Fabric,
) -> dict[str, float]:
    """One step of the optimiser: the mean of each loss over all images of all processes. `body` is
    `supervised_body`."""
    optimizer.zero_grad()
    with torch.autocast(fabric.device.type, precision, enabled=precision != torch.float32):
        predicted, located = model(**vars(inputs))
    prediction = Prediction(**predicted)
    if config.losses == "paper":
        losses = paper_losses(prediction, inputs, truth)
    else:
        losses = supervised_losses(body, config.network.keypoint_set, prediction, inputs, truth)
        if located:
            losses |= located_losses(body, config.network.keypoint_set, Located(**located), inputs, truth)
    means = {name: loss.mean() for name, loss in losses.items()}
    total = weighted_sum(means, PAPER_WEIGHTS if config.losses == "paper" else asdict(SupervisedWeights()))
    fabric.backward(total)
    sums = torch.stack([mean.detach() for mean in (*means.values(), total)])
    fabric.clip_gradients(model, optimizer, max_norm=5.0, error_if_nonfinite=False)
    optimizer.step()
    if fabric.world_size > 1:
        sums = torch.as_tensor(fabric.all_reduce(sums, reduce_op="mean"))
    return dict(zip((*means, "total"), sums.tolist(), strict=True))


def fastest_precision(config: NetworkConfig, device: torch.device) -> torch.dtype:
    """bfloat16 where three forward and backward passes of this network, right now and here, take less time in it than
    in float32, on PART images."""
    if config.trunk == "none" and not config.corrector:
        return torch.float32
    network = FrameNetwork(config).to(device)
    side, keypoints = CROP_SIZE, len(keypoint_set(config.keypoint_set).names)
    inputs = FrameInputs(
        crops=torch.randint(1, 255, (PART, side, side, 3), dtype=torch.uint8),
        keypoints=torch.rand(PART, keypoints, 2) * side,
        confidence=torch.ones(PART, keypoints),
        boxes=torch.full((PART, 3), side / 2),
        focal=torch.full((PART, 2), 4.0 * side),
        center=torch.full((PART, 2), side / 2),
        masks=torch.ones(PART, side, side, dtype=torch.bool),
    ).to(device)
    taken = {}
    for precision in (torch.float32, torch.bfloat16) * 3:
        begin = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            prediction = network(inputs)
        prediction.R_parent_joint.sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        taken[precision] = min(taken.get(precision, math.inf), time.perf_counter() - begin)
    return min(taken, key=taken.__getitem__)


def validate(
    network: FrameNetwork, body: Body, batches: Sequence[tuple[FrameInputs, BodyParameters]]
) -> dict[str, float]:
    """Mean errors in mm over batches of frames with their truth (in the camera frame): the keys of docs/reference/file-formats.md."""
    errors: dict[str, list[Float[Tensor, " batch"]]] = {}
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.no_grad():
        for inputs, truth in batches:
            estimate = network(inputs.to(device)).parameters(inputs.to(device)).to("cpu")
            found, known = body.pose(estimate), body.pose(truth)
            roots = estimate.p_world_root, truth.p_world_root
            for name, error in (
                ("mpjpe_mm", root_aligned_error(found.joints, known.joints, *roots)),
                ("pa_mpjpe_mm", procrustes_error(found.joints, known.joints)),
                ("surface_mm", root_aligned_error(found.vertices, known.vertices, *roots)),
                ("absolute_mpjpe_mm", absolute_error(found.joints, known.joints)),
            ):
                errors.setdefault(name, []).append(1000 * error.mean(-1))
    network.train(training)
    return {name: float(torch.cat(values).mean()) for name, values in errors.items()}


# ---- what is kept on disk -------------------------------------------------------------------------------------


def _save(
    config: TrainConfig,
    out: Path,
    step: int,
    precision: torch.dtype,
    network: FrameNetwork,
    average: FrameNetwork,
    optimizer: torch.optim.Optimizer,
    scores: dict[str, float],
) -> None:
    about = {"training": asdict(config), "step": step, "validation": scores}
    save_network(out / "network.safetensors", average, about)
    state = {
        "config": json.dumps(asdict(config), sort_keys=True),
        "step": step,
        "precision": str(precision).removeprefix("torch."),
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    with atomic_write(out / "training.pt") as partial:
        torch.save(state, partial)


def _resumed(
    config: TrainConfig,
    out: Path,
    resume: bool,
    network: FrameNetwork,
    average: FrameNetwork,
    optimizer: torch.optim.Optimizer,
) -> tuple[int, torch.dtype]:
    """Restores the run in `out`, if there is one, and gives the number of steps that it has taken, and in which
    precision: the fastest one for a new run."""
    state = state_of_run(out, config, resume)
    if state is None:
        return 0, fastest_precision(config.network, network.start.device)
    network.load_state_dict(state["network"])
    average.load_state_dict(state["average"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"]), getattr(torch, state["precision"])
