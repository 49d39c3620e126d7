"""Self-supervision: a pretrained network adapts its weights to video without labels (Tung et al. 2017, section 3.1)."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.adaptation.objective import (
    KEYPOINTS_ALONE,
    Evidence,
    LossWeights,
    evenly,
    means_of_clips,
    objective,
    self_check_px,
    weighted,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.models.estimator import Estimator, bodies, bodies_of_all, frames_at_once

Network = TypeVar("Network", bound=Estimator)

_BEFORE, _AFTER = 0.5, 1.0
"""Powers of `objective.evenly`: how far the network is before it adapts is partly its own fault."""


@dataclass(frozen=True)
class AdaptConfig:
    """How to adapt; chosen by measurement on validation motions."""

    epochs: int = 80
    """With a detector's keypoints more of them take 3D from the truth again; with exact ones they do not."""
    learning_rate: float = 3e-4
    """Falls to a tenth along a cosine. Above that, 3D gets worse while 2D improves."""
    window: int = 10
    """Consecutive frames that are seen together, at least; a temporal network sees as many as it was trained on."""
    windows: int = 4
    """Windows a step, mixed over clips: mixing is worth more than any other setting; half as many long ones."""
    weights: LossWeights = field(default_factory=lambda: KEYPOINTS_ALONE)
    """Where a detector sees people in motion, its masks and flow take 3D from the truth: docs/explanation/results.md."""
    evenly: bool = True
    """Whether clips count less where keypoints that were kept out are explained badly (`objective.evenly`): a detector
    errs more in some than in others."""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Adaptation(Generic[Network]):
    """What adaptation gave."""

    network: Network
    """The adapted network, whether or not it is to be used."""
    before_px: Float[Tensor, " clips"]
    """Self-check of each clip with the network as it came: see `objective.self_check_px`."""
    after_px: Float[Tensor, " clips"]
    accepted: Bool[Tensor, " clips"]
    """Where the self-check got better: elsewhere the first answer is to be kept. A clip without a self-check is never
    accepted."""


def adapt(
    network: Network,
    body: Body,
    evidence: Evidence,
    config: AdaptConfig | None = None,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
    watch: Callable[[int, Network], None] = lambda step, network: None,
    replay: Callable[[Network, int], Float[Tensor, ""]] | None = None,
) -> Adaptation[Network]:
    """Minimises the `objective` over all weights of a copy of `network`, on windows of frames mixed over the clips of
    `evidence`; normalisation keeps its running statistics. Each clip's shape is the running mean of its frames'.
    `report` is called after every step with its loss, `watch` before the first and after every epoch. `replay` gives a
    step's loss on what the network has learned before, for weights that are to be kept: without it they get worse on
    people whom they have not adapted to."""
    config = config or AdaptConfig()
    first = predict(network, evidence)
    before = self_check_px(body, with_shared_shape(first, evidence), evidence)
    counted = evenly(evidence, before, _BEFORE) if config.evenly else evidence
    shapes = _mean_shapes(first.betas, evidence)
    adapted = _learned(network, body, counted, config, first, shapes, progress, watch, replay)
    after = self_check_px(body, with_shared_shape(predict(adapted, evidence), evidence), evidence)
    return Adaptation(adapted, before, after, accepted=after < before)


def settled(
    adaptation: Adaptation[Network],
    body: Body,
    whole: Evidence,
    config: AdaptConfig | None = None,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> Network:
    """An adapted network, once it has been checked, adapted for a quarter as long to all that is seen: what was kept
    out for the check would be missed (docs/explanation/results.md)."""
    config = config or AdaptConfig()
    counted = evenly(whole, adaptation.after_px, _AFTER) if config.evenly else whole
    shorter = replace(config, epochs=max(config.epochs // 4, 1))
    first = predict(adaptation.network, whole)
    return _learned(
        adaptation.network, body, counted, shorter, first, _mean_shapes(first.betas, counted), progress
    )


def _learned(
    network: Network,
    body: Body,
    evidence: Evidence,
    config: AdaptConfig,
    first: BodyParameters,
    shapes: Float[Tensor, "clips betas"],
    progress: Callable[[int, int, float], None],
    watch: Callable[[int, Network], None] = lambda step, network: None,
    replay: Callable[[Network, int], Float[Tensor, ""]] | None = None,
) -> Network:
    """A copy of `network`, whose answer is `first` with the clips' `shapes`, after the steps of `adapt`."""
    config = _for(network, config)
    adapted = copy.deepcopy(network).eval().requires_grad_(True)
    optimizer = torch.optim.Adam(adapted.parameters(), lr=config.learning_rate, betas=(0.9, 0.99))
    random = torch.Generator().manual_seed(config.seed)
    per_epoch = max(1, round(len(evidence) / (config.window * config.windows)))
    steps = config.epochs * per_epoch
    watch(0, adapted)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = config.learning_rate * cosine_to_a_tenth(step / steps)
        frames = _windows(evidence, config, random)
        seen = evidence[frames]
        parameters = bodies(adapted, seen.inputs, seen.has_next[:-1])
        held = first.R_parent_joint[frames] if config.weights.closeness else None
        loss = weighted(objective(body, parameters, seen, config.weights, shapes, held), config.weights)
        if replay is not None:
            loss = loss + replay(adapted, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shapes = _moved_shapes(shapes, parameters.betas.detach(), seen.clip)
        progress(step + 1, steps, float(loss.detach()))
        if (step + 1) % per_epoch == 0:
            watch(step + 1, adapted)
    return adapted


def as_stage(progress: Callable[[str, int, int], None], stage: str) -> Callable[[int, int, float], None]:
    """What `adapt` and `optimise` report, told as a stage of longer work: without the loss."""
    return lambda step, steps, _: progress(stage, step, steps)


def predict(network: Estimator, evidence: Evidence) -> BodyParameters:
    """The network's answer for every frame, in the camera frame, without gradients."""
    return bodies_of_all(network, evidence.inputs, evidence.has_next[:-1])


def with_shared_shape(parameters: BodyParameters, evidence: Evidence) -> BodyParameters:
    """Each clip's frames with the mean of their betas. The person stays at the same place and size in the image only
    as far as the betas agree."""
    return replace(parameters, betas=_mean_shapes(parameters.betas, evidence)[evidence.clip])


def _for(network: Estimator, config: AdaptConfig) -> AdaptConfig:
    window = max(config.window, frames_at_once(network))
    long = window > config.window
    return replace(config, window=window, windows=-(-config.windows // 2) if long else config.windows)


def cosine_to_a_tenth(done: float) -> float:
    """From 1 at the start to 0.1 at the end of a run of which the share `done` is done."""
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * done))


def _mean_shapes(betas: Float[Tensor, "time betas"], evidence: Evidence) -> Float[Tensor, "clips betas"]:
    seen = evidence.seen.keypoint_confidence.mean(-1).clamp_min(1e-3)
    return means_of_clips(betas, evidence.clip, seen)


def _moved_shapes(
    shapes: Float[Tensor, "clips betas"], betas: Float[Tensor, "time betas"], clip: Int[Tensor, " time"]
) -> Float[Tensor, "clips betas"]:
    """Running means: each clip's moves a tenth of the way to the mean of the frames just seen."""
    moved = shapes.clone()
    for number in clip.unique():
        moved[number] = shapes[number].lerp(betas[clip == number].mean(0), 0.1)
    return moved


def _windows(evidence: Evidence, config: AdaptConfig, random: torch.Generator) -> Int[Tensor, " frames"]:
    """Rows of windows at random places; a window stays within its clip, and is shorter where the clip is."""
    starts = torch.randint(0, len(evidence), (config.windows,), generator=random).tolist()
    rows = []
    for start in starts:
        same = (evidence.clip == evidence.clip[start]).nonzero().squeeze(1)
        low, high = int(same[0]), int(same[-1]) + 1
        begin = max(low, min(start - config.window // 2, high - config.window))
        rows.append(torch.arange(begin, min(begin + config.window, high)))
    return torch.cat(rows)
