"""Test-time adaptation: a pretrained network adapts its weights to unlabelled video (Tung et al. 2017, section 3.1)."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.adaptation.objective import (
    KEYPOINTS_ONLY,
    FittingData,
    LossWeights,
    StepCallback,
    balance_clips,
    clip_means,
    heldout_reprojection_px,
    no_step_callback,
    objective,
    total_loss,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.estimator import Estimator, estimate_all_bodies, estimate_bodies, frames_per_estimate

_Network = TypeVar("_Network", bound=Estimator)

_ADAPT_BALANCE_POWER, _REFIT_BALANCE_POWER = 0.5, 1.0
"""Powers of `balance_clips`. Before adaptation part of a clip's error is due to the network, not to the detector."""
_SHAPE_RATE = 0.1
"""Weight of a step's frames in the running mean of a clip's shape."""
_REFIT_SHARE = 4
"""A refit takes the epochs of the adaptation divided by this."""


@dataclass(frozen=True)
class AdaptConfig:
    """Settings of adaptation, chosen by measurement on validation motions."""

    epochs: int = 80
    """With a detector's keypoints, more epochs make 3D worse again; with exact keypoints they do not."""
    learning_rate: float = 3e-4
    """Falls to a tenth along a cosine. Above this rate, 3D gets worse while 2D improves."""
    window: int = 10
    """Minimal number of consecutive frames in a window. A temporal network takes as many as it was trained on."""
    windows: int = 4
    """Windows per step, mixed over clips, which matters more than any other setting. Half as many long windows."""
    weights: LossWeights = field(default_factory=lambda: KEYPOINTS_ONLY)
    """A detector's masks and flow make 3D worse for people in motion: docs/explanation/results.md."""
    balance_clips: bool = True
    """Give clips with large held-out errors a lower weight (`objective.balance_clips`)."""
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Adaptation(Generic[_Network]):
    """The result of an adaptation."""

    network: _Network
    """The adapted network, whether or not it is accepted."""
    before_px: Float[Tensor, " clips"]
    """Held-out error of each clip with the original network, see `objective.heldout_reprojection_px`."""
    after_px: Float[Tensor, " clips"]
    """Held-out error of each clip with the adapted network."""
    accepted: Bool[Tensor, " clips"]
    """True where the held-out error fell; elsewhere the original network's estimate is kept. A clip without held-out
    keypoints is never accepted."""


def adapt(
    network: _Network,
    body: Body,
    data: FittingData,
    config: AdaptConfig | None = None,
    progress: StepCallback = no_step_callback,
    on_epoch: Callable[[int, _Network], None] = lambda step, network: None,
    replay: Callable[[_Network, int], Float[Tensor, ""]] | None = None,
) -> Adaptation[_Network]:
    """Minimise the `objective` over all weights of a copy of `network`, on windows of frames mixed over the clips.

    Normalisation layers keep their running statistics. Each clip's shape is a running mean over its frames. `on_epoch`
    is called with the step and the network before the first step and after every epoch. `replay` returns a step's loss
    on training data, for weights that will be used on other clips; without it, the network gets worse on people that
    it has not adapted to."""
    config = config or AdaptConfig()
    first = predict_bodies(network, data)
    before = heldout_reprojection_px(body, with_shared_shape(first, data), data)
    balanced = balance_clips(data, before, _ADAPT_BALANCE_POWER) if config.balance_clips else data
    shapes = _clip_shapes(first.betas, data)
    adapted = _train(network, body, balanced, config, first, shapes, progress, on_epoch, replay)
    after = heldout_reprojection_px(body, with_shared_shape(predict_bodies(adapted, data), data), data)
    return Adaptation(adapted, before, after, accepted=after < before)


def refit(
    adaptation: Adaptation[_Network],
    body: Body,
    full: FittingData,
    config: AdaptConfig | None = None,
    progress: StepCallback = no_step_callback,
) -> _Network:
    """Continue an adaptation on all keypoints, including the held-out ones, for a quarter of the epochs, in a copy of
    the adapted network (docs/explanation/results.md)."""
    config = config or AdaptConfig()
    balanced = (
        balance_clips(full, adaptation.after_px, _REFIT_BALANCE_POWER) if config.balance_clips else full
    )
    shorter = replace(config, epochs=max(config.epochs // _REFIT_SHARE, 1))
    first = predict_bodies(adaptation.network, full)
    shapes = _clip_shapes(first.betas, balanced)
    return _train(adaptation.network, body, balanced, shorter, first, shapes, progress)


def _train(
    network: _Network,
    body: Body,
    data: FittingData,
    config: AdaptConfig,
    first: BodyParameters,
    shapes: Float[Tensor, "clips betas"],
    progress: StepCallback,
    on_epoch: Callable[[int, _Network], None] = lambda step, network: None,
    replay: Callable[[_Network, int], Float[Tensor, ""]] | None = None,
) -> _Network:
    """Train a copy of `network`, whose estimate is `first` with the clips' `shapes`."""
    config = _fit_windows(network, config)
    adapted = copy.deepcopy(network).eval().requires_grad_(True)
    optimizer = torch.optim.Adam(adapted.parameters(), lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    per_epoch = max(1, round(len(data) / (config.window * config.windows)))
    steps = config.epochs * per_epoch
    on_epoch(0, adapted)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = config.learning_rate * cosine_decay(step / steps)
        frames = _random_windows(data, config, generator)
        batch = data[frames]
        parameters = estimate_bodies(adapted, batch.inputs, batch.has_next[:-1])
        first_rotations = first.R_parent_joint[frames] if config.weights.closeness else None
        terms = objective(body, parameters, batch, config.weights, shapes, first_rotations)
        loss = total_loss(terms, config.weights)
        if replay is not None:
            loss = loss + replay(adapted, step)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        shapes = _update_shapes(shapes, parameters.betas.detach(), batch.clip)
        progress(step + 1, steps, float(loss.detach()))
        if (step + 1) % per_epoch == 0:
            on_epoch(step + 1, adapted)
    return adapted


def as_step_callback(progress: ProgressCallback, stage: str) -> StepCallback:
    """Report steps as a stage of a longer job, without the loss."""
    return lambda step, steps, _: progress(stage, step, steps)


def predict_bodies(network: Estimator, data: FittingData) -> BodyParameters:
    """Run the network on every frame without gradients; the result is in the camera frame."""
    return estimate_all_bodies(network, data.inputs, data.has_next[:-1])


def with_shared_shape(parameters: BodyParameters, data: FittingData) -> BodyParameters:
    """Replace each clip's betas by their mean, weighted by confidence. The translation stays, so that the size in the
    image changes where a frame's betas differ from the mean."""
    return replace(parameters, betas=_clip_shapes(parameters.betas, data)[data.clip])


def cosine_decay(fraction: float) -> float:
    """Return the learning rate's factor after a fraction of the steps: from 1 to 0.1 along a cosine."""
    return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * fraction))


def _fit_windows(network: Estimator, config: AdaptConfig) -> AdaptConfig:
    """Lengthen the windows to the network's, and then halve their number."""
    window = max(config.window, frames_per_estimate(network))
    longer = window > config.window
    return replace(config, window=window, windows=-(-config.windows // 2) if longer else config.windows)


def _clip_shapes(betas: Float[Tensor, "time betas"], data: FittingData) -> Float[Tensor, "clips betas"]:
    confidence = data.observations.keypoint_confidence.mean(-1).clamp_min(1e-3)
    return clip_means(betas, data.clip, confidence)


def _update_shapes(
    shapes: Float[Tensor, "clips betas"], betas: Float[Tensor, "time betas"], clip: Int[Tensor, " time"]
) -> Float[Tensor, "clips betas"]:
    """Update each clip's running mean with the mean of its frames in this step."""
    updated = shapes.clone()
    for number in clip.unique():
        updated[number] = shapes[number].lerp(betas[clip == number].mean(0), _SHAPE_RATE)
    return updated


def _random_windows(
    data: FittingData, config: AdaptConfig, generator: torch.Generator
) -> Int[Tensor, " frames"]:
    """Draw the rows of random windows. A window stays within its clip, and is shorter if the clip is."""
    starts = torch.randint(0, len(data), (config.windows,), generator=generator).tolist()
    rows = []
    for start in starts:
        same = (data.clip == data.clip[start]).nonzero().squeeze(1)
        low, high = int(same[0]), int(same[-1]) + 1
        begin = max(low, min(start - config.window // 2, high - config.window))
        rows.append(torch.arange(begin, min(begin + config.window, high)))
    return torch.cat(rows)
