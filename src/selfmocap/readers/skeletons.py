"""The record that every skeletal recording is read into, whatever its file format."""

import math
from dataclasses import dataclass, replace

import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

GLITCH_ANGLE_DEG = 15.0
"""A joint that leaves its path by more than this, and returns, within GLITCH_SECONDS is not a person's movement."""
GLITCH_SECONDS = 0.03
GLITCH_FACTOR = 5.0
"""... if it also left by this many times what it moved from the frame before to the frame after."""


@dataclass(frozen=True, eq=False)
class SkeletonMotion:
    """A skeleton with rigid bones in motion."""

    name: str
    subject: str
    """Who was recorded, as far as known: recordings of one subject share their body's shape."""
    fps: float
    """The true frame rate."""
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    """A parent stands before its children; the root's is -1."""
    offsets: Float[Tensor, "joints 3"]
    """Each joint in its parent's frame, metres; the root's is zero."""
    R_parent_joint: Float[Tensor, "time joints 3 3"]
    """The root's parent is the world, which is y up."""
    p_world_root: Float[Tensor, "time 3"]
    """Metres."""

    def __len__(self) -> int:
        return len(self.p_world_root)

    def world(self) -> tuple[Float[Tensor, "time joints 3 3"], Float[Tensor, "time joints 3"]]:
        """`R_world_joint` and `p_world_joint` (metres), by forward kinematics."""
        R_world, p_world = [self.R_parent_joint[:, 0]], [self.p_world_root]
        for joint, parent in enumerate(self.parents[1:], start=1):
            R_world.append(R_world[parent] @ self.R_parent_joint[:, joint])
            p_world.append(p_world[parent] + R_world[parent] @ self.offsets[joint])
        return torch.stack(R_world, dim=1), torch.stack(p_world, dim=1)

    def frames(self, chosen: slice) -> "SkeletonMotion":
        """Only some of the frames."""
        return replace(
            self, R_parent_joint=self.R_parent_joint[chosen], p_world_root=self.p_world_root[chosen]
        )

    def resampled(self, fps: float) -> "SkeletonMotion":
        """The same motion at another frame rate, from the first frame on; rotations along the shortest arc."""
        step = self.fps / fps
        position = torch.arange(math.floor((len(self) - 1) / step + 1e-3) + 1, dtype=torch.float64) * step
        before = (position + 1e-2).floor().clamp(max=len(self) - 1).long()
        after = (before + 1).clamp(max=len(self) - 1)
        fraction = position - before
        fraction = torch.where(fraction.abs() < 1e-2, 0.0, fraction)
        R, p = self.R_parent_joint[before], self.p_world_root[before]
        between = fraction > 0
        if between.any():
            share = fraction[between]
            R[between] = interpolate(R[between], self.R_parent_joint[after][between], share[:, None])
            p[between] = torch.lerp(p[between], self.p_world_root[after][between], share[:, None])
        return replace(self, fps=fps, R_parent_joint=R, p_world_root=p)

    def glitches(self) -> Bool[Tensor, " time"]:
        """Frames in which a joint jumps off its path and back again."""
        found = torch.zeros(len(self), dtype=torch.bool)
        R = self.R_parent_joint
        for width in range(1, max(1, round(GLITCH_SECONDS * self.fps)) + 1):
            if len(self) < width + 2:
                break
            there = angle_deg(R[: -width - 1], R[1:-width])
            back = angle_deg(R[width:-1], R[width + 1 :])
            apart = angle_deg(R[: -width - 1], R[width + 1 :])
            jump = torch.minimum(there, back)
            off = ((jump > GLITCH_ANGLE_DEG) & (jump > GLITCH_FACTOR * apart)).any(1)
            for shift in range(width):
                found[1 + shift : len(self) - width + shift] |= off
        return found

    def repaired(self) -> "SkeletonMotion":
        """The motion with its `glitches` interpolated from the frames beside them."""
        wrong = self.glitches()
        if not wrong.any():
            return self
        good = torch.nonzero(~wrong).flatten()
        frames = torch.nonzero(wrong).flatten()
        after = torch.searchsorted(good, frames)
        before, after = good[after - 1], good[after]
        share = ((frames - before) / (after - before)).double()
        R, p = self.R_parent_joint.clone(), self.p_world_root.clone()
        R[frames] = interpolate(R[before], R[after], share[:, None])
        p[frames] = torch.lerp(p[before], p[after], share[:, None].to(p))
        return replace(self, R_parent_joint=R, p_world_root=p)


def interpolate(
    R_a: Float[Tensor, "*#batch 3 3"],
    R_b: Float[Tensor, "*#batch 3 3"],
    share: Float[Tensor, "*#batch"] | float,
) -> Float[Tensor, "*batch 3 3"]:
    """The rotation on the shortest arc from a (share 0) to b (share 1)."""
    share = torch.as_tensor(share, dtype=R_a.dtype)
    return R_a @ roma.rotvec_to_rotmat(share[..., None] * roma.rotmat_to_rotvec(R_a.mT @ R_b))


def angle_deg(
    R_a: Float[Tensor, "*#batch 3 3"], R_b: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """The angle between two rotations, degrees."""
    cosine = ((R_a * R_b).sum((-1, -2)) - 1) / 2
    return cosine.clamp(-1, 1).arccos().rad2deg()
