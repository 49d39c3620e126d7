"""Biovision hierarchies (`.bvh`)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_PARENTS
from selfmocap.export.euler import best_order, continuous_euler
from selfmocap.export.names import children
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig import Rig, rig
from selfmocap.export.takes import Take
from selfmocap.io.atomic import atomic_write


def write_bvh(path: Path, take: Take, body: Body, options: ExportOptions) -> None:
    """Writes a take at its constant rate, in cm if no unit is asked for. Offsets are those of the person's shape;
    each joint's channels are its rotation in its parent, in the order of axes that suits its path."""
    skeleton = rig(take, body, options, unit="cm")
    R = skeleton.R_parent_joint.numpy()
    orders = [best_order(R[:, joint]) for joint in range(len(skeleton.names))]
    lines = ["HIERARCHY", *_joint_lines(0, skeleton, orders, _ends(skeleton, body))]
    lines += ["MOTION", f"Frames: {len(take)}", f"Frame Time: {1 / take.fps:.9f}"]
    angles_deg = [continuous_euler(R[:, joint], orders[joint]) for joint in _depth_first(0)]
    table = np.concatenate([skeleton.p_world_root.numpy(), *angles_deg], axis=1)
    with atomic_write(path) as partial, partial.open("w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, table, fmt="%.6f")


def _depth_first(joint: int) -> list[int]:
    return [joint, *(below for child in children(joint) for below in _depth_first(child))]


def _joint_lines(joint: int, skeleton: Rig, orders: list[str], ends: Float[Tensor, "24 3"]) -> list[str]:
    rest, below, parent = skeleton.rest_joints, children(joint), JOINT_PARENTS[joint]
    is_root = parent < 0
    turns = " ".join(f"{axis}rotation" for axis in orders[joint])
    channels = f"6 Xposition Yposition Zposition {turns}" if is_root else f"3 {turns}"
    inside = [_offset(rest[joint] - rest[joint if is_root else parent]), f"CHANNELS {channels}"]
    if not below:
        inside += ["End Site", "{", f"  {_offset(ends[joint])}", "}"]
    for child in below:
        inside += _joint_lines(child, skeleton, orders, ends)
    title = f"{'ROOT' if is_root else 'JOINT'} {skeleton.names[joint]}"
    return [title, "{", *(f"  {line}" for line in inside), "}"]


def _offset(offset: Float[Tensor, "3"]) -> str:
    return "OFFSET " + " ".join(f"{number:.6f}" for number in offset.tolist())


def _ends(skeleton: Rig, body: Body) -> Float[Tensor, "24 3"]:
    """Where each joint's own part of the body ends, from the joint: as far behind its middle as the joint is
    before it."""
    weights = body.weights.double()
    return 2 * (weights @ skeleton.rest_vertices / weights.sum(1, keepdim=True) - skeleton.rest_joints)
