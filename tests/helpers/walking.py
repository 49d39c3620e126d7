"""Somebody who walks, and the cameras that look on."""

import math
from dataclasses import replace

import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import pose_from_degrees
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.camera import Camera
from selfmocap.pipeline.postprocessing.leg_ik import LEGS, Leg, reach

FPS = 30.0
LEVEL = Camera.looking_along_z(1000.0, 1280, 720)


def smoothstep(x: torch.Tensor) -> torch.Tensor:
    x = x.clamp(0, 1)
    return 3 * x**2 - 2 * x**3


def pitched(degrees: float) -> Camera:
    """5 m before the world's origin, 1.5 m above the ground, looking down."""
    R = roma.rotvec_to_rotmat(torch.tensor([math.radians(degrees), 0.0, 0.0])) @ LEVEL.R_cam_world
    return replace(LEVEL, R_cam_world=R, t_cam_world=-R @ torch.tensor([0.0, 1.5, 5.0]))


def walk(body: Body, small: Body, camera: Camera, seconds: float = 5.0) -> Motion:
    """A walk at 0.9 m/s across the picture, feet flat and still on y = 0 for 60 % of each step's second."""
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
    wide = body.to(torch.float64)
    posed = wide.pose(BodyParameters(parameters.betas, R[:1], root[:1]))
    parameters.p_world_root[:, 1] -= posed.vertices[..., 1].amin() + 0.03
    for leg, phase in zip(LEGS, (0.0, 0.5), strict=True):
        posed = small.to(torch.float64).pose(parameters)
        step = time + phase
        share = (step % 1 - 0.6) / 0.4
        forward = 0.9 * (step.floor() + smoothstep(share) - phase + 0.3) - 0.45 * seconds
        goal = posed.joints[:, leg.ankle].clone()
        flat = wide.shape(parameters.betas).joints[leg.ankle, 1]
        goal[:, 0] = forward
        goal[:, 1] = flat + 0.12 * torch.sin(math.pi * share.clamp(0, 1)) ** 2
        shift = goal - posed.joints[:, leg.ankle]
        parameters = reached(wide, parameters, leg, shift, turn.repeat(len(time), 1, 1))
    return Motion.from_parameters(small, parameters.to(torch.float32), camera, (1280, 720), time)


def reached(
    body: Body, parameters: BodyParameters, leg: Leg, shift: torch.Tensor, R_world_foot: torch.Tensor
) -> BodyParameters:
    rest_joints = body.shape(parameters.betas).joints
    R = reach(rest_joints, leg, parameters.R_parent_joint, parameters.p_world_root, shift, R_world_foot)
    return replace(parameters, R_parent_joint=R)
