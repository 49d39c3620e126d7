"""Learning human dynamics: a temporal network learns from synthetic clips with their truth and from videos of which
only detected keypoints are known (Kanazawa et al. 2019), against a discriminator of poses.

The same style as `train.train`: a step's clips come in parts, each a pure function of its own seed, shared by the
processes under `torchrun`; a run that was killed goes on exactly where its last checkpoint left it.
"""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from selfmocap.body_model.body import Body
from selfmocap.geometry.tensors import weighted_sum
from selfmocap.io.atomic import atomic_write
from selfmocap.io.cores import cap_workers
from selfmocap.losses.temporal import (
    Figure,
    Targets,
    TemporalWeights,
    acceleration_loss,
    best_camera,
    figure_losses,
    figures,
    mean_of,
    steady_shape,
)
from selfmocap.models.checkpoints import blend
from selfmocap.models.frame import FrameNetwork
from selfmocap.models.pose_discriminator import PoseDiscriminator, adversary_loss, discriminator_loss
from selfmocap.models.temporal import Dynamics, TemporalConfig, TemporalNetwork, prediction_of
from selfmocap.models.temporal_inference import save_temporal
from selfmocap.training.run_log import History, Progress, state_of_run
from selfmocap.training.temporal_data import CLIPS, Clips, ClipSource, together
from selfmocap.training.train_frame import fabric_here, learning_rate
from selfmocap.training.validate_temporal import Scores, validation_scores

PART = 2 * CLIPS
"""Clips that one process handles at once: half of them with truth."""
_MOST_GRADIENT = 50.0


@dataclass(frozen=True)
class TemporalTrainConfig:
    """How to train; the defaults are for two cores."""

    network: TemporalConfig = field(default_factory=TemporalConfig)
    weights: TemporalWeights = field(default_factory=TemporalWeights.compact)
    steps: int = 20_000
    batch: int = 8
    """Clips a step, over all processes: a multiple of PART."""
    learning_rate: float = 3e-4
    schedule: Literal["cosine", "constant"] = "cosine"
    discriminator_learning_rate: float = 1e-4
    discriminator_width: int = 128
    judged: int | None = 24
    """Frames of a part, drawn anew, whose past, future and hallucinations are judged; None judges all. Where it is 0,
    only the present is learned."""
    average: float = 0.999
    """How much the averaged weights, which are the result, keep at each step."""
    seed: int = 0

    @classmethod
    def paper(cls) -> "TemporalTrainConfig":
        """8 clips of 20 frames a step, Adam at constant rates, about as many steps as the release was trained."""
        return cls(
            TemporalConfig.paper(), TemporalWeights(), 560_000, 8, 1e-5, "constant", 1e-4, 1024, judged=None
        )

    def __post_init__(self) -> None:
        if self.batch % PART or self.batch < PART or self.steps < 1:
            raise ValueError(
                f"a batch of {self.batch} clips for {self.steps} steps: expected a multiple of {PART}"
            )


@dataclass(frozen=True, eq=False)
class Lessons:
    """What there is to learn from."""

    labelled: ClipSource
    unlabelled: ClipSource
    """The same as `labelled` where there is no other video."""
    poses: Float[Tensor, "poses 24 3 3"]
    """Of real people, for the discriminator."""
    validation: Clips | None = None
    """Clips with truth."""


class Rivals(NamedTuple):
    """What is trained against each other; `model` and `judge` are the two as Fabric shares them among processes."""

    network: TemporalNetwork
    discriminator: PoseDiscriminator
    model: Any
    judge: Any


def _seed_of(config: TemporalTrainConfig, part: int) -> int:
    return config.seed * 1_000_003_000 + 2 * part


class _Parts(Dataset[Clips]):
    def __init__(self, lessons: Lessons, config: TemporalTrainConfig) -> None:
        self.sources, self.config = (lessons.labelled, lessons.unlabelled), config

    def __getitem__(self, part: int) -> Clips:
        seed = _seed_of(self.config, part)
        return together([source(seed + number) for number, source in enumerate(self.sources)])


def train_temporal(
    config: TemporalTrainConfig,
    frame: FrameNetwork,
    lessons: Lessons,
    body: Body,
    out: Path,
    workers: int = 0,
    resume: bool = False,
    every: int = 500,
    progress: Callable[[Progress], None] = lambda _: None,
    fabric: Fabric | None = None,
) -> TemporalNetwork:
    """Trains a temporal network over `frame`, which sees keypoints (as they are, or corrected) and stays as it is, into
    the folder `out`, and gives its averaged weights.

    Writes `network.safetensors`, `training.pt` and `history.jsonl` as `train.train` does. Raises ValueError where `out`
    holds a run that is not to be resumed, or one of another configuration."""
    if frame.config.rgb:
        raise ValueError(
            "a temporal network is trained over a frame network that sees keypoints alone, or corrected: without rgb"
        )
    fabric = fabric or fabric_here()
    torch.manual_seed(config.seed)
    network = TemporalNetwork(frame.config, config.network)
    network.frame.load_state_dict(frame.state_dict())
    discriminator = PoseDiscriminator(config.discriminator_width)
    average = copy.deepcopy(network).to(fabric.device).eval()
    network, discriminator = network.to(fabric.device).train(), discriminator.to(fabric.device)
    run = _Run(config, network, discriminator, average)
    start = run.resumed(out, resume)
    model, optimizer = fabric.setup(network, run.optimizers[0])
    judge, judge_optimizer = fabric.setup(discriminator, run.optimizers[1])
    rivals, optimizers = Rivals(network, discriminator, model, judge), (optimizer, judge_optimizer)
    small = body.with_vertices(body.regressors[frame.config.keypoint_set].vertices).to(fabric.device)
    parts = _parts(config, lessons, start, workers, fabric)
    with History(out / "history.jsonl", start, fabric.is_global_zero) as history:
        for step in range(start, config.steps):
            run.optimizers[0].param_groups[0]["lr"] = learning_rate(config, step)
            losses = _step(config, step, rivals, optimizers, parts, lessons.poses, small, fabric)
            blend(average, network, keep=min(config.average, (step + 1) / (step + 10)))
            done, scores = step + 1, None
            if done % every == 0 or done == config.steps:
                scores = _validated(average, body, lessons.validation)
                if fabric.is_global_zero:
                    run.save(out, done, scores)
            history.add(done, losses, scores)
            progress(Progress(done, config.steps, losses, scores))
    return average


def _parts(
    config: TemporalTrainConfig, lessons: Lessons, start: int, workers: int, fabric: Fabric
) -> Iterator[Clips]:
    """This process' parts of every step from `start` on, in order."""
    a_step = config.batch // PART
    if a_step % fabric.world_size:
        raise ValueError(
            f"{a_step} parts of {PART} clips a step cannot be shared by {fabric.world_size} processes"
        )
    mine = range(fabric.global_rank, a_step, fabric.world_size)
    order = [step * a_step + part for step in range(start, config.steps) for part in mine]
    return iter(
        DataLoader(_Parts(lessons, config), batch_size=None, sampler=order, num_workers=cap_workers(workers))
    )


def _validated(network: TemporalNetwork, body: Body, clips: Clips | None) -> Scores:
    if clips is None:
        return {}
    rows = validation_scores(network, body, clips)
    return {f"{row}/{name}": value for row, scores in rows.items() for name, value in scores.items()}


# ---- a step ---------------------------------------------------------------------------------------------------


def _step(
    config: TemporalTrainConfig,
    step: int,
    rivals: Rivals,
    optimizers: tuple[Any, Any],
    parts: Iterator[Clips],
    poses: Tensor,
    body: Body,
    fabric: Fabric,
) -> dict[str, float]:
    """One step of both optimisers; the mean of each loss over the parts of all processes."""
    count = config.batch // PART // fabric.world_size
    sums: dict[str, float] = {}
    for optimizer in optimizers:
        optimizer.zero_grad()
    for part in range(count):
        clips = next(parts).to(fabric.device)
        # Dropout and all choices follow from the part, so that neither resuming nor sharing changes them.
        torch.manual_seed(_seed_of(config, (step * count + part) * fabric.world_size + fabric.global_rank))
        with (
            fabric.no_backward_sync(rivals.model, enabled=part < count - 1),
            fabric.no_backward_sync(rivals.judge, enabled=part < count - 1),
        ):
            losses, estimates = generator_losses(config, rivals, body, clips)
            fabric.backward(losses["total"] / count)
            real = poses[torch.randint(len(poses), (len(estimates),))].to(fabric.device)
            losses["discriminator"] = judge_losses(rivals.judge, real, estimates)
            fabric.backward(losses["discriminator"] / count)
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach()) / count
    fabric.clip_gradients(rivals.model, optimizers[0], max_norm=_MOST_GRADIENT, error_if_nonfinite=False)
    for optimizer in optimizers:
        optimizer.step()
    if fabric.world_size > 1:
        reduced = fabric.all_reduce(torch.tensor(list(sums.values())), reduce_op="mean")
        sums = dict(zip(sums, torch.as_tensor(reduced).tolist(), strict=True))
    return sums


def judge_losses(
    discriminator: nn.Module, real: Float[Tensor, "batch 24 3 3"], estimates: Float[Tensor, "batch 24 3 3"]
) -> Float[Tensor, ""]:
    """The discriminator's loss, which does not move the estimates."""
    scores = discriminator(torch.cat([real, estimates.detach()]))
    return discriminator_loss(*scores.chunk(2)).mean()


def generator_losses(
    config: TemporalTrainConfig, rivals: Rivals, body: Body, clips: Clips
) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "estimates 24 3 3"]]:
    """All terms, each summed over present, past, future and their hallucinations, with their weighted `total`, and the
    estimated rotations; nothing of it moves the discriminator. `body` may be restricted to the keypoints' vertices."""
    reach, weights, shape = config.network.reach, asdict(config.weights), clips.targets.known.shape
    seen = rivals.network.glimpses(clips.inputs)
    chosen = torch.randperm(shape.numel())[: config.judged].sort().values.to(seen.answers.device)
    told = rivals.model(*(part.unflatten(0, shape) for part in seen), chosen)
    everything = torch.arange(shape.numel(), device=chosen.device)
    rows = [(everything, 0), *((chosen, offset) for offset in (-reach, reach, 0, -reach, reach))]
    whole = figures(body, rivals.network.frame.config.keypoint_set, prediction_of(_numbers(told)))
    terms: dict[str, list[Tensor]] = {}
    first = 0
    for frames, offset in rows:
        figure, first = whole[first : first + len(frames)], first + len(frames)
        for name, loss in _copy_losses(figure, clips.targets, frames, offset).items():
            terms.setdefault(name, []).append(loss)
    present = whole[: shape.numel()]
    place = present.prediction.parameters(clips.inputs).p_world_root
    joints, betas, path = (x.unflatten(0, shape) for x in (present.joints, present.prediction.betas, place))
    losses = {name: torch.stack(values).sum() for name, values in terms.items()} | {
        "steady_shape": steady_shape(betas).mean(),
        "acceleration": mean_of(acceleration_loss(joints, path, clips.targets)),
        "shape_prior": whole.prediction.betas.square().mean(),
        "hallucination": mean_of((told.hallucination, torch.ones_like(told.hallucination))),
        "adversary": adversary_loss(_frozen(rivals.discriminator, whole.prediction.R_parent_joint)).mean(),
    }
    losses["total"] = weighted_sum(losses, weights)
    return losses, whole.prediction.R_parent_joint


def _numbers(told: Dynamics) -> Float[Tensor, "rows numbers"]:
    parts = told._replace(present=told.present.flatten(0, 1))
    return torch.cat(parts[:-1])


def _copy_losses(
    figure: Figure, targets: Targets, frames: Int[Tensor, " rows"], offset: int
) -> dict[str, Float[Tensor, ""]]:
    """The terms of one of the six predictions against the frames `offset` away, as far as those are in the clip."""
    time = targets.known.shape[1]
    moment = frames % time + offset
    goal = targets.rows(frames + offset, (moment >= 0) & (moment < time))
    if offset:
        camera = best_camera(figure.keypoints, goal)
        figure = replace(figure, prediction=replace(figure.prediction, crop_camera=camera))
    losses = {name: mean_of(weighed) for name, weighed in figure_losses(figure, goal).items()}
    if offset:
        del losses["crop_camera"]
    return losses


def _frozen(discriminator: nn.Module, R: Float[Tensor, "batch 24 3 3"]) -> Float[Tensor, "batch 24"]:
    """Scores whose gradient goes to the poses alone."""
    weights = {name: value.detach() for name, value in discriminator.named_parameters()}
    return torch.func.functional_call(discriminator, weights, (R,))


# ---- what is kept on disk -------------------------------------------------------------------------------------


class _Run:
    """What a checkpoint holds."""

    def __init__(
        self,
        config: TemporalTrainConfig,
        network: TemporalNetwork,
        discriminator: PoseDiscriminator,
        average: TemporalNetwork,
    ) -> None:
        self.config, self.average = config, average
        learned = [p for p in network.parameters() if p.requires_grad]
        self.optimizers = (
            torch.optim.Adam(learned, lr=config.learning_rate),
            torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_learning_rate),
        )
        self.parts: dict[str, Any] = {
            "network": network,
            "discriminator": discriminator,
            "average": average,
            "network_optimizer": self.optimizers[0],
            "discriminator_optimizer": self.optimizers[1],
        }

    def resumed(self, out: Path, resume: bool) -> int:
        """Restores the run in `out`, if there is one, and gives the number of steps that it has taken."""
        state = state_of_run(out, self.config, resume)
        if state is None:
            return 0
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        return int(state["step"])

    def save(self, out: Path, step: int, scores: Scores) -> None:
        """Writes the averaged weights, and what to resume from."""
        about = {"training": asdict(self.config), "step": step, "validation": scores}
        save_temporal(out / "network.safetensors", self.average, about)
        state = {name: part.state_dict() for name, part in self.parts.items()}
        state |= {"config": json.dumps(asdict(self.config), sort_keys=True), "step": step}
        with atomic_write(out / "training.pt") as partial:
            torch.save(state, partial)
