"""Biovision hierarchies (`.bvh`)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_PARENTS
from selfmocap.export.euler import best_order, continuous_euler
from selfmocap.export.names import joint_children
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig import ExportRig, export_rig
from selfmocap.export.segments import Segment
from selfmocap.io.atomic import atomic_write


def write_bvh(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment at its constant rate; the default unit is cm.

    Offsets are those of the person's shape. The channels of a joint are its rotation in the frame of its parent, in the
    order of axes that suits its path (`best_order`)."""
    skeleton = export_rig(segment, body, options, unit="cm")
    R = skeleton.R_parent_joint.numpy()
    orders = [best_order(R[:, joint]) for joint in range(len(skeleton.names))]
    lines = ["HIERARCHY", *_joint_lines(0, skeleton, orders, _end_sites(skeleton, body))]
    lines += ["MOTION", f"Frames: {len(segment)}", f"Frame Time: {1 / segment.fps:.9f}"]
    angles_deg = [continuous_euler(R[:, joint], orders[joint]) for joint in _depth_first(0)]
    table = np.concatenate([skeleton.p_world_root.numpy(), *angles_deg], axis=1)
    with atomic_write(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, table, fmt="%.6f")


def _depth_first(joint: int) -> list[int]:
    return [joint, *(descendant for child in joint_children(joint) for descendant in _depth_first(child))]


def _joint_lines(
    joint: int, skeleton: ExportRig, orders: list[str], end_sites: Float[Tensor, "24 3"]
) -> list[str]:
    rest, children, parent = skeleton.rest_joints, joint_children(joint), JOINT_PARENTS[joint]
    is_root = parent < 0
    rotations = " ".join(f"{axis}rotation" for axis in orders[joint])
    channels = f"6 Xposition Yposition Zposition {rotations}" if is_root else f"3 {rotations}"
    body_lines = [_offset(rest[joint] - rest[joint if is_root else parent]), f"CHANNELS {channels}"]
    if not children:
        body_lines += ["End Site", "{", f"  {_offset(end_sites[joint])}", "}"]
    for child in children:
        body_lines += _joint_lines(child, skeleton, orders, end_sites)
    title = f"{'ROOT' if is_root else 'JOINT'} {skeleton.names[joint]}"
    return [title, "{", *(f"  {line}" for line in body_lines), "}"]


def _offset(offset: Float[Tensor, "3"]) -> str:
    return "OFFSET " + " ".join(f"{number:.6f}" for number in offset.tolist())


def _end_sites(skeleton: ExportRig, body: Body) -> Float[Tensor, "24 3"]:
    """Compute the end of each joint's body part, relative to the joint: the joint mirrored at the mean of the part."""
    weights = body.weights.double()
    return 2 * (weights @ skeleton.rest_vertices / weights.sum(1, keepdim=True) - skeleton.rest_joints)
