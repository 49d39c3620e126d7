"""Write Biovision hierarchies (`.bvh`)."""

from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.body import Body
from selfmocap.export.animated_skeleton import AnimatedSkeleton, animated_skeleton
from selfmocap.export.euler import continuous_euler
from selfmocap.export.options import ExportOptions
from selfmocap.export.segments import Segment
from selfmocap.io.atomic import atomic_write


def write_bvh(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment at its constant rate; the default unit is cm.

    Offsets are those of the person's shape. Without rotations, bones lie as in the rest pose of a skeleton whose axes
    are the world's. The channels of a joint are its rotation in the frame of its parent, in one order of axes for all
    joints. Joints with position channels have the offset 0, so that readers that add them and those that replace it
    agree."""
    skeleton, order = animated_skeleton(segment, body, options, unit="cm"), options.rig.euler_order
    lines = ["HIERARCHY", *_joint_lines(0, skeleton, order, _end_sites(skeleton))]
    lines += ["MOTION", f"Frames: {len(skeleton.times)}", f"Frame Time: {1 / segment.fps:.9f}"]
    columns = []
    for joint in _depth_first(skeleton.parents, 0):
        if joint in skeleton.positions:
            columns.append(skeleton.positions[joint])
        columns.append(continuous_euler(skeleton.R_parent_joint[:, joint], order))
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
        np.savetxt(file, np.concatenate(columns, axis=1), fmt="%.6f")


def _children(parents: tuple[int, ...], joint: int) -> list[int]:
    return [child for child, parent in enumerate(parents) if parent == joint]


def _depth_first(parents: tuple[int, ...], joint: int) -> list[int]:
    return [joint, *(row for child in _children(parents, joint) for row in _depth_first(parents, child))]


def _joint_lines(
    joint: int, skeleton: AnimatedSkeleton, order: str, end_sites: Float[ndarray, "joints 3"]
) -> list[str]:
    _, offsets = skeleton.rest_transforms()
    moves, children = joint in skeleton.positions, _children(skeleton.parents, joint)
    rotations = " ".join(f"{axis}rotation" for axis in order)
    channels = f"6 Xposition Yposition Zposition {rotations}" if moves else f"3 {rotations}"
    body_lines = [_offset(np.zeros(3) if moves else offsets[joint]), f"CHANNELS {channels}"]
    if not children:
        body_lines += ["End Site", "{", f"  {_offset(end_sites[joint])}", "}"]
    for child in children:
        body_lines += _joint_lines(child, skeleton, order, end_sites)
    title = f"{'JOINT' if joint else 'ROOT'} {skeleton.names[joint]}"
    return [title, "{", *(f"  {line}" for line in body_lines), "}"]


def _offset(offset: Float[ndarray, "3"]) -> str:
    return "OFFSET " + " ".join(f"{number:.6f}" for number in offset)


def _end_sites(skeleton: AnimatedSkeleton) -> Float[ndarray, "joints 3"]:
    """Compute the end of each joint's body part in the joint's axes: the joint mirrored at the mean of the part."""
    mass = np.maximum(skeleton.weights.sum(0), 1e-9)[:, None]
    ends = 2 * (skeleton.weights.T @ skeleton.vertices / mass - skeleton.p_world_rest)
    return np.einsum("jba,jb->ja", skeleton.R_world_rest, ends)
