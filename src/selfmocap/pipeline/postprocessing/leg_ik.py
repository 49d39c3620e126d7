"""Inverse kinematics of a leg."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import forward_kinematics
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.rotations import shortest_arc
from selfmocap.geometry.tensors import safe_normalize

_MAX_EXTENSION = 0.999
"""Fraction of the leg's length. A limit just below 1 keeps the knee from snapping straight."""


@dataclass(frozen=True)
class Leg:
    """The joints of one leg."""

    hip: int
    knee: int
    ankle: int


LEGS = tuple(
    Leg(*(JOINT[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))) for side in ("left", "right")
)


def solve_leg(
    rest_joints: Float[Tensor, "24 3"],
    leg: Leg,
    R_parent_joint: Float[Tensor, "time 24 3 3"],
    p_world_root: Float[Tensor, "time 3"],
    shift_world: Float[Tensor, "time 3"],
    R_world_foot: Float[Tensor, "time 3 3"],
) -> Float[Tensor, "time 24 3 3"]:
    """Compute the pose in which the ankle is moved by `shift_world`, as far as the leg reaches, and the foot has the
    rotation `R_world_foot`. The knee stays in its plane; nothing above the hip changes."""
    R_world, p_world = forward_kinematics(R_parent_joint.to(p_world_root), rest_joints, p_world_root)
    hip, knee, ankle = (p_world[:, joint] for joint in (leg.hip, leg.knee, leg.ankle))
    thigh, shank = knee - hip, ankle - knee
    upper, lower = thigh.norm(dim=-1), shank.norm(dim=-1)
    goal = ankle + shift_world - hip
    distance = goal.norm(dim=-1).clamp(max=_MAX_EXTENSION * (upper + lower))
    distance = torch.maximum(distance, (upper - lower).abs() + 1e-3)
    # A straight leg does not define a plane: use the knee's own axis.
    normal = torch.linalg.cross(thigh, shank)
    straight = normal.norm(dim=-1, keepdim=True) < 1e-3 * (upper * lower)[:, None]
    axis = safe_normalize(torch.where(straight, R_world[:, leg.knee, :, 0], normal))
    bent = ((distance**2 - upper**2 - lower**2) / (2 * upper * lower)).clamp(-1, 1).arccos()
    bend = _rotation(axis, bent - _angle(thigh, shank, axis))
    reached = thigh + (bend @ shank[..., None])[..., 0]
    swing = shortest_arc(reached, goal)
    R_hip, R_knee = swing @ R_world[:, leg.hip], swing @ bend @ R_world[:, leg.knee]
    R = R_parent_joint.clone()
    R[:, leg.hip] = R_world[:, JOINT["pelvis"]].mT @ R_hip
    R[:, leg.knee] = R_hip.mT @ R_knee
    R[:, leg.ankle] = R_knee.mT @ R_world_foot
    return R


def world_rotation(
    rest_joints: Float[Tensor, "24 3"],
    joint: int,
    R_parent_joint: Float[Tensor, "time 24 3 3"],
    p_world_root: Float[Tensor, "time 3"],
) -> Float[Tensor, "time 3 3"]:
    """Compute a joint's rotation in the world."""
    return forward_kinematics(R_parent_joint.to(p_world_root), rest_joints, p_world_root)[0][:, joint]


def _angle(a: Tensor, b: Tensor, axis: Tensor) -> Tensor:
    """Compute the angle from a to b about an axis that is normal to both, rad."""
    return torch.atan2((torch.linalg.cross(a, b) * axis).sum(-1), (a * b).sum(-1))


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    return roma.rotvec_to_rotmat(axis * angle[..., None])
