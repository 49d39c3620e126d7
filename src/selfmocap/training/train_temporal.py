"""Train a temporal network on clips with truth and on videos with detected keypoints only (Kanazawa et al. 2019).

The network is trained against a discriminator of poses."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from lightning_fabric import Fabric
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.losses.adversarial import (
    AdversarialModules,
    generator_losses,
    pose_discriminator_loss,
)
from selfmocap.losses.temporal import TemporalWeights
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.pose_discriminator import PoseDiscriminator
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork
from selfmocap.models.temporal_inference import save_temporal
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
from selfmocap.training.temporal_data import CLIPS_PER_SCENE, ClipBatch, ClipSource, concat_clips
from selfmocap.training.validate_temporal import Scores, validation_scores

MICRO_BATCH_CLIPS = 2 * CLIPS_PER_SCENE
"""Clips of a micro-batch: half of them labelled, half unlabelled."""
_MAX_GRADIENT_NORM = 50.0


@dataclass(frozen=True)
class TemporalTrainConfig:
    """Configure the training of a temporal network. The defaults are for two cores."""

    network: TemporalConfig = field(default_factory=TemporalConfig)
    """The network to train."""
    weights: TemporalWeights = field(default_factory=TemporalWeights.compact)
    """Weights of the loss terms."""
    steps: int = 20_000
    """Steps of the optimisers."""
    batch: int = 8
    """Clips per step over all processes: a multiple of 4."""
    learning_rate: float = 3e-4
    """Highest learning rate of the network."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning rate schedule of the network: warm-up and cosine, or constant."""
    discriminator_learning_rate: float = 1e-4
    """Constant learning rate of the discriminator."""
    discriminator_width: int = 128
    """Hidden units of the discriminator of the full pose."""
    num_delta_frames: int | None = 24
    """Random frames of a micro-batch at which past, future and hallucinations are trained.

    None: all frames. 0: only the present is trained."""
    ema_decay: float = 0.999
    """Decay of the exponential moving average of the weights, which is the result."""
    seed: int = 0
    """Random seed."""

    @classmethod
    def paper(cls) -> "TemporalTrainConfig":
        """Return the paper's settings: 8 clips of 20 frames a step, Adam at constant rates, as long as the release."""
        return cls(
            TemporalConfig.paper(), TemporalWeights(), 560_000, 8, 1e-5, "constant", 1e-4, 1024,
            num_delta_frames=None,
        )  # fmt: skip

    def __post_init__(self) -> None:
        if self.batch % MICRO_BATCH_CLIPS or self.batch < MICRO_BATCH_CLIPS or self.steps < 1:
            raise ValueError(
                f"a batch of {self.batch} clips and {self.steps} steps: expected a multiple of {MICRO_BATCH_CLIPS} "
                f"and at least one step"
            )


@dataclass(frozen=True, eq=False)
class TemporalTrainingData:
    """Data of a training run."""

    labelled: ClipSource
    """Clips with 3D truth."""
    unlabelled: ClipSource
    """Clips with keypoints only; the same as `labelled` if there is no unlabelled video."""
    poses: Float[Tensor, "poses 24 3 3"]
    """Real poses for the discriminator."""
    validation: ClipBatch | None = None
    """Clips with truth."""


def train_temporal_network(
    config: TemporalTrainConfig,
    frame: FrameNetwork,
    data: TemporalTrainingData,
    body: Body,
    out: Path,
    workers: int = 0,
    resume: bool = False,
    every: int = 500,
    progress: Callable[[TrainingStatus], None] = lambda _: None,
    fabric: Fabric | None = None,
) -> TemporalNetwork:
    """Train a temporal network over the frozen network `frame` into the folder `out`; return its averaged weights.

    Files as `loop.train_network` writes them. Raises ValueError if `frame` uses RGB (only a corrector may), or if `out`
    holds a run that is not to be resumed, or one of another configuration or version."""
    if frame.config.rgb:
        raise ValueError(
            "a temporal network needs a frame network that uses keypoints alone, or corrected ones: rgb=False"
        )
    fabric = fabric or launch_fabric()
    torch.manual_seed(config.seed)
    network = TemporalNetwork(frame.config, config.network)
    network.frame.load_state_dict(frame.state_dict())
    discriminator = PoseDiscriminator(config.discriminator_width)
    average = copy.deepcopy(network).to(fabric.device).eval()
    network, discriminator = network.to(fabric.device).train(), discriminator.to(fabric.device)
    trained = [p for p in network.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(trained, lr=config.learning_rate)
    discriminator_optimizer = torch.optim.Adam(
        discriminator.parameters(), lr=config.discriminator_learning_rate
    )
    state = {
        "network": network,
        "discriminator": discriminator,
        "average": average,
        "network_optimizer": optimizer,
        "discriminator_optimizer": discriminator_optimizer,
    }
    start = restore(state, config, out, resume)["step"]
    wrapped_network, fabric_optimizer = fabric.setup(network, optimizer)
    wrapped_discriminator, fabric_discriminator_optimizer = fabric.setup(
        discriminator, discriminator_optimizer
    )
    modules = AdversarialModules(network, discriminator, wrapped_network, wrapped_discriminator)
    optimizers = fabric_optimizer, fabric_discriminator_optimizer
    keypoint_body = body.with_vertices(body.regressors[frame.config.keypoint_set].vertices).to(fabric.device)

    def step(number: int, batches: Iterator[ClipBatch]) -> dict[str, float]:
        return _train_step(config, number, modules, optimizers, batches, data.poses, keypoint_body, fabric)

    run = TrainingRun(
        config,
        network,
        average,
        optimizer,
        state,
        batches=micro_batches(
            partial(_sample, data, config), config, MICRO_BATCH_CLIPS, start, workers, fabric
        ),
        step=step,
        validate=lambda: _validate(average, body, data.validation),
        save=lambda path, about: save_temporal(path, average, about),
        more_state={},
    )
    train_network(run, start, out, every, progress, fabric)
    return average


def _seed(config: TemporalTrainConfig, number: int) -> int:
    """Compute the seed of the labelled half of a micro-batch; the next one is the unlabelled half's."""
    return micro_batch_seed(config, 2 * number)


def _sample(data: TemporalTrainingData, config: TemporalTrainConfig, number: int) -> ClipBatch:
    seed = _seed(config, number)
    return concat_clips([data.labelled(seed), data.unlabelled(seed + 1)])


def _validate(network: TemporalNetwork, body: Body, clips: ClipBatch | None) -> Scores:
    if clips is None:
        return {}
    rows = validation_scores(network, body, clips)
    return {f"{row}/{name}": value for row, scores in rows.items() for name, value in scores.items()}


def _train_step(
    config: TemporalTrainConfig,
    step: int,
    modules: AdversarialModules,
    optimizers: tuple[Any, Any],
    batches: Iterator[ClipBatch],
    poses: Tensor,
    body: Body,
    fabric: Fabric,
) -> dict[str, float]:
    """Take one step of both optimisers; return the mean of each loss over the micro-batches of all processes."""
    count = micro_batches_per_step(config, MICRO_BATCH_CLIPS, fabric)
    sums: dict[str, float] = {}
    for optimizer in optimizers:
        optimizer.zero_grad()
    for part in range(count):
        clips = next(batches).to(fabric.device)
        # Dropout and random choices depend on the micro-batch only: neither resuming nor sharing changes them.
        number = (step * count + part) * fabric.world_size + fabric.global_rank
        torch.manual_seed(_seed(config, number))
        with (
            fabric.no_backward_sync(modules.wrapped_network, enabled=part < count - 1),
            fabric.no_backward_sync(modules.wrapped_discriminator, enabled=part < count - 1),
        ):
            losses, estimates = generator_losses(
                modules, body, clips.inputs, clips.targets, config.weights, config.num_delta_frames
            )
            fabric.backward(losses["total"] / count)
            real = poses[torch.randint(len(poses), (len(estimates),))].to(fabric.device)
            losses["discriminator"] = pose_discriminator_loss(
                modules.wrapped_discriminator, real, estimates
            ).mean()
            fabric.backward(losses["discriminator"] / count)
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach()) / count
    fabric.clip_gradients(
        modules.wrapped_network, optimizers[0], max_norm=_MAX_GRADIENT_NORM, error_if_nonfinite=False
    )
    for optimizer in optimizers:
        optimizer.step()
    if fabric.world_size > 1:
        reduced = fabric.all_reduce(torch.tensor(list(sums.values())), reduce_op="mean")
        sums = dict(zip(sums, torch.as_tensor(reduced).tolist(), strict=True))
    return sums
