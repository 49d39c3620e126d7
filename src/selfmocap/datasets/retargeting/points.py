"""Fit the body to its keypoints in space, as systems give them whose own body is another."""

from collections.abc import Mapping
from typing import Any

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT, JOINT_NAMES
from selfmocap.geometry.rotations import shortest_arc

_SHAPE_FRAMES, _WINDOW_FRAMES, _MAX_STEPS = 32, 256, 100
_ROTATION_WEIGHT = 1e-3
"""m^2 per rad^2: a prior on each rotation at its initial value. It spreads the bend of the back, and alone determines
the twist of a straight limb."""
_SHAPE_WEIGHT = 1e-4
"""m^2 per squared coefficient and frame."""
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_LIMBS = {"shoulder": ("elbow", "wrist"), "hip": ("knee", "ankle")}
"""Keypoints along each limb; the joints have the same names."""


def fit_to_keypoints(body: Body, goal: Float[Tensor, "time 23 3"]) -> BodyParameters:
    """Fit the bodies of a clip, of one shape, to the keypoints of DEFAULT_KEYPOINTS, metres; in the frame of `goal`.

    Minimises the sum of squared distances by L-BFGS, from limbs that point where the keypoints do."""
    small = body.keypoint_proxy(DEFAULT_KEYPOINTS.name).to(torch.float64)
    goal = goal.double()
    start = _start(small, goal)
    spread = torch.linspace(0, len(goal) - 1, min(len(goal), _SHAPE_FRAMES)).round().long()
    betas = _fit(small, start[spread], goal[spread], with_shape=True).betas
    start = BodyParameters(betas, start.R_parent_joint, start.p_world_root)
    parts = [
        _fit(small, start[rows], goal[rows], with_shape=False)
        for rows in torch.arange(len(goal)).split(_WINDOW_FRAMES)
    ]
    return BodyParameters(
        betas, torch.cat([x.R_parent_joint for x in parts]), torch.cat([x.p_world_root for x in parts])
    )


def _keypoints(body: Body, bodies: BodyParameters) -> Float[Tensor, "time 23 3"]:
    return body.regressors[DEFAULT_KEYPOINTS.name].weights.double() @ body.pose(bodies).vertices


def _start(body: Body, goal: Float[Tensor, "time 23 3"]) -> BodyParameters:
    """Return bodies of the mean shape whose trunk lies on the keypoints and whose limbs point as they do."""
    time = len(goal)
    R = torch.eye(3, dtype=goal.dtype).repeat(time, len(JOINT_NAMES), 1, 1)
    rest = BodyParameters(
        torch.zeros(body.num_betas, dtype=goal.dtype), R[:1], torch.zeros(1, 3, dtype=goal.dtype)
    )
    at_rest = _named(_keypoints(body, rest).expand(time, -1, -1))
    seen = _named(goal)
    trunk, goal_trunk = (torch.stack([points[name] for name in _TORSO], dim=1) for points in (at_rest, seen))
    registered: Any = roma.rigid_points_registration(trunk, goal_trunk)
    root, p = registered
    R[:, 0] = root
    for side in ("left", "right"):
        for first, rest_of_limb in _LIMBS.items():
            above, parent = root, f"{side}_{first}"
            for name in rest_of_limb:
                child = f"{side}_{name}"
                along, wanted = (points[child] - points[parent] for points in (at_rest, seen))
                local = (above.mT @ wanted[..., None])[..., 0]
                R[:, JOINT[parent]] = shortest_arc(along, local)
                above, parent = above @ R[:, JOINT[parent]], child
    return BodyParameters(rest.betas, R, p)


def _named(points: Float[Tensor, "time 23 3"]) -> Mapping[str, Tensor]:
    return dict(zip(DEFAULT_KEYPOINTS.names, points.unbind(1), strict=True))


def _fit(
    body: Body, start: BodyParameters, goal: Float[Tensor, "time 23 3"], with_shape: bool
) -> BodyParameters:
    turn = torch.zeros(*start.R_parent_joint.shape[:2], 3, dtype=goal.dtype, requires_grad=True)
    step = torch.zeros_like(start.p_world_root, requires_grad=True)
    shape = torch.zeros_like(start.betas, requires_grad=with_shape)

    def moved() -> BodyParameters:
        R = start.R_parent_joint @ roma.rotvec_to_rotmat(turn)
        return BodyParameters(start.betas + shape, R, start.p_world_root + step)

    def loss() -> Tensor:
        optimiser.zero_grad()
        total = (_keypoints(body, moved()) - goal).square().sum() + _ROTATION_WEIGHT * turn.square().sum()
        total = total + _SHAPE_WEIGHT * len(goal) * (start.betas + shape).square().sum()
        total.backward()
        return total

    free = [turn, step, shape] if with_shape else [turn, step]
    optimiser = torch.optim.LBFGS(free, max_iter=_MAX_STEPS, history_size=20, line_search_fn="strong_wolfe")
    optimiser.step(loss)
    with torch.no_grad():
        return moved()
