"""The ground under a static camera, from where feet stood."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body import Body, BodyParameters
from selfmocap.cleaning.contacts import FOOT_POINTS, find_contacts
from selfmocap.cleaning.remade import keypoints_world, remade
from selfmocap.export.takes import frame_rate
from selfmocap.motion import Motion
from selfmocap.skeleton import JOINT

_TILT = 0.1
"""Radians: how far the ground may be expected from what the standing person says is level."""
_CAMERA_TILT = 0.15
_POINT_NOISE = 0.04
"""Metres that a foot's point is off, typically."""
_STANDING = 0.85
"""Of the greatest extent from the feet to the head: a person who reaches it stands."""
_POSTURE_TILT = 0.1
"""Radians that a standing person leans, typically, for as long as the clip lasts."""
_ROUNDS = 20


def on_the_ground(motion: Motion, body: Body, heights: Float[Tensor, "4"]) -> Motion:
    """The motion in a world whose y is up and whose ground is y = 0; the camera moves with it, so that pictures stay
    the same. For a static camera only: a moving one is returned as it is.

    The ground is the plane nearest to the points of standing feet (each `heights` above it), in a robust sense, and
    held towards the level that the standing person and the camera suggest: one spot says nothing of a slope."""
    if motion.camera.R_cam_world.ndim > 2:
        return motion
    motion = _turned(motion, body, _upright(motion))
    points, contacts = keypoints_world(motion, FOOT_POINTS), find_contacts(motion)
    if not contacts.any():
        return _lifted(motion, body, -(points[..., 1] - heights).amin(1).quantile(0.1))
    place = (points - heights[:, None] * torch.tensor([0.0, 1.0, 0.0]))[contacts].double()
    middle = place.mean(0)
    slope = _fit(place - middle, frame_rate(motion.frame_index, motion.frame_times))
    normal = torch.stack([-slope[0], torch.ones(()).double(), -slope[1]])
    R_level_world = _to_vertical(normal / normal.norm())
    motion = _turned(motion, body, R_level_world)
    level = (R_level_world @ (middle + torch.tensor([0.0, 1.0, 0.0]).double() * slope[2]))[1]
    return _lifted(motion, body, -level.to(points))


def _fit(place: Float[Tensor, "points 3"], fps: float) -> Float[Tensor, "3"]:
    """y = b x + c z + a by Cauchy's robust least squares, slopes held to zero: (b, c, a)."""
    design = torch.stack([place[:, 0], place[:, 2], torch.ones(len(place)).double()], dim=1)
    hold = torch.diag(torch.tensor([_TILT**-2, _TILT**-2, 1e-6])).double()
    solution = torch.zeros(3).double()
    # The errors of neighbouring frames are alike: a second of one point counts as one measurement.
    share = 1 / (fps * _POINT_NOISE**2)
    for _ in range(_ROUNDS):
        residual = place[:, 1] - design @ solution
        weights = share / (1 + (residual / _POINT_NOISE) ** 2)
        solution = torch.linalg.solve(
            design.T @ (weights[:, None] * design) + hold, design.T @ (weights * place[:, 1])
        )
    return solution


def _upright(motion: Motion) -> Float[Tensor, "3 3"]:
    """From the motion's world to one whose y is the mean direction from feet to head while the person stands, as far
    as that is believed against the camera being level."""
    joints = motion.camera.to_world(motion.joints_cam).double()
    feet = joints[:, [JOINT["left_ankle"], JOINT["right_ankle"]]].mean(1)
    extent = joints[:, JOINT["head"]] - feet
    length = extent.norm(dim=-1)
    standing = length > _STANDING * length.quantile(0.95)
    up = torch.nn.functional.normalize(extent[standing], dim=-1).mean(0)
    up = up / up.norm()
    level = torch.tensor([0.0, 1.0, 0.0]).double()
    mean = up * _POSTURE_TILT**-2 + level * _CAMERA_TILT**-2
    return _to_vertical(mean / mean.norm())


def _to_vertical(up: Float[Tensor, "3"]) -> Float[Tensor, "3 3"]:
    """The least rotation that turns a direction to y."""
    x, y, z = up.tolist()
    cross = torch.tensor([[0.0, -x, 0.0], [x, 0.0, z], [0.0, -z, 0.0]]).double()
    return torch.eye(3).double() + cross + cross @ cross / (1 + y)


def _turned(motion: Motion, body: Body, R_new_world: Float[Tensor, "3 3"]) -> Motion:
    parameters, R = motion.parameters, R_new_world.to(motion.joints_cam)
    R_parent_joint = parameters.R_parent_joint.clone()
    R_parent_joint[:, 0] = R @ R_parent_joint[:, 0]
    camera = replace(motion.camera, R_cam_world=motion.camera.R_cam_world @ R.T)
    turned = BodyParameters(parameters.betas, R_parent_joint, parameters.p_world_root @ R.T)
    return remade(motion, body, turned, camera=camera)


def _lifted(motion: Motion, body: Body, metres: Float[Tensor, ""]) -> Motion:
    up = torch.tensor([0.0, 1.0, 0.0]).to(motion.joints_cam) * metres
    camera = motion.camera
    camera = replace(camera, t_cam_world=camera.t_cam_world - camera.R_cam_world @ up)
    lifted = replace(motion.parameters, p_world_root=motion.parameters.p_world_root + up)
    return remade(motion, body, lifted, camera=camera)
