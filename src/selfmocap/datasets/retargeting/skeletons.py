"""The record of every skeletal recording, whatever its file format."""

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.geometry.rotations import interpolate_frames

_FRAME_TOLERANCE = 0.02
"""Frames: a moment this near to a recorded frame is that frame (59.999 frames per second mean 60)."""


@dataclass(frozen=True, eq=False)
class SkeletonMotion:
    """A skeleton with rigid bones in motion."""

    name: str
    subject: str
    """The recorded person, if known; recordings of one subject share their body's shape."""
    fps: float
    """The true frame rate."""
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    """A parent precedes its children; the root's is -1."""
    offsets: Float[Tensor, "joints 3"]
    """Position of each joint in its parent's frame, metres; the root's is zero."""
    R_parent_joint: Float[Tensor, "time joints 3 3"]
    """The root's parent is the world, which is y up."""
    p_world_root: Float[Tensor, "time 3"]
    """Metres."""

    def __len__(self) -> int:
        return len(self.p_world_root)

    def world(self) -> tuple[Float[Tensor, "time joints 3 3"], Float[Tensor, "time joints 3"]]:
        """Compute `R_world_joint` and `p_world_joint` (metres) by forward kinematics."""
        R_world, p_world = [self.R_parent_joint[:, 0]], [self.p_world_root]
        for joint, parent in enumerate(self.parents[1:], start=1):
            R_world.append(R_world[parent] @ self.R_parent_joint[:, joint])
            p_world.append(p_world[parent] + R_world[parent] @ self.offsets[joint])
        return torch.stack(R_world, dim=1), torch.stack(p_world, dim=1)

    def frames(self, chosen: slice) -> "SkeletonMotion":
        """Select frames."""
        return replace(
            self, R_parent_joint=self.R_parent_joint[chosen], p_world_root=self.p_world_root[chosen]
        )

    def resampled(self, fps: float) -> "SkeletonMotion":
        """Return the motion at another frame rate."""
        R, p = resample_motion(self.R_parent_joint, self.p_world_root, self.fps, fps)
        return replace(self, fps=fps, R_parent_joint=R, p_world_root=p)


def resample_motion(
    R: Float[Tensor, "time joints 3 3"], p: Float[Tensor, "time 3"], fps: float, to_fps: float
) -> tuple[Float[Tensor, "moments joints 3 3"], Float[Tensor, "moments 3"]]:
    """Resample rotations and positions to another frame rate, from the first frame on; rotations along the shortest
    arc."""
    step = fps / to_fps
    moment = torch.arange(math.floor((len(p) - 1) / step + _FRAME_TOLERANCE) + 1, dtype=torch.float64) * step
    before = (moment + _FRAME_TOLERANCE).floor().clamp(max=len(p) - 1).long()
    after = (before + 1).clamp(max=len(p) - 1)
    share = moment - before
    between = (share > _FRAME_TOLERANCE).nonzero().flatten()
    R_out, p_out = R[before], p[before]
    if len(between):
        R_out[between], p_out[between] = interpolate_frames(
            R, p, before[between], after[between], share[between]
        )
    return R_out, p_out


def angle_deg(
    R_a: Float[Tensor, "*#batch 3 3"], R_b: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Compute the angle between two rotations, degrees."""
    cosine = ((R_a * R_b).sum((-1, -2)) - 1) / 2
    return cosine.clamp(-1, 1).arccos().rad2deg()
