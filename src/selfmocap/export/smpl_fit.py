"""One body's motion as another's: from the embedded body to the user's SMPL file.

Both have SMPL's joints and T-pose, so rotations are a good start and no more: bones point some degrees elsewhere at
rest, and shape coefficients are unrelated. The shape is fitted on frames spread over the motion, then every frame's
rotations and place for that shape.
"""

from dataclasses import replace

import roma
import torch
from torch import Tensor

from selfmocap.body import Body, BodyParameters
from selfmocap.skeleton import DEFAULT_KEYPOINTS

_SHAPE_FRAMES = 32
_WINDOW = 256
_STEPS = 60
_SURFACE = [
    DEFAULT_KEYPOINTS.index(name)
    for name in ("nose", "left_ear", "right_ear", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
                 "right_small_toe", "right_heel")
]  # fmt: skip
"""Points of the skin that SMPL's meshes have exactly. They fix how head and feet turn about their bones."""
_SURFACE_WEIGHT = 0.1
_TURN_WEIGHT = 1e-4
"""m^2 a rad^2: holds each rotation to the one that it started from, which alone tells how a limb turns about its
bone."""
_SHAPE_WEIGHT = 1e-6
"""m^2 a squared coefficient."""


def refit(parameters: BodyParameters, source: Body, target: Body) -> BodyParameters:
    """The target's parameters whose 24 joints, and points of head and feet, come nearest to the source's; one shape
    for all frames. The least of the sum of squared distances, by L-BFGS."""
    goal = _points(source.to(torch.float64), parameters.to(torch.float64))
    target = _reduced(target.to(torch.float64))
    start = replace(parameters.to(torch.float64), betas=torch.zeros(target.num_betas, dtype=torch.float64))
    time = len(start.p_world_root)
    spread = torch.linspace(0, time - 1, min(time, _SHAPE_FRAMES)).round().long()
    betas = _fit(goal[spread], _frames(start, spread), target, with_shape=True).betas
    start = replace(start, betas=betas)
    parts = [
        _fit(goal[window], _frames(start, window), target, with_shape=False)
        for window in torch.arange(time).split(_WINDOW)
    ]
    return BodyParameters(
        betas,
        torch.cat([part.R_parent_joint for part in parts]),
        torch.cat([part.p_world_root for part in parts]),
    )


def _frames(parameters: BodyParameters, frames: Tensor) -> BodyParameters:
    R, p = parameters.R_parent_joint[frames], parameters.p_world_root[frames]
    return BodyParameters(parameters.betas, R, p)


def _reduced(body: Body) -> Body:
    """The body with no more vertices than its keypoints need."""
    return body.restricted(torch.unique(body.regressors[DEFAULT_KEYPOINTS.name].vertices))


def _points(body: Body, parameters: BodyParameters) -> Tensor:
    """(time, 24 + surface, 3): what is compared, metres."""
    posed = body.pose(parameters)
    keypoints = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
    return torch.cat([posed.joints, keypoints[..., _SURFACE, :]], dim=-2)


def _fit(goal: Tensor, start: BodyParameters, body: Body, with_shape: bool) -> BodyParameters:
    weights = torch.ones(goal.shape[-2], dtype=goal.dtype)
    weights[-len(_SURFACE) :] = _SURFACE_WEIGHT
    turn = torch.zeros(*start.R_parent_joint.shape[:2], 3, dtype=goal.dtype, requires_grad=True)
    shift = torch.zeros_like(start.p_world_root, requires_grad=True)
    shape = torch.zeros_like(start.betas, requires_grad=with_shape)
    free = [turn, shift, shape] if with_shape else [turn, shift]

    def moved() -> BodyParameters:
        R = start.R_parent_joint @ roma.rotvec_to_rotmat(turn)
        return BodyParameters(start.betas + shape, R, start.p_world_root + shift)

    def loss() -> Tensor:
        optimiser.zero_grad()
        distance = (_points(body, moved()) - goal).square().sum(-1)
        total = (distance * weights).sum() + _TURN_WEIGHT * turn.square().sum()
        total = total + _SHAPE_WEIGHT * len(goal) * (start.betas + shape).square().sum()
        total.backward()
        return total

    optimiser = torch.optim.LBFGS(
        free, max_iter=_STEPS, history_size=20, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )
    optimiser.step(loss)
    with torch.no_grad():
        return moved()
