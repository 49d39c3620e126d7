"""The skeleton and motion of a segment in the axes, unit and names of another program."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import body_for
from selfmocap.export.names import joint_names
from selfmocap.export.options import METRES, ExportOptions, Unit, UpAxis
from selfmocap.export.segments import Segment
from selfmocap.geometry.rotations import R_ZUP_YUP
from selfmocap.geometry.tensors import map_chunked


@dataclass(frozen=True, eq=False)
class ExportRig:
    """The skeleton of one person's shape with its motion, in float64; the rest axes of every joint are the world's."""

    names: tuple[str, ...]
    rest_joints: Float[Tensor, "joints 3"]
    """In the T-pose, at the position that the file of the body model gives it."""
    rest_vertices: Float[Tensor, "vertices 3"]
    R_parent_joint: Float[Tensor, "time joints 3 3"]
    """The parent of the root is the world."""
    p_world_root: Float[Tensor, "time 3"]
    times: Float[Tensor, " time"]
    """Seconds, from 0."""
    fps: float
    up_axis: UpAxis
    metres: float
    """Metres per unit of length."""


def rotation_to_output(options: ExportOptions) -> Float[Tensor, "3 3"]:
    """Return the rotation from the world's axes, y up, to the axes of the options."""
    return R_ZUP_YUP if options.up_axis == "z" else torch.eye(3, dtype=torch.float64)


def export_rig(segment: Segment, body: Body, options: ExportOptions, unit: Unit) -> ExportRig:
    """Return the skeleton and motion of a segment with the names and axes of the options.

    `unit` is the default unit of the format, used if the options have none. With z up the rest pose turns with the
    axes: the rest skeleton stands along z."""
    R_out_world = rotation_to_output(options)
    metres = METRES[options.unit or unit]
    R = segment.parameters.R_parent_joint
    shaped = body_for(segment.parameters, body).to(torch.float64).shape(segment.parameters.betas)
    return ExportRig(
        names=joint_names(options.names)[: R.shape[1]],
        rest_joints=shaped.joints @ R_out_world.T / metres,
        rest_vertices=shaped.rest.T @ R_out_world.T / metres,
        R_parent_joint=R
        if options.up_axis == "y"
        else map_chunked(lambda R: R_out_world @ R @ R_out_world.T, R),
        p_world_root=segment.parameters.p_world_root @ R_out_world.T / metres,
        times=segment.times - segment.times[0],
        fps=segment.fps,
        up_axis=options.up_axis,
        metres=metres,
    )
