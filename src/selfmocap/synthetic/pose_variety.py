"""Random poses beyond the recordings: limbs of several pieces of motion, of either side, are combined, and joints are
rotated a little. They are drawn anew for every scene, unlike the motions of `augment_motions`."""

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
from selfmocap.synthetic.motion_augmentation import mirror_rotations
from selfmocap.synthetic.motions import MotionClip, PoseSequences, sample_poses
from selfmocap.synthetic.penetration import Capsules, body_capsules, penetration_depth

_ARM, _LEG = ("collar", "shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle", "foot")
_LIMBS = [
    *([f"{side}_{part}" for part in limb] for side in ("left", "right") for limb in (_ARM, _LEG)),
    ["spine1", "spine2", "spine3"],
    ["neck", "head"],
]

_MIN_POOL_SIZE = 8
"""Least number of pieces of motion that limbs are taken from."""


@dataclass(frozen=True)
class PoseVariety:
    """Configure how far poses deviate from the recordings, which a network otherwise memorises:
    docs/explanation/model-card.md."""

    fraction: float = 0.6
    """Fraction of the clips that are changed."""
    limb_fraction: float = 0.35
    """Probability that a limb, the trunk or the head is replaced by another clip's, or by its mirror image."""
    max_joint_offset: float = 0.2
    """Largest standard deviation of a constant rotation of each joint, radians; each clip's is drawn uniformly below
    it."""
    max_penetration: float = 0.04
    """Metres between capsules; clips with a larger penetration stay unchanged."""


def sample_varied_poses(
    rng: np.random.Generator,
    variety: PoseVariety,
    motions: Sequence[MotionClip],
    clips: int,
    frames: int,
    fps: float,
    body: Body,
) -> PoseSequences:
    """Draw `sample_poses` and change a fraction of them. Joints keep their limits, and the lowest joint keeps its
    height."""
    pool = sample_poses(rng, motions, max(clips, _MIN_POOL_SIZE), frames, fps)
    R_before, p_before = pool.R_parent_joint[:clips], pool.p_world_root[:clips]
    changed, R = _chance(rng, variety.fraction, clips), R_before
    sides = torch.stack([pool.R_parent_joint, mirror_rotations(pool.R_parent_joint)])
    for limb in _LIMBS:
        other = sides[_random_index(rng, 2, clips), _random_index(rng, len(pool.R_parent_joint), clips)]
        replaced = _chance(rng, variety.limb_fraction, clips)[:, None] & torch.tensor(
            [n in limb for n in JOINT_NAMES]
        )
        R = torch.where(replaced[:, None, :, None, None], other, R)
    offset = rng.uniform(0, variety.max_joint_offset, (clips, 1, 1, 1)) * rng.normal(
        size=(clips, 1, len(JOINT_NAMES), 3)
    )
    offset[:, :, 0] = 0
    R = clamp_to_limits(R @ roma.rotvec_to_rotmat(torch.from_numpy(offset).float()))
    rest, shape = _mean_body(body)
    _, before = forward_kinematics(R_before, rest, p_before)
    R_world, after = forward_kinematics(R, rest, p_before)
    changed &= (penetration_depth(shape, R_world, after) <= variety.max_penetration).all(-1)
    rise = (before[..., 1].amin((1, 2)) - after[..., 1].amin((1, 2)))[:, None, None]
    p = p_before + rise * torch.tensor([0.0, 1.0, 0.0])
    return PoseSequences(
        torch.where(changed[:, None, None, None, None], R, R_before),
        torch.where(changed[:, None, None], p, p_before),
    )


def _random_index(rng: np.random.Generator, below: int, clips: int) -> Int[Tensor, " clips"]:
    return torch.from_numpy(rng.integers(below, size=clips))


def _chance(rng: np.random.Generator, fraction: float, clips: int) -> Bool[Tensor, " clips"]:
    return torch.from_numpy(rng.random(clips) < fraction)


@lru_cache(maxsize=1)
def _mean_body(body: Body) -> tuple[Float[Tensor, "24 3"], Capsules]:
    """Return the joints at rest and the capsules of the mean body."""
    betas = torch.zeros(body.num_betas)
    return body.shape(betas).joints, body_capsules(body, betas)
