"""Find which axis of a skeleton's world is up."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.datasets.retargeting.reference import SIDES
from selfmocap.datasets.retargeting.rig_structure import identify_rig
from selfmocap.datasets.retargeting.rigs import RigNaming
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion
from selfmocap.geometry.rotations import R_YUP_ZUP

_UPRIGHT_COSINE = 0.8
_Y, _Z = 1, 2
_MIN_UPRIGHT_FRACTION = 0.8
"""Fraction of the frames in which a person stands along z, and not along y, if z is up."""
_MAX_FLOOR_HEIGHT = 0.3
"""Metres from the origin to the lowest ankles, along the axis that is up."""
_MAX_FRAMES = 300


def turned_upright(motion: SkeletonMotion) -> SkeletonMotion:
    """Return the motion with y up: turned if its person stands along z, together with an unrotated pose along z.
    The motion itself if y is up, or if the skeleton is of an unknown kind."""
    try:
        rig = identify_rig(motion)
    except ValueError:
        return motion
    rest = _unrotated_standing(motion, rig)
    if not _is_z_up(motion, rig, rest):
        return motion
    R, p = motion.R_parent_joint.clone(), motion.p_world_root @ R_YUP_ZUP.T
    if rest[_Z]:
        offsets = motion.offsets @ R_YUP_ZUP.T
        return replace(motion, offsets=offsets, R_parent_joint=R_YUP_ZUP @ R @ R_YUP_ZUP.T, p_world_root=p)
    R[:, 0] = R_YUP_ZUP @ R[:, 0]
    return replace(motion, R_parent_joint=R, p_world_root=p)


def _unrotated_standing(motion: SkeletonMotion, rig: RigNaming) -> Bool[Tensor, "3"]:
    """Test for each axis whether the skeleton without rotations stands along it."""
    still = torch.eye(3).to(motion.offsets).expand_as(motion.R_parent_joint[:1])
    return _standing(replace(motion.frames(slice(1)), R_parent_joint=still), rig)[0][0]


def _is_z_up(motion: SkeletonMotion, rig: RigNaming, rest: Bool[Tensor, "3"]) -> bool:
    """Compare the frames, and for a person who hardly stands the pose without rotations, with both axes.

    The height of the ankles decides between a person who stands with z up and one who always lies along z on a y-up
    floor: standing ankles are near z = 0."""
    sampled = motion.frames(slice(None, None, -(-len(motion) // _MAX_FRAMES)))
    standing, lowest = _standing(sampled, rig)
    if standing[:, _Y].double().mean() >= 1 - _MIN_UPRIGHT_FRACTION:
        return False
    if standing[:, _Z].double().mean() < _MIN_UPRIGHT_FRACTION:
        return bool(rest[_Z]) and not rest[_Y]
    return not rest[_Y] or bool(lowest[:, _Z].median().abs() < _MAX_FLOOR_HEIGHT)


def _standing(
    motion: SkeletonMotion, rig: RigNaming
) -> tuple[Bool[Tensor, "time 3"], Float[Tensor, "time 3"]]:
    """Test for each frame and axis whether legs and trunk point along it; return the lowest ankle's position, too."""
    p = motion.world()[1]

    def points(part: str) -> Float[Tensor, "time 2 3"]:
        return p[:, [motion.joint_names.index(rig.limbs[part][side]) for side in range(len(SIDES))]]

    trunk = points("shoulder").mean(1) - points("hip").mean(1)
    legs = points("hip").mean(1) - points("ankle").mean(1)
    along = [torch.nn.functional.normalize(line, dim=-1) > _UPRIGHT_COSINE for line in (trunk, legs)]
    return along[0] & along[1], points("ankle").amin(1)
