"""Direct optimisation of the body's parameters: the baseline that the paper beats, and, from a network's answer, the
refinement of every frame by itself."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.adaptation.objective import (
    KEYPOINTS_ALONE,
    Evidence,
    LossWeights,
    means_of_clips,
    objective,
    self_check_px,
    weighted,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import translation_from_crop, translation_to_crop
from selfmocap.geometry.rotations import matrix_from_6d, matrix_to_6d
from selfmocap.models.frame import UPRIGHT

_REFINED = replace(KEYPOINTS_ALONE, shape=0.0, betas=1.5, closeness=0.1)
REFINEMENT = replace(_REFINED, smoothness=0.1)
"""Of the network's own answer, frame by frame."""


@dataclass(frozen=True)
class OptimiseConfig:
    """How to optimise; the defaults refine a network's answer before adaptation, and get better with more steps.
    Where Adam stops counts: by L-BFGS, or at twice the rate, 3D ends worse."""

    steps: int = 300
    learning_rate: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    """`cosine` falls to a fiftieth."""
    optimizer: Literal["adam", "gradient descent", "lbfgs"] = "adam"
    """`gradient descent` is the paper's. A step of `lbfgs` is twenty of its iterations; its learning rate is 1."""
    weights: LossWeights = field(default_factory=lambda: REFINEMENT)
    free_shape: bool = True
    """Whether each clip's shape moves too."""


AFTER_ADAPTATION = OptimiseConfig(150, 0.005, "constant", weights=REFINEMENT)
OF_FAST_MOTION = replace(AFTER_ADAPTATION, weights=replace(_REFINED, smoothness=0.03))
_SHAPE_RATE = 0.02
"""Of Adam, whatever that of the frames is: a clip's one shape has the evidence of all of them."""
_CLEARLY = 0.95
"""Share of the distance to what nothing has seen, at the smoother refinement, below which the other one is believed:
where they are about equal, the smoother one is nearer to the truth."""


def optimise(
    body: Body,
    start: BodyParameters,
    evidence: Evidence,
    config: OptimiseConfig | None = None,
    progress: Callable[[int, int, float], None] = lambda step, steps, loss: None,
) -> BodyParameters:
    """Minimises the `objective` over each frame's rotations and place, and each clip's one shape, from `start` (in the
    camera frame), whose rotations are the first answer that `closeness` holds to. Rotations move as 6D, the place as
    the crop camera of `camera.translation_from_crop`, and with the shape as `seen_as_large` says: else the shape could
    not follow what proportions tell of it."""
    config = config or OptimiseConfig()
    inputs = evidence.inputs
    pose = matrix_to_6d(start.R_parent_joint).requires_grad_()
    place = translation_to_crop(
        start.p_world_root, inputs.boxes, inputs.focal, inputs.center
    ).requires_grad_()
    shapes = means_of_clips(
        start.betas, evidence.clip, torch.ones(len(evidence)).to(start.betas)
    ).requires_grad_(config.free_shape)

    first_betas = shapes.detach().clone()[evidence.clip]
    frames_of_clip = evidence.clip.bincount()[evidence.clip]

    def current() -> BodyParameters:
        p_cam_root = translation_from_crop(place, inputs.boxes, inputs.focal, inputs.center)
        parameters = BodyParameters(first_betas, matrix_from_6d(pose), p_cam_root)
        return seen_as_large(body, parameters, shapes[evidence.clip])

    optimizer = _optimizer(config, [pose, place], [shapes] if config.free_shape else [])
    schedule = _schedule(config, optimizer)
    for step in range(config.steps):

        def closure() -> float:
            optimizer.zero_grad()
            terms = objective(body, current(), evidence, config.weights, first=start.R_parent_joint)
            if config.weights.betas:
                terms["betas"] = terms["betas"] / frames_of_clip
            # The frames' losses are summed: every frame has variables of its own, however many frames there are.
            loss = weighted(terms, config.weights) * len(evidence)
            loss.backward()
            return float(loss.detach())

        loss = optimizer.step(closure) or 0.0
        schedule.step()
        progress(step + 1, config.steps, loss / len(evidence))
    with torch.no_grad():
        return current()


def refined_by_speed(
    body: Body, start: BodyParameters, evidence: Evidence
) -> tuple[BodyParameters, Bool[Tensor, " clips"]]:
    """An adapted network's answer, refined as smoothly as each clip's motion allows, and whether that is by
    OF_FAST_MOTION: judged by the keypoints that `evidence` keeps out."""
    smooth, fast = (optimise(body, start, evidence, how) for how in (AFTER_ADAPTATION, OF_FAST_MOTION))
    smooth_px, fast_px = (self_check_px(body, answer, evidence) for answer in (smooth, fast))
    moves_fast = fast_px < _CLEARLY * smooth_px
    return chosen(moves_fast[evidence.clip], fast, smooth), moves_fast


def chosen(choice: Bool[Tensor, " time"], one: BodyParameters, other: BodyParameters) -> BodyParameters:
    """By frame the one or the other."""

    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(choice.view(-1, *[1] * (a.ndim - 1)), a, b)

    return BodyParameters(*(pick(getattr(one, name), getattr(other, name)) for name in vars(one)))


def seen_as_large(
    body: Body, parameters: BodyParameters, betas: Float[Tensor, "time betas"]
) -> BodyParameters:
    """People in the camera frame with other betas, farther away by as much as they get taller (from the lowest to the
    highest joint of the rest pose): a camera sees them as large as before."""

    def height(betas: Tensor) -> Tensor:
        y = body.shape(betas).joints[..., 1]
        return y.amax(-1, keepdim=True) - y.amin(-1, keepdim=True)

    farther = height(betas) / height(parameters.betas)
    return replace(parameters, betas=betas, p_world_root=parameters.p_world_root * farther)


def _optimizer(config: OptimiseConfig, frames: list[Tensor], shapes: list[Tensor]) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        groups = [{"params": frames}, {"params": shapes, "lr": _SHAPE_RATE}]
        return torch.optim.Adam(groups, lr=config.learning_rate, betas=(0.9, 0.99))
    if config.optimizer == "lbfgs":
        return torch.optim.LBFGS(
            frames + shapes,
            lr=config.learning_rate,
            max_iter=20,
            history_size=20,
            line_search_fn="strong_wolfe",
        )
    return torch.optim.SGD(frames + shapes, lr=config.learning_rate)


def _schedule(
    config: OptimiseConfig, optimizer: torch.optim.Optimizer
) -> torch.optim.lr_scheduler.LRScheduler:
    least, steps = (0.02 if config.schedule == "cosine" else 1.0), max(config.steps, 1)
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: least + (1 - least) * (1 + math.cos(math.pi * step / steps)) / 2
    )


def random_start(evidence: Evidence, num_betas: int, seed: int = 0) -> BodyParameters:
    """A pose of small random rotations with the mean shape, turned a random way about the vertical, in the middle of
    the crop and about as large: where the paper's baseline begins."""
    random = torch.Generator().manual_seed(seed)
    frames = len(evidence)
    columns = torch.tensor([1.0, 0, 0, 0, 1, 0]) + 0.1 * torch.randn(frames, 24, 6, generator=random)
    R = matrix_from_6d(columns)
    yaw = torch.rand(frames, generator=random) * 2 * torch.pi
    turn = torch.zeros(frames, 3, 3)
    turn[:, 0, 0] = turn[:, 2, 2] = yaw.cos()
    turn[:, 0, 2], turn[:, 2, 0], turn[:, 1, 1] = yaw.sin(), -yaw.sin(), 1.0
    inputs = evidence.inputs
    R = torch.cat([(UPRIGHT @ turn).unsqueeze(1), R[:, 1:]], dim=1).to(inputs.boxes)
    middle = torch.zeros_like(inputs.boxes)
    place = translation_from_crop(middle, inputs.boxes, inputs.focal, inputs.center)
    return BodyParameters(middle.new_zeros(frames, num_betas), R, place)


def started_from_truth(start: BodyParameters, truth: BodyParameters, place: bool) -> BodyParameters:
    """`start` with the true rotation of the root, and with the true place: the paper's other beginnings."""
    R = torch.cat([truth.R_parent_joint[:, :1], start.R_parent_joint[:, 1:]], dim=1)
    known = replace(start, R_parent_joint=R)
    return replace(known, p_world_root=truth.p_world_root) if place else known
