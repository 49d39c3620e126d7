"""People who move as nobody was recorded: limbs of several pieces of motion, of either side, in one, joints a little
off. Drawn anew for every scene, unlike the motions of `poses.widened`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.joint_limits import clamp_to_limits
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.synthetic.motions import MotionClip, Poses, sample_poses
from selfmocap.synthetic.penetration import Capsules, capsules, depth
from selfmocap.synthetic.poses import mirrored_rotations

_ARM, _LEG = ("collar", "shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")
_LIMBS = [
    *([f"{side}_{part}" for part in limb] for side in ("left", "right") for limb in (_ARM, _LEG)),
    ["spine1", "spine2", "spine3"],
    ["neck", "head"],
]

_POOL = 8
"""Pieces of motion that limbs are taken from, at least."""


@dataclass(frozen=True)
class Variety:
    """How far synthetic people leave the recordings, which a network otherwise learns by heart: docs/explanation/model-card.md."""

    share: float = 0.6
    """Of the clips that are changed at all."""
    limb: float = 0.35
    """How likely each limb, trunk and head does what another clip's does, or its mirror image."""
    off: float = 0.2
    """Greatest standard deviation of a constant turn of each joint, radians; each clip's is uniform below it."""
    greatest_penetration: float = 0.04
    """Metres between capsules; clips with limbs deeper in each other stay as they were."""


def varied_poses(
    rng: np.random.Generator,
    variety: Variety,
    motions: Sequence[MotionClip],
    clips: int,
    frames: int,
    fps: float,
    body: Body,
) -> Poses:
    """`sample_poses`, a share of them changed by what others do; joints keep their limits, and the lowest joint keeps
    its height."""
    pool = sample_poses(rng, motions, max(clips, _POOL), frames, fps)
    R_before, p_before = pool.R_parent_joint[:clips], pool.p_world_root[:clips]
    changed, R = _chance(rng, variety.share, clips), R_before
    sides = torch.stack([pool.R_parent_joint, mirrored_rotations(pool.R_parent_joint)])
    for limb in _LIMBS:
        other = sides[_drawn(rng, 2, clips), _drawn(rng, len(pool.R_parent_joint), clips)]
        taken = _chance(rng, variety.limb, clips)[:, None] & torch.tensor([n in limb for n in JOINT_NAMES])
        R = torch.where(taken[:, None, :, None, None], other, R)
    off = rng.uniform(0, variety.off, (clips, 1, 1, 1)) * rng.normal(size=(clips, 1, len(JOINT_NAMES), 3))
    off[:, :, 0] = 0
    R = clamp_to_limits(R @ roma.rotvec_to_rotmat(torch.from_numpy(off).float()))
    rest, shape = _mean(body)
    _, before = forward_kinematics(R_before, rest, p_before)
    R_world, after = forward_kinematics(R, rest, p_before)
    changed &= (depth(shape, R_world, after) <= variety.greatest_penetration).all(-1)
    rise = (before[..., 1].amin((1, 2)) - after[..., 1].amin((1, 2)))[:, None, None]
    p = p_before + rise * torch.tensor([0.0, 1.0, 0.0])
    return Poses(
        torch.where(changed[:, None, None, None, None], R, R_before),
        torch.where(changed[:, None, None], p, p_before),
    )


def _drawn(rng: np.random.Generator, below: int, clips: int) -> Int[Tensor, " clips"]:
    return torch.from_numpy(rng.integers(below, size=clips))


def _chance(rng: np.random.Generator, share: float, clips: int) -> Bool[Tensor, " clips"]:
    return torch.from_numpy(rng.random(clips) < share)


@lru_cache(maxsize=1)
def _mean(body: Body) -> tuple[Float[Tensor, "24 3"], Capsules]:
    """The joints at rest and the capsules of the mean body."""
    betas = torch.zeros(body.num_betas)
    return body.shape(betas).joints, capsules(body, betas)
