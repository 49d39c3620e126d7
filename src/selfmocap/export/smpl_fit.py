"""Convert the motion of one body to another: from the embedded body to the user's SMPL file.

Both have SMPL's joints and T-pose, so rotations are a good initial value. They are not the solution: rest bones differ
in direction by some degrees, and shape coefficients are unrelated. The shape is fitted on frames spread over the
motion, then the rotations and position of every frame for that shape.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT_NAMES, JOINT_PARENTS
from selfmocap.geometry import lazy_roma as roma

_SHAPE_FRAMES = 32
_WINDOW_FRAMES = 256
_MAX_STEPS = 150
_SHAPE_STEPS = 10
_SURFACE = [
    DEFAULT_KEYPOINTS.index(name)
    for name in ("nose", "left_ear", "right_ear", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe",
                 "right_small_toe", "right_heel")
]  # fmt: skip
"""Points of the skin that SMPL's meshes have exactly. They determine the twist of head and feet."""
_SURFACE_WEIGHT = 0.1
_ROTATION_WEIGHT = 1e-4
"""m^2 per rad^2: a prior on each rotation at its initial value, the only source of the twist of a limb."""
_SHAPE_WEIGHT = 1e-6
"""m^2 per squared coefficient."""


def fit_parameters(parameters: BodyParameters, source: Body, target: Body) -> BodyParameters:
    """Fit the parameters of `target` to the joints, and points of head and feet, of `source`; one shape for all frames.

    Minimises the sum of squared distances by L-BFGS."""
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
        for window in torch.arange(time).split(_WINDOW_FRAMES)
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
    """Fit the shape to bone lengths with a prior at the mean shape (Gauss-Newton)."""
    betas = torch.zeros(body.num_betas, dtype=lengths.dtype)
    for _ in range(_SHAPE_STEPS):
        J = torch.autograd.functional.jacobian(lambda b: _bone_lengths(body, b), betas)
        residual = lengths - _bone_lengths(body, betas)
        prior = _SHAPE_WEIGHT * torch.eye(len(betas), dtype=J.dtype)
        betas = betas + torch.linalg.solve(J.T @ J + prior, J.T @ residual - _SHAPE_WEIGHT * betas)
    return betas


@dataclass(frozen=True, eq=False)
class _Points:
    """The compared points of a body: its joints and some points of its skin."""

    body: Body
    """With the vertices of those points only, in float64."""
    weights: Float[Tensor, "surface vertices"]

    def at(self, parameters: BodyParameters) -> Float[Tensor, "time points 3"]:
        """Compute the points in the world, metres."""
        posed = self.body.pose(parameters)
        return torch.cat([posed.joints, self.weights @ posed.vertices], dim=-2)


def _points(body: Body, surface: list[int]) -> _Points:
    if not surface:
        vertices, weights = torch.zeros(1, dtype=torch.long), torch.zeros(0, 1)
    else:
        regressor = body.regressors[DEFAULT_KEYPOINTS.name]
        used = (regressor.weights[surface] != 0).any(0)
        vertices, weights = regressor.vertices[used], regressor.weights[surface][:, used]
    return _Points(body.with_vertices(vertices).to(torch.float64), weights.double())


def _fit(goal: Tensor, start: BodyParameters, points: _Points, with_shape: bool) -> BodyParameters:
    weights = torch.ones(goal.shape[-2], dtype=goal.dtype)
    weights[len(JOINT_NAMES) :] = _SURFACE_WEIGHT
    rotation_step = torch.zeros(*start.R_parent_joint.shape[:2], 3, dtype=goal.dtype, requires_grad=True)
    position_step = torch.zeros_like(start.p_world_root, requires_grad=True)
    shape = torch.zeros_like(start.betas, requires_grad=with_shape)
    free = [rotation_step, position_step, shape] if with_shape else [rotation_step, position_step]

    def moved() -> BodyParameters:
        R = start.R_parent_joint @ roma.rotvec_to_rotmat(rotation_step)
        return BodyParameters(start.betas + shape, R, start.p_world_root + position_step)

    def loss() -> Tensor:
        optimiser.zero_grad()
        distance = (points.at(moved()) - goal).square().sum(-1)
        total = (distance * weights).sum() + _ROTATION_WEIGHT * rotation_step.square().sum()
        total = total + _SHAPE_WEIGHT * len(goal) * (start.betas + shape).square().sum()
        total.backward()
        return total

    optimiser = torch.optim.LBFGS(
        free, max_iter=_MAX_STEPS, history_size=20, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )
    optimiser.step(loss)
    with torch.no_grad():
        return moved()
