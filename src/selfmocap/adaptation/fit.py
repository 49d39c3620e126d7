"""Direct fitting: optimise the body's parameters of every frame. From a random start it is the baseline of the paper,
from a network's estimate a refinement."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.adaptation.objective import (
    KEYPOINTS_ONLY,
    FittingData,
    LossWeights,
    StepCallback,
    clip_means,
    heldout_reprojection_px,
    no_step_callback,
    objective,
    total_loss,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import translation_from_crop, translation_to_crop
from selfmocap.geometry.rotations import matrix_from_6d, matrix_to_6d
from selfmocap.geometry.tensors import concat
from selfmocap.models.frame import R_CAM_UPRIGHT

_UNSMOOTHED_WEIGHTS = replace(KEYPOINTS_ONLY, shape=0.0, betas=1.5, flexion=0.01, closeness=0.1)
REFINEMENT_WEIGHTS = replace(_UNSMOOTHED_WEIGHTS, smoothness=0.1)
"""Loss weights of a refinement of a network's estimate."""
_SHAPE_LEARNING_RATE = 0.02
"""Learning rate of Adam for a clip's shape, whatever the frames' rate: one shape is supported by all frames."""
_LOW_SMOOTHNESS_RATIO = 0.95
"""REFINE_LOW_SMOOTHNESS is used where its held-out error is below this fraction of REFINE's. With about equal errors,
the smoother refinement is nearer to the truth."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of direct fitting. The defaults refine the estimate of a network that has not been adapted; more steps
    improve it. With Adam at twice the rate, 3D ends worse."""

    steps: int = 300
    learning_rate: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to a fiftieth."""
    optimizer: Literal["adam", "gradient descent"] = "adam"
    """`gradient descent` is the paper's."""
    weights: LossWeights = field(default_factory=lambda: REFINEMENT_WEIGHTS)
    free_shape: bool = True
    """Optimise each clip's shape too."""


REFINE = FitConfig(150, 0.005, "constant", weights=REFINEMENT_WEIGHTS)
"""Refines the estimate of an adapted network."""
REFINE_LOW_SMOOTHNESS = replace(REFINE, weights=replace(_UNSMOOTHED_WEIGHTS, smoothness=0.03))
"""The same for fast motion."""


def fit(
    body: Body,
    start: BodyParameters,
    data: FittingData,
    config: FitConfig | None = None,
    progress: StepCallback = no_step_callback,
    smoothness: Float[Tensor, " time"] | None = None,
) -> BodyParameters:
    """Minimise the `objective` over each frame's rotations and translation and each clip's one shape.

    `start` and the result are in the camera frame; the term `closeness` is relative to the rotations of `start`.
    Rotations are optimised as 6D vectors, the translation as the crop camera of `camera.translation_from_crop`. The
    depth follows the shape (`rescale_depth_for_shape`); otherwise the image size would fix the shape, and not the
    body's proportions. `smoothness` is a factor of each frame's loss of that name."""
    config = config or FitConfig()
    inputs = data.inputs
    pose = matrix_to_6d(start.R_parent_joint).requires_grad_()
    crop_camera = translation_to_crop(
        start.p_world_root, inputs.boxes, inputs.focal, inputs.center
    ).requires_grad_()
    shapes = clip_means(start.betas, data.clip, torch.ones(len(data)).to(start.betas)).requires_grad_(
        config.free_shape
    )
    first_betas = shapes.detach().clone()[data.clip]
    frames_of_clip = data.clip.bincount()[data.clip]

    def current() -> BodyParameters:
        p_cam_root = translation_from_crop(crop_camera, inputs.boxes, inputs.focal, inputs.center)
        parameters = BodyParameters(first_betas, matrix_from_6d(pose), p_cam_root)
        return rescale_depth_for_shape(body, parameters, shapes[data.clip])

    optimizer = _optimizer(config, [pose, crop_camera], [shapes] if config.free_shape else [])
    schedule = _schedule(config, optimizer)
    for step in range(config.steps):
        optimizer.zero_grad()
        terms = objective(body, current(), data, config.weights, first=start.R_parent_joint)
        if config.weights.betas:
            terms["betas"] = terms["betas"] / frames_of_clip
        if smoothness is not None:
            terms["smoothness"] = terms["smoothness"] * smoothness
        # The frames' losses are summed: every frame has variables of its own, however many frames there are.
        loss = total_loss(terms, config.weights) * len(data)
        loss.backward()
        optimizer.step()
        schedule.step()
        progress(step + 1, config.steps, float(loss.detach()) / len(data))
    with torch.no_grad():
        return current()


def refine_adapted(
    body: Body, start: BodyParameters, data: FittingData
) -> tuple[BodyParameters, Bool[Tensor, " clips"]]:
    """Refine an adapted network's estimate by REFINE, or by REFINE_LOW_SMOOTHNESS for the clips whose held-out error
    it clearly lowers. Return the refined bodies, and which clips took low smoothness."""
    # Both at once, as copies of the clips: for a few hundred frames a step takes as long for twice as many.
    copies = concat([data, replace(data, clip=data.clip + data.clip.max() + 1)])
    ratio = REFINE_LOW_SMOOTHNESS.weights.smoothness / REFINE.weights.smoothness
    factors = torch.tensor([1.0, ratio]).repeat_interleave(len(data)).to(start.betas)
    both = fit(body, concat([start, start]), copies, REFINE, smoothness=factors)
    smooth, low = both[: len(data)], both[len(data) :]
    smooth_px, low_px = (heldout_reprojection_px(body, estimate, data) for estimate in (smooth, low))
    low_smoothness = low_px < _LOW_SMOOTHNESS_RATIO * smooth_px
    return select_frames(low_smoothness[data.clip], low, smooth), low_smoothness


def select_frames(
    condition: Bool[Tensor, " time"], one: BodyParameters, other: BodyParameters
) -> BodyParameters:
    """Take each frame from `one` where the condition is true, else from `other`."""

    def select(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(condition.view(-1, *[1] * (a.ndim - 1)), a, b)

    return BodyParameters(*(select(getattr(one, name), getattr(other, name)) for name in vars(one)))


def rescale_depth_for_shape(
    body: Body, parameters: BodyParameters, betas: Float[Tensor, "time betas"]
) -> BodyParameters:
    """Replace betas and scale the translation by the ratio of the heights (lowest to highest joint of the rest pose).

    In the camera frame this keeps the person's size in the image."""

    def height(betas: Tensor) -> Tensor:
        y = body.shape(betas).joints[..., 1]
        return y.amax(-1, keepdim=True) - y.amin(-1, keepdim=True)

    ratio = height(betas) / height(parameters.betas)
    return replace(parameters, betas=betas, p_world_root=parameters.p_world_root * ratio)


def _optimizer(config: FitConfig, frames: list[Tensor], shapes: list[Tensor]) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        groups = [{"params": frames}, {"params": shapes, "lr": _SHAPE_LEARNING_RATE}]
        return torch.optim.Adam(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    return torch.optim.SGD(frames + shapes, lr=config.learning_rate)


def _schedule(config: FitConfig, optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
    least, steps = (0.02 if config.schedule == "cosine" else 1.0), max(config.steps, 1)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: least + (1 - least) * (1 + math.cos(math.pi * step / steps)) / 2
    )


def random_start(data: FittingData, num_betas: int, seed: int = 0) -> BodyParameters:
    """Return the start of the paper's baseline: the rest pose, slightly perturbed and turned by a random angle about
    the vertical, in the middle of the crop and at about the right size."""
    generator = torch.Generator().manual_seed(seed)
    frames = len(data)
    columns = torch.tensor([1.0, 0, 0, 0, 1, 0]) + 0.1 * torch.randn(frames, 24, 6, generator=generator)
    R = matrix_from_6d(columns)
    yaw = torch.rand(frames, generator=generator) * 2 * torch.pi
    R_yaw = torch.zeros(frames, 3, 3)
    R_yaw[:, 0, 0] = R_yaw[:, 2, 2] = yaw.cos()
    R_yaw[:, 0, 2], R_yaw[:, 2, 0], R_yaw[:, 1, 1] = yaw.sin(), -yaw.sin(), 1.0
    inputs = data.inputs
    R = torch.cat([(R_CAM_UPRIGHT @ R_yaw).unsqueeze(1), R[:, 1:]], dim=1).to(inputs.boxes)
    middle = torch.zeros_like(inputs.boxes)
    p_cam_root = translation_from_crop(middle, inputs.boxes, inputs.focal, inputs.center)
    return BodyParameters(middle.new_zeros(frames, num_betas), R, p_cam_root)


def start_from_truth(start: BodyParameters, truth: BodyParameters, translation: bool) -> BodyParameters:
    """Return `start` with the true rotation of the root and, with `translation`, its true position: the paper's other
    starts."""
    R = torch.cat([truth.R_parent_joint[:, :1], start.R_parent_joint[:, 1:]], dim=1)
    known = replace(start, R_parent_joint=R)
    return replace(known, p_world_root=truth.p_world_root) if translation else known
