"""A take's skeleton and its motion in the axes, unit and names of another program."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.export.names import joint_names
from selfmocap.export.options import METRES, ExportOptions, Unit, UpAxis
from selfmocap.export.takes import Take
from selfmocap.geometry.tensors import in_parts

R_ZUP_YUP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], dtype=torch.float64)


@dataclass(frozen=True, eq=False)
class Rig:
    """The skeleton of one person's shape, in float64; every joint's axes at rest are the world's."""

    names: tuple[str, ...]
    rest_joints: Float[Tensor, "24 3"]
    """In the T-pose, where the body model's file puts it."""
    rest_vertices: Float[Tensor, "vertices 3"]
    R_parent_joint: Float[Tensor, "time 24 3 3"]
    """The root's parent is the world."""
    p_world_root: Float[Tensor, "time 3"]
    times: Float[Tensor, " time"]
    """s, from 0."""
    fps: float
    up_axis: UpAxis
    metres: float
    """Metres a unit of length."""


def out_of_world(options: ExportOptions) -> Float[Tensor, "3 3"]:
    """From the world's axes, y up, to those asked for."""
    return R_ZUP_YUP if options.up_axis == "z" else torch.eye(3, dtype=torch.float64)


def rig(take: Take, body: Body, options: ExportOptions, unit: Unit) -> Rig:
    """The take's skeleton with the options' names and axes; `unit` is the format's custom, where none is asked for.

    With z up everything turns with the axes, the rest pose as well: the skeleton stands along z at rest."""
    R_out_world = out_of_world(options)
    metres = METRES[options.unit or unit]
    R = take.parameters.R_parent_joint
    shaped = body.to(torch.float64).shape(take.parameters.betas)
    return Rig(
        names=joint_names(options.names),
        rest_joints=shaped.joints @ R_out_world.T / metres,
        rest_vertices=shaped.rest.T @ R_out_world.T / metres,
        R_parent_joint=R
        if options.up_axis == "y"
        else in_parts(lambda R: R_out_world @ R @ R_out_world.T, R),
        p_world_root=take.parameters.p_world_root @ R_out_world.T / metres,
        times=take.times - take.times[0],
        fps=take.fps,
        up_axis=options.up_axis,
        metres=metres,
    )
