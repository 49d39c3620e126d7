"""Repair moments of a recording that no person can move like: short ones are interpolated, long ones cut out."""

from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from selfmocap.datasets.retargeting.skeletons import SkeletonMotion, angle_deg
from selfmocap.geometry.rotations import interpolate
from selfmocap.geometry.tensors import true_runs

GLITCH_ANGLE_DEG = 15.0
"""A joint that leaves its path by more than this, and returns within GLITCH_SECONDS, is a tracking error ..."""
GLITCH_FACTOR = 5.0
"""... if it leaves by this many times its rotation from the frame before to the frame after."""
GLITCH_SECONDS = 0.03
MAX_ACCELERATION = 200.0
"""m/s^2 of the root. Beyond it, the root was lost and found elsewhere; landing from a jump stays below 100."""
FROZEN_SECONDS = 0.05
"""A person who does not move at all for this long is a dropout that was filled with its last frame."""
MAX_REPAIR_SECONDS = 0.25
MIN_PIECE_SECONDS = 0.5


def repair_recording(motion: SkeletonMotion) -> list[SkeletonMotion]:
    """Split a recording into its valid pieces. Wrong moments of up to MAX_REPAIR_SECONDS are interpolated; longer ones,
    and those at an end, are cut out. Pieces after the first have `#2`, `#3` in their name."""
    wrong = find_glitches(motion) | find_jumps(motion) | find_frozen(motion)
    runs = true_runs(wrong)
    longest = MAX_REPAIR_SECONDS * motion.fps
    cuts = [(a, b) for a, b in runs if b - a > longest or a == 0 or b == len(motion)]
    motion = _interpolated(motion, [run for run in runs if run not in cuts])
    starts = [0, *(b for _, b in cuts)]
    ends = [*(a for a, _ in cuts), len(motion)]
    shortest = min(MIN_PIECE_SECONDS * motion.fps, len(motion))
    pieces = [motion.frames(slice(a, b)) for a, b in zip(starts, ends, strict=True) if 0 < b - a >= shortest]
    return [
        replace(piece, name=f"{piece.name}#{number}") if number > 1 else piece
        for number, piece in enumerate(pieces, start=1)
    ]


def find_glitches(motion: SkeletonMotion) -> Bool[Tensor, " time"]:
    """Find frames in which a joint jumps off its path and back."""
    R = motion.R_parent_joint
    found = torch.zeros(len(R), dtype=torch.bool)
    for width in range(1, round(GLITCH_SECONDS * motion.fps) + 1):
        if len(R) < width + 2:
            break
        left = torch.minimum(angle_deg(R[: -width - 1], R[1:-width]), angle_deg(R[width:-1], R[width + 1 :]))
        moved = angle_deg(R[: -width - 1], R[width + 1 :])
        off = ((left > GLITCH_ANGLE_DEG) & (left > GLITCH_FACTOR * moved)).any(1)
        for shift in range(1, width + 1):
            found[shift : shift + len(off)] |= off
    return found


def find_jumps(motion: SkeletonMotion) -> Bool[Tensor, " time"]:
    """Find frames around which the root accelerates beyond any person, and their neighbours."""
    found = torch.zeros(len(motion), dtype=torch.bool)
    p = motion.p_world_root
    acceleration = (p[2:] - 2 * p[1:-1] + p[:-2]).norm(dim=-1) * motion.fps**2
    for shift in range(3):
        found[shift : shift + len(acceleration)] |= acceleration > MAX_ACCELERATION
    return found


def find_frozen(motion: SkeletonMotion) -> Bool[Tensor, " time"]:
    """Find frames that repeat the one before, in runs of at least FROZEN_SECONDS."""
    same = torch.zeros(len(motion), dtype=torch.bool)
    same[1:] = (motion.p_world_root.diff(dim=0).abs() < 1e-7).all(1) & (
        motion.R_parent_joint.diff(dim=0).abs() < 1e-7
    ).flatten(1).all(1)
    for a, b in true_runs(same):
        if b - a < FROZEN_SECONDS * motion.fps:
            same[a:b] = False
    return same


def _interpolated(motion: SkeletonMotion, runs: list[tuple[int, int]]) -> SkeletonMotion:
    R, p = motion.R_parent_joint.clone(), motion.p_world_root.clone()
    for a, b in runs:
        share = torch.arange(1, b - a + 1, dtype=R.dtype)[:, None] / (b - a + 1)
        R[a:b] = interpolate(R[a - 1], R[b], share)
        p[a:b] = torch.lerp(p[a - 1], p[b], share)
    return replace(motion, R_parent_joint=R, p_world_root=p)
