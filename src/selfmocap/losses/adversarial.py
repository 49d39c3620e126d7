"""Losses of a temporal network and a pose discriminator, trained against each other (Kanazawa et al. 2019, section 3).

The GAN is a least-squares one."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from selfmocap.body_model.body import Body
from selfmocap.geometry.tensors import weighted_sum
from selfmocap.losses.temporal import (
    PredictedBody,
    Targets,
    TemporalWeights,
    acceleration_loss,
    body_losses,
    fit_crop_camera,
    predicted_bodies,
    shape_consistency_loss,
    weighted_mean,
)
from selfmocap.models.frame import FrameInputs
from selfmocap.models.pose_discriminator import PoseDiscriminator
from selfmocap.models.temporal import TemporalNetwork, TemporalOutput, unpack_theta


class AdversarialModules(NamedTuple):
    """A network and its discriminator, and both as callables that Lightning Fabric wraps for several processes."""

    network: TemporalNetwork
    discriminator: PoseDiscriminator
    wrapped_network: Any
    wrapped_discriminator: Any


def adversarial_loss(scores: Float[Tensor, "batch 24"]) -> Float[Tensor, " batch"]:
    """Compute the loss of the generator: the sum of (score - 1)^2 over the scores of each pose."""
    return (scores - 1).square().sum(-1)


def discriminator_loss(
    real: Float[Tensor, "batch 24"], estimate: Float[Tensor, "batch 24"]
) -> Float[Tensor, " batch"]:
    """Compute the loss of the discriminator: the sum of (real score - 1)^2 + (estimated score)^2."""
    return (real - 1).square().sum(-1) + estimate.square().sum(-1)


def pose_discriminator_loss(
    discriminator: Callable[[Tensor], Tensor],
    real: Float[Tensor, "batch 24 3 3"],
    estimate: Float[Tensor, "batch 24 3 3"],
) -> Float[Tensor, " batch"]:
    """Compute the `discriminator_loss` of rotations, without gradient to the estimate."""
    scores = discriminator(torch.cat([real, estimate.detach()]))
    return discriminator_loss(*scores.chunk(2))


def generator_losses(
    modules: AdversarialModules,
    body: Body,
    inputs: FrameInputs,
    targets: Targets,
    weights: TemporalWeights,
    num_delta_frames: int | None,
) -> tuple[dict[str, Float[Tensor, ""]], Float[Tensor, "estimates 24 3 3"]]:
    """Compute all terms of TemporalWeights and their weighted `total`, and the estimated rotations.

    `inputs` have clips and frames in one axis, `targets` in two. Each term is summed over present, past, future and
    their hallucinations. Past, future and hallucinations are computed at `num_delta_frames` random frames (None: at
    all). The discriminator gets no gradient. `body` may have only the vertices of the keypoint set."""
    reach, shape = modules.network.config.reach, targets.has_truth.shape
    frames = modules.network.frame_features(inputs)
    chosen = torch.randperm(shape.numel())[:num_delta_frames].sort().values.to(frames.theta.device)
    output = modules.wrapped_network(*(column.unflatten(0, shape) for column in frames), chosen)
    all_rows = torch.arange(shape.numel(), device=chosen.device)
    rows = [(all_rows, 0), *((chosen, offset) for offset in (-reach, reach, 0, -reach, reach))]
    bodies = predicted_bodies(
        body, modules.network.frame.config.keypoint_set, unpack_theta(_all_theta(output))
    )
    terms: dict[str, list[Tensor]] = {}
    first = 0
    for frame_rows, offset in rows:
        predicted, first = bodies[first : first + len(frame_rows)], first + len(frame_rows)
        for name, loss in _offset_losses(predicted, targets, frame_rows, offset).items():
            terms.setdefault(name, []).append(loss)
    present = bodies[: shape.numel()]
    p_cam_root = present.prediction.parameters(inputs).p_world_root
    joints, betas, path = (
        x.unflatten(0, shape) for x in (present.joints, present.prediction.betas, p_cam_root)
    )
    rotations = bodies.prediction.R_parent_joint
    losses = {name: torch.stack(values).sum() for name, values in terms.items()} | {
        "shape_consistency": shape_consistency_loss(betas).mean(),
        "acceleration": weighted_mean(acceleration_loss(joints, path, targets)),
        "shape_prior": bodies.prediction.betas.square().mean(),
        "hallucination": weighted_mean(
            (output.hallucination_error, torch.ones_like(output.hallucination_error))
        ),
        "adversarial": adversarial_loss(_frozen_scores(modules.discriminator, rotations)).mean(),
    }
    losses["total"] = weighted_sum(losses, asdict(weights))
    return losses, rotations


def _all_theta(output: TemporalOutput) -> Float[Tensor, "rows theta"]:
    """Concatenate present, past, future and their hallucinations."""
    return torch.cat(output._replace(present=output.present.flatten(0, 1))[:-1])


def _offset_losses(
    predicted: PredictedBody, targets: Targets, frames: Int[Tensor, " rows"], offset: int
) -> dict[str, Float[Tensor, ""]]:
    """Compute the terms of predictions against the frames `offset` away, as far as those are in the clip.

    With an offset the camera is fitted and its loss left out."""
    time = targets.has_truth.shape[1]
    shifted = frames % time + offset
    target = targets.rows(frames + offset, (shifted >= 0) & (shifted < time))
    if offset:
        camera = fit_crop_camera(predicted.keypoints, target)
        predicted = replace(predicted, prediction=replace(predicted.prediction, crop_camera=camera))
    losses = {name: weighted_mean(weighted) for name, weighted in body_losses(predicted, target).items()}
    if offset:
        del losses["crop_camera"]
    return losses


def _frozen_scores(
    discriminator: nn.Module, R_parent_joint: Float[Tensor, "batch 24 3 3"]
) -> Float[Tensor, "batch 24"]:
    """Score poses without gradient to the discriminator's weights."""
    weights = {name: value.detach() for name, value in discriminator.named_parameters()}
    return torch.func.functional_call(discriminator, weights, (R_parent_joint,))
