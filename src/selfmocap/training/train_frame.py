"""Train a frame network with strong supervision, on synthetic people (Tung et al. 2017, section 3.2)."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.geometry.tensors import concat, weighted_sum
from selfmocap.losses.metrics import absolute_error, procrustes_error, root_aligned_error
from selfmocap.losses.supervised import (
    PAPER_LOSS_WEIGHTS,
    SupervisedWeights,
    paper_losses,
    refinement_losses,
    supervised_losses,
)
from selfmocap.models.checkpoints import copy_network, init_from, save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.corrector import RefinedKeypoints
from selfmocap.models.frame import FrameInputs, FrameNetwork, Prediction
from selfmocap.training.loop import (
    TrainingRun,
    launch_fabric,
    micro_batch_seed,
    micro_batches,
    micro_batches_per_step,
    restore,
    train_network,
)
from selfmocap.training.run_log import TrainingStatus

MICRO_BATCH_FRAMES = 32
"""Frames of a micro-batch, which are made together."""
_NUM_SURFACE_VERTICES = 200
"""Vertices of the surface loss, beside those that keypoints need."""
_MAX_GRADIENT_NORM = 5.0
_MEASURED_FRAMES = 8
"""Frames on which a CPU's precisions are compared."""

FrameBatch = tuple[FrameInputs, BodyParameters]
"""Frames and their truth in the camera frame."""
FrameSource = Callable[[int], FrameBatch]
"""From a seed to a micro-batch."""


@runtime_checkable
class FrameStream(Protocol):
    """Batches that are made on the training device, instead of a FrameSource."""

    def batches(
        self, steps: range, batch: int, seed: int, workers: int, device: torch.device
    ) -> Iterator[FrameBatch]:
        """Yield `batch` frames for each of `steps`: the same for the same arguments, wherever `steps` starts."""
        ...


@dataclass(frozen=True)
class FrameTrainConfig:
    """Configure the training of a frame network."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """The network to train."""
    steps: int = 60_000
    """Steps of the optimiser."""
    batch: int = 64
    """Frames per step over all processes: a multiple of 32."""
    learning_rate: float = 1e-3
    """Highest learning rate."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate schedule: warm-up and cosine, or constant."""
    losses: Literal["supervised", "paper"] = "supervised"
    """Loss terms: the default ones, or the paper's four."""
    ema_decay: float = 0.999
    """Decay of the exponential moving average of the weights, which is the result."""
    seed: int = 0
    """Random seed."""

    @classmethod
    def paper(cls) -> "FrameTrainConfig":
        """Return the settings of the paper's release: Adam at a constant 1e-4, 32 images a step, the four terms."""
        return cls(NetworkConfig.paper(), 10_000, MICRO_BATCH_FRAMES, 1e-4, "constant", "paper")

    def __post_init__(self) -> None:
        if self.batch % MICRO_BATCH_FRAMES or self.batch < MICRO_BATCH_FRAMES or self.steps < 1:
            raise ValueError(
                f"a batch of {self.batch} frames and {self.steps} steps: expected a multiple of "
                f"{MICRO_BATCH_FRAMES} and at least one step"
            )


def train_frame_network(
    config: FrameTrainConfig,
    source: FrameSource | FrameStream,
    body: Body,
    out: Path,
    workers: int = 0,
    resume: bool = False,
    initial: FrameNetwork | None = None,
    validation: Sequence[FrameBatch] = (),
    posed: Body | None = None,
    every: int = 1000,
    progress: Callable[[TrainingStatus], None] = lambda _: None,
    fabric: Fabric | None = None,
) -> FrameNetwork:
    """Train a network into the folder `out` (see `loop.train_network`) and return its averaged weights.

    With `initial`, a network of the same configuration or one that uses keypoint coordinates only, training starts from
    its weights. `posed` is the body of the losses (default: `loss_body`). Of a FrameStream, every process draws its own
    frames. Raises ValueError if `out` holds a run that is not to be resumed, or one of
    another configuration or version."""
    fabric = fabric or launch_fabric()
    torch.manual_seed(config.seed)
    network = FrameNetwork(config.network).to(fabric.device)
    if initial is not None:
        init_from(network, initial)
    average = copy_network(network).eval()
    optimizer = build_optimizer(config, network)
    state = {"network": network, "average": average, "optimizer": optimizer}
    checkpoint = restore(state, config, out, resume)
    precision = (
        getattr(torch, checkpoint["precision"])
        if "precision" in checkpoint
        else fastest_precision(config.network, fabric.device)
    )
    model, fabric_optimizer = fabric.setup(TensorModule(network), optimizer)
    posed_body = (posed or loss_body(body, config.network.keypoint_set)).to(fabric.device)

    def step(_: int, batches: Iterator[FrameBatch]) -> dict[str, float]:
        inputs, truth = next(batches)
        return train_step(config, model, fabric_optimizer, inputs, truth, posed_body, precision, fabric)

    run = TrainingRun(
        config,
        network,
        average,
        optimizer,
        state,
        batches=step_batches(config, source, checkpoint["step"], workers, fabric),
        step=step,
        validate=lambda: validate_frame_network(average, body, validation) if validation else {},
        save=lambda path, about: save_network(path, average, about),
        more_state={"precision": str(precision).removeprefix("torch.")},
    )
    train_network(run, checkpoint["step"], out, every, progress, fabric)
    return average


class TensorModule(torch.nn.Module):
    """The network with tensors as inputs and outputs, which is all that Fabric passes on.

    On a GPU the corrector is compiled: its pixelwise operations take longer than its convolutions."""

    def __init__(self, network: FrameNetwork) -> None:
        super().__init__()
        self.network = network
        if network.corrector is not None and network.start.is_cuda:
            network.corrector.compile()

    def forward(self, **tensors: Tensor | None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the fields of a Prediction, and those of RefinedKeypoints (empty without a corrector)."""
        known: dict[str, Any] = tensors
        inputs = FrameInputs(**known)
        refined = self.network.refine_keypoints(inputs)
        return vars(self.network(inputs.with_refined(refined))), vars(refined) if refined else {}


def build_optimizer(config: FrameTrainConfig, network: FrameNetwork) -> torch.optim.Optimizer:
    """Build AdamW, or the paper's Adam for the paper's losses."""
    if config.losses == "paper":
        return torch.optim.Adam(network.parameters(), lr=config.learning_rate, betas=(0.5, 0.999))
    return torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0.01)


def step_batches(
    config: FrameTrainConfig, source: FrameSource | FrameStream, start: int, workers: int, fabric: Fabric
) -> Iterator[FrameBatch]:
    """Yield this process' frames of every step from `start` on, on its device."""
    count = micro_batches_per_step(config, MICRO_BATCH_FRAMES, fabric)
    if isinstance(source, FrameStream):
        seed = config.seed * fabric.world_size + fabric.global_rank
        own = config.batch // fabric.world_size
        yield from source.batches(range(start, config.steps), own, seed, workers, fabric.device)
        return
    sample = partial(_sample, source, config)
    parts = micro_batches(sample, config, MICRO_BATCH_FRAMES, start, workers, fabric)
    for _ in range(start, config.steps):
        inputs, truths = zip(*(next(parts) for _ in range(count)), strict=True)
        yield concat(inputs).to(fabric.device), concat(truths).to(fabric.device)


def _sample(source: FrameSource, config: FrameTrainConfig, number: int) -> FrameBatch:
    return source(micro_batch_seed(config, number))


def loss_body(body: Body, keypoint_set: str) -> Body:
    """Return the body with the vertices that the supervised losses use."""
    used = body.regressors[keypoint_set].vertices
    surface = torch.linspace(0, len(body.vertex_joint) - 1, _NUM_SURFACE_VERTICES).long()
    return body.with_vertices(torch.unique(torch.cat([used, surface])))


def train_step(
    config: FrameTrainConfig,
    model: Any,
    optimizer: Any,
    inputs: FrameInputs,
    truth: BodyParameters,
    body: Body,
    precision: torch.dtype,
    fabric: Fabric,
) -> dict[str, float]:
    """Take one step of the optimiser; return the mean of each loss over the frames of all processes.

    `body` is that of `loss_body`."""
    optimizer.zero_grad()
    with torch.autocast(fabric.device.type, precision, enabled=precision != torch.float32):
        predicted, refined = model(**vars(inputs))
    prediction = Prediction(**predicted)
    if config.losses == "paper":
        losses = paper_losses(prediction, inputs, truth)
    else:
        name = config.network.keypoint_set
        losses = supervised_losses(body, name, prediction, inputs, truth)
        if refined:
            losses |= refinement_losses(body, name, RefinedKeypoints(**refined), inputs, truth)
    means = {name: loss.mean() for name, loss in losses.items()}
    weights = PAPER_LOSS_WEIGHTS if config.losses == "paper" else asdict(SupervisedWeights())
    total = weighted_sum(means, weights)
    fabric.backward(total)
    sums = torch.stack([mean.detach() for mean in (*means.values(), total)])
    fabric.clip_gradients(model, optimizer, max_norm=_MAX_GRADIENT_NORM, error_if_nonfinite=False)
    optimizer.step()
    if fabric.world_size > 1:
        sums = torch.as_tensor(fabric.all_reduce(sums, reduce_op="mean"))
    return dict(zip((*means, "total"), sums.tolist(), strict=True))


def fastest_precision(config: NetworkConfig, device: torch.device) -> torch.dtype:
    """Measure whether this network is faster in float32 or in bfloat16 on this device, and return the faster type.

    The best of three forward and backward passes counts, of a micro-batch on a GPU and of fewer frames on a CPU; a
    bfloat16 that takes twice as long, which the processor emulates, is measured once. Without convolutions it is
    float32."""
    if config.trunk == "none" and not config.corrector:
        return torch.float32
    network = FrameNetwork(config).to(device)
    side, keypoints = CROP_SIZE, len(keypoint_set(config.keypoint_set).names)
    count = MICRO_BATCH_FRAMES if device.type == "cuda" else _MEASURED_FRAMES
    inputs = FrameInputs(
        crops=torch.randint(1, 255, (count, side, side, 3), dtype=torch.uint8),
        keypoints=torch.rand(count, keypoints, 2) * side,
        confidence=torch.ones(count, keypoints),
        boxes=torch.full((count, 3), side / 2),
        focal=torch.full((count, 2), 4.0 * side),
        center=torch.full((count, 2), side / 2),
        masks=torch.ones(count, side, side, dtype=torch.bool),
    ).to(device)
    seconds: dict[torch.dtype, float] = {}
    for precision in (torch.float32, torch.bfloat16) * 3:
        start = time.perf_counter()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            prediction = network(inputs)
        prediction.R_parent_joint.sum().backward()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds[precision] = min(seconds.get(precision, math.inf), time.perf_counter() - start)
        if device.type == "cpu" and seconds.get(torch.bfloat16, 0.0) > 2 * seconds[torch.float32]:
            return torch.float32
    return min(seconds, key=seconds.__getitem__)


def validate_frame_network(
    network: FrameNetwork, body: Body, batches: Sequence[FrameBatch]
) -> dict[str, float]:
    """Compute mean errors (mm) over batches of frames: the keys of docs/reference/file-formats.md."""
    errors: dict[str, list[Float[Tensor, " batch"]]] = {}
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    with torch.no_grad():
        for inputs, truth in batches:
            parameters = network(inputs.to(device)).parameters(inputs.to(device)).to("cpu")
            estimate, true = body.pose(parameters), body.pose(truth)
            roots = parameters.p_world_root, truth.p_world_root
            for name, error in (
                ("mpjpe_mm", root_aligned_error(estimate.joints, true.joints, *roots)),
                ("pa_mpjpe_mm", procrustes_error(estimate.joints, true.joints)),
                ("surface_mm", root_aligned_error(estimate.vertices, true.vertices, *roots)),
                ("absolute_mpjpe_mm", absolute_error(estimate.joints, true.joints)),
            ):
                errors.setdefault(name, []).append(1000 * error.mean(-1))
    network.train(training)
    return {name: float(torch.cat(values).mean()) for name, values in errors.items()}
