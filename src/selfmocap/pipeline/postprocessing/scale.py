"""Set the metric scale from a known stature; one camera cannot distinguish a tall person from a near one."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.config import MAX_STATURE, MIN_STATURE
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, with_parameters

_REGULARISATION = 1e-4
"""m^2 per squared coefficient."""
_MAX_HEIGHT_CHANGE = 0.03
"""Relative change of a camera's height that is within the error of the floor under one person."""
_ITERATIONS = 4
"""More than one: the highest and lowest vertex may change with the shape."""


def stature(body: Body, betas: Float[Tensor, " betas"]) -> Float[Tensor, ""]:
    """Compute the height of the rest pose from sole to crown, metres."""
    height = body.shape(betas).rest[1]
    return height.amax() - height.amin()


def scale_to_stature(motion: Motion, body: Body, metres: float) -> Motion:
    """Scale the motion to a stature. The shape becomes that of `betas_for_stature`. Distances from the camera, and the
    path of a moving one, are scaled with it, so that the projection hardly changes. Raises ValueError for a stature out
    of range."""
    if not MIN_STATURE <= metres <= MAX_STATURE:
        raise ValueError(f"a height of {metres} m; expected metres from {MIN_STATURE} to {MAX_STATURE}")
    betas = motion.parameters.betas.detach()
    ratio = metres / stature(body, betas)
    p_cam = motion.joints_cam[:, :1] * ratio
    camera = replace(motion.camera, t_cam_world=motion.camera.t_cam_world * ratio)
    parameters = BodyParameters(
        betas_for_stature(body, betas, metres),
        motion.parameters.R_parent_joint,
        camera.to_world(p_cam)[:, 0],
    )
    return with_parameters(motion, keypoint_body(body), parameters, camera=camera)


def scale_to_camera_height(motion: Motion, body: Body, metres: float) -> Motion:
    """Scale the motion so that a static camera is at a height above the ground, y = 0. A motion that would change by
    more than `_MAX_HEIGHT_CHANGE` is returned as it is: the person may stand on a step."""
    ratio = metres / float(motion.camera.p_world_cam[1])
    target = ratio * float(stature(body, motion.parameters.betas))
    if abs(ratio - 1) > _MAX_HEIGHT_CHANGE or not MIN_STATURE <= target <= MAX_STATURE:
        return motion
    return scale_to_stature(motion, body, target)


def betas_for_stature(body: Body, betas: Float[Tensor, " betas"], metres: float) -> Float[Tensor, " betas"]:
    """Find the shape of exactly this stature whose joints, relative to the pelvis, are nearest to the scaled joints of
    `betas`.

    Least squares, regularised towards `betas`, under one linearised constraint that is updated in each iteration."""
    body64, start = body.to(torch.float64), betas.double()
    count = len(start)
    joints = _from_pelvis(body64.shape(start).joints)
    J = _from_pelvis(body64.J_shapedirs[:count].unflatten(1, (24, 3))).flatten(1).T
    system = torch.zeros(count + 1, count + 1, dtype=torch.float64)
    system[:count, :count] = J.T @ J + _REGULARISATION * torch.eye(count)
    for _ in range(_ITERATIONS):
        variable = betas.double().requires_grad_()
        height = stature(body64, variable)
        (gradient,) = torch.autograd.grad(height, variable)
        current = _from_pelvis(body64.shape(variable.detach()).joints)
        residual = joints * (metres / stature(body64, start)) - current
        system[count, :count] = system[:count, count] = gradient
        right_side = J.T @ residual.flatten() - _REGULARISATION * (variable.detach() - start)
        step = torch.linalg.solve(system, torch.cat([right_side, (metres - height.detach())[None]]))
        betas = (variable.detach() + step[:count]).to(betas)
    return betas


def _from_pelvis(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 24 3"]:
    return joints - joints[..., :1, :]
