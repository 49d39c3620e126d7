"""One body's motion as another's: from the embedded body to the user's SMPL file.

Both have SMPL's joints and T-pose, so rotations are a good start and no more: bones point some degrees elsewhere at
rest, and shape coefficients are unrelated. The shape is fitted on frames spread over the motion, then every frame's
rotations and place for that shape.
"""

from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT_NAMES, JOINT_PARENTS

_SHAPE_FRAMES = 32
_WINDOW = 256
_STEPS = 150
_SHAPE_STEPS = 10
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
    both_have_skin = all(DEFAULT_KEYPOINTS.name in body.regressors for body in (source, target))
    surface = _SURFACE if both_have_skin else []
    parameters, points = parameters.to(torch.float64), _points(target, surface)
    with torch.no_grad():
        goal = _points(source, surface).at(parameters)
    lengths = _bone_lengths(source.to(torch.float64), parameters.betas)
    start = replace(parameters, betas=_shape_of_bones(target.to(torch.float64), lengths))
    time = len(start.p_world_root)
    spread = torch.linspace(0, time - 1, min(time, _SHAPE_FRAMES)).round().long()
    betas = _fit(goal[spread], _frames(start, spread), points, with_shape=True).betas
    start = replace(start, betas=betas)
    parts = [
        _fit(goal[window], _frames(start, window), points, with_shape=False)
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


def _bone_lengths(body: Body, betas: Tensor) -> Tensor:
    joints = body.shape(betas).joints
    return (joints[1:] - joints[list(JOINT_PARENTS[1:])]).norm(dim=-1)


def _shape_of_bones(body: Body, lengths: Tensor) -> Tensor:
    """The shape whose bones come nearest to these lengths, held to the mean shape (Gauss-Newton)."""
    betas = torch.zeros(body.num_betas, dtype=lengths.dtype)
    for _ in range(_SHAPE_STEPS):
        J = torch.autograd.functional.jacobian(lambda b: _bone_lengths(body, b), betas)
        misfit = lengths - _bone_lengths(body, betas)
        hold = _SHAPE_WEIGHT * torch.eye(len(betas), dtype=J.dtype)
        betas = betas + torch.linalg.solve(J.T @ J + hold, J.T @ misfit - _SHAPE_WEIGHT * betas)
    return betas


@dataclass(frozen=True, eq=False)
class _Points:
    """What of a body is compared: its joints and some points of its skin."""

    body: Body
    """Of no more vertices than those points need, in float64."""
    weights: Float[Tensor, "surface vertices"]

    def at(self, parameters: BodyParameters) -> Float[Tensor, "time points 3"]:
        """Where they are in the world, metres."""
        posed = self.body.pose(parameters)
        return torch.cat([posed.joints, self.weights @ posed.vertices], dim=-2)


def _points(body: Body, surface: list[int]) -> _Points:
    if not surface:
        vertices, weights = torch.zeros(1, dtype=torch.long), torch.zeros(0, 1)
    else:
        regressor = body.regressors[DEFAULT_KEYPOINTS.name]
        used = (regressor.weights[surface] != 0).any(0)
        vertices, weights = regressor.vertices[used], regressor.weights[surface][:, used]
    return _Points(body.restricted(vertices).to(torch.float64), weights.double())


def _fit(goal: Tensor, start: BodyParameters, points: _Points, with_shape: bool) -> BodyParameters:
    weights = torch.ones(goal.shape[-2], dtype=goal.dtype)
    weights[len(JOINT_NAMES) :] = _SURFACE_WEIGHT
    turn = torch.zeros(*start.R_parent_joint.shape[:2], 3, dtype=goal.dtype, requires_grad=True)
    shift = torch.zeros_like(start.p_world_root, requires_grad=True)
    shape = torch.zeros_like(start.betas, requires_grad=with_shape)
    free = [turn, shift, shape] if with_shape else [turn, shift]

    def moved() -> BodyParameters:
        R = start.R_parent_joint @ roma.rotvec_to_rotmat(turn)
        return BodyParameters(start.betas + shape, R, start.p_world_root + shift)

    def loss() -> Tensor:
        optimiser.zero_grad()
        distance = (points.at(moved()) - goal).square().sum(-1)
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
