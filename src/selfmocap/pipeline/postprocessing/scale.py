"""Metres from a stature that somebody measured: one camera cannot tell a tall person from a near one."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.rebuild import light, remade

SHORTEST, TALLEST = 0.5, 2.6
"""Metres."""
_HOLD = 1e-4
"""m^2 a squared coefficient."""
_ROUNDS = 4
"""The crown and the sole may become other vertices."""


def stature(body: Body, betas: Float[Tensor, " betas"]) -> Float[Tensor, ""]:
    """From sole to crown in the rest pose, metres."""
    height = body.shape(betas).rest[1]
    return height.amax() - height.amin()


def with_stature(motion: Motion, body: Body, metres: float) -> Motion:
    """The motion of a person of that stature: the shape becomes that whose skeleton is nearest to the present one
    enlarged, and all distances from the camera grow with it, so that the pictures stay nearly as they were."""
    if not SHORTEST <= metres <= TALLEST:
        raise ValueError(f"a height of {metres} m; expected metres from {SHORTEST} to {TALLEST}")
    betas = motion.parameters.betas.detach()
    ratio = metres / stature(body, betas)
    p_cam = motion.joints_cam[:, :1] * ratio
    parameters = BodyParameters(
        enlarged(body, betas, metres),
        motion.parameters.R_parent_joint,
        motion.camera.to_world(p_cam)[:, 0],
    )
    return remade(motion, light(body), parameters)


def enlarged(body: Body, betas: Float[Tensor, " betas"], metres: float) -> Float[Tensor, " betas"]:
    """The shape of exactly that stature whose joints, seen from the pelvis, are nearest to the present ones enlarged,
    held to the present shape: least squares under one linear constraint."""
    wide, start = body.to(torch.float64), betas.double()
    count = len(start)
    joints = _from_pelvis(wide.shape(start).joints)
    J = _from_pelvis(wide.J_shapedirs[:count].unflatten(1, (24, 3))).flatten(1).T
    system = torch.zeros(count + 1, count + 1, dtype=torch.float64)
    system[:count, :count] = J.T @ J + _HOLD * torch.eye(count)
    for _ in range(_ROUNDS):
        free = betas.double().requires_grad_()
        height = stature(wide, free)
        (gradient,) = torch.autograd.grad(height, free)
        wanted = joints * (metres / stature(wide, start)) - _from_pelvis(wide.shape(free.detach()).joints)
        system[count, :count] = system[:count, count] = gradient
        pull = J.T @ wanted.flatten() - _HOLD * (free.detach() - start)
        step = torch.linalg.solve(system, torch.cat([pull, (metres - height.detach())[None]]))
        betas = (free.detach() + step[:count]).to(betas)
    return betas


def _from_pelvis(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 24 3"]:
    return joints - joints[..., :1, :]
