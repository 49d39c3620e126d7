"""A synthetic walk, and cameras that see it."""

import math
from dataclasses import replace

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import pose_from_degrees
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.rotations import shortest_arc
from selfmocap.geometry.tensors import safe_normalize
from selfmocap.pipeline.postprocessing.legs import LEGS, Leg

FPS = 30.0
MAX_EXTENSION = 0.999
"""Fraction of the leg's length. A limit just below 1 keeps the knee from snapping straight."""
LEVEL = Camera.looking_along_z(1000.0, 1280, 720)


def smoothstep(x: torch.Tensor) -> torch.Tensor:
    """Interpolate smoothly from 0 to 1 for x in [0, 1]."""
    x = x.clamp(0, 1)
    return 3 * x**2 - 2 * x**3


def pitched_camera(degrees: float) -> Camera:
    """Return a camera 5 m in front of the world's origin and 1.5 m above the ground, pitched down."""
    R = roma.rotvec_to_rotmat(torch.tensor([math.radians(degrees), 0.0, 0.0])) @ LEVEL.R_cam_world
    return replace(LEVEL, R_cam_world=R, t_cam_world=-R @ torch.tensor([0.0, 1.5, 5.0]))


def walking_motion(body: Body, small: Body, camera: Camera, seconds: float = 5.0) -> Motion:
    """Return a walk at 0.9 m/s across the image, feet flat and static on y = 0 for 60 % of each step's second."""
    time = torch.arange(round(seconds * FPS), dtype=torch.float64) / FPS
    pose = pose_from_degrees({
        **{f"{side}_{joint}": angles for side in ("left", "right") for joint, angles in
           {"hip": (-20, 0, 0), "knee": (40, 0, 0), "ankle": (-20, 0, 0)}.items()},
        "left_shoulder": (0, 0, -68), "right_shoulder": (0, 0, 68),
    }).double()  # fmt: skip
    R = pose.repeat(len(time), 1, 1, 1)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        swing = torch.zeros(len(time), 3, dtype=torch.float64)
        swing[:, 0] = 0.5 * sign * torch.sin(2 * math.pi * time)
        R[:, JOINT[f"{side}_shoulder"]] = roma.rotvec_to_rotmat(swing) @ R[:, JOINT[f"{side}_shoulder"]]
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, math.pi / 2, 0.0], dtype=torch.float64))
    R[:, 0] = turn
    root = torch.zeros(len(time), 3, dtype=torch.float64)
    root[:, 0] = 0.9 * time - 0.45 * seconds
    root[:, 1] = 0.02 * torch.sin(4 * math.pi * time)
    parameters = BodyParameters(torch.zeros(body.num_betas, dtype=torch.float64), R, root)
    body64 = body.to(torch.float64)
    posed = body64.pose(BodyParameters(parameters.betas, R[:1], root[:1]))
    parameters.p_world_root[:, 1] -= posed.vertices[..., 1].amin() + 0.03
    for leg, phase in zip(LEGS, (0.0, 0.5), strict=True):
        posed = small.to(torch.float64).pose(parameters)
        step = time + phase
        swing_phase = (step % 1 - 0.6) / 0.4
        forward = 0.9 * (step.floor() + smoothstep(swing_phase) - phase + 0.3) - 0.45 * seconds
        goal = posed.joints[:, leg.ankle].clone()
        flat = body64.shape(parameters.betas).joints[leg.ankle, 1]
        goal[:, 0] = forward
        goal[:, 1] = flat + 0.12 * torch.sin(math.pi * swing_phase.clamp(0, 1)) ** 2
        shift = goal - posed.joints[:, leg.ankle]
        parameters = with_foot_moved(body64, parameters, leg, shift, turn.repeat(len(time), 1, 1))
    return Motion.from_parameters(small, parameters.to(torch.float32), camera, (1280, 720), time)


def with_foot_moved(
    body: Body, parameters: BodyParameters, leg: Leg, shift: torch.Tensor, R_world_foot: torch.Tensor
) -> BodyParameters:
    """Move an ankle by `shift` (m), and turn the foot to `R_world_foot`, with leg inverse kinematics."""
    rest_joints = body.shape(parameters.betas).joints
    R = solve_leg(rest_joints, leg, parameters.R_parent_joint, parameters.p_world_root, shift, R_world_foot)
    return replace(parameters, R_parent_joint=R)


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
    distance = goal.norm(dim=-1).clamp(max=MAX_EXTENSION * (upper + lower))
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


def _angle(a: Tensor, b: Tensor, axis: Tensor) -> Tensor:
    """Compute the angle from a to b about an axis that is normal to both, rad."""
    return torch.atan2((torch.linalg.cross(a, b) * axis).sum(-1), (a * b).sum(-1))


def _rotation(axis: Tensor, angle: Tensor) -> Tensor:
    return roma.rotvec_to_rotmat(axis * angle[..., None])
