"""A leg's pose from where its foot is to be."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import forward_kinematics
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.rotations import shortest_arc
from selfmocap.geometry.tensors import safe_normalize

_STRAIGHTEST = 0.999
"""Of the leg's length: further the foot is not pulled, so that the knee does not snap straight."""


@dataclass(frozen=True)
class Leg:
    """The joints of one side."""

    hip: int
    knee: int
    ankle: int


LEGS = tuple(
    Leg(*(JOINT[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))) for side in ("left", "right")
)


def reach(
    rest_joints: Float[Tensor, "24 3"],
    leg: Leg,
    R_parent_joint: Float[Tensor, "time 24 3 3"],
    p_world_root: Float[Tensor, "time 3"],
    shift_world: Float[Tensor, "time 3"],
    R_world_foot: Float[Tensor, "time 3 3"],
) -> Float[Tensor, "time 24 3 3"]:
    """The pose in which the ankle is moved by `shift_world`, as far as the leg is long, and the foot stands as
    `R_world_foot`. The knee bends in the plane it is in; nothing above the hip changes."""
    R_world, p_world = forward_kinematics(R_parent_joint.to(p_world_root), rest_joints, p_world_root)
    hip, knee, ankle = (p_world[:, joint] for joint in (leg.hip, leg.knee, leg.ankle))
    thigh, shank = knee - hip, ankle - knee
    upper, lower = thigh.norm(dim=-1), shank.norm(dim=-1)
    goal = ankle + shift_world - hip
    distance = goal.norm(dim=-1).clamp(max=_STRAIGHTEST * (upper + lower))
    distance = torch.maximum(distance, (upper - lower).abs() + 1e-3)
    # A straight leg has no plane: its knee's own axis takes over.
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


def turn_in_world(
    rest_joints: Float[Tensor, "24 3"],
    joint: int,
    R_parent_joint: Float[Tensor, "time 24 3 3"],
    p_world_root: Float[Tensor, "time 3"],
) -> Float[Tensor, "time 3 3"]:
    """A joint's rotation in the world."""
    return forward_kinematics(R_parent_joint.to(p_world_root), rest_joints, p_world_root)[0][:, joint]


def _angle(a: Tensor, b: Tensor, axis: Tensor) -> Tensor:
    """From a to b about the axis, which is normal to both, rad."""
    return torch.atan2((torch.linalg.cross(a, b) * axis).sum(-1), (a * b).sum(-1))


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    return roma.rotvec_to_rotmat(axis * angle[..., None])
