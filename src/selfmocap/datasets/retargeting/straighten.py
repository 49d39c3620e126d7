"""Make a reference pose of a skeleton from its motion, where no frame of it is near one."""

from dataclasses import replace
from typing import cast

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.retargeting.reference import SIDES, pose_deviation_deg, reference_points, unit_vector
from selfmocap.datasets.retargeting.rig_structure import identify_rig
from selfmocap.datasets.retargeting.rigs import RigNaming
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion

MAX_STRAIGHTENED_DEG = 40.0
"""Mean deviation of the mean pose of a person who mostly stands or walks; beyond it, straightening would guess."""
MIN_UPRIGHT_COSINE = 0.7
"""Of the trunk of that pose."""
_MAX_FRAMES = 300
_STANCE_FRACTION = 0.2
"""Fraction of the frames, those with the lowest ankle, in which a foot is taken to stand flat."""


def straightened(motion: SkeletonMotion) -> SkeletonMotion | None:
    """Return one frame: the mean pose of a motion, with limbs straight, legs down, arms beside the trunk and the back
    upright. None for a person who does not mostly stand.

    Each bone turns by the smallest angle, so that knees and elbows bend about their hinges."""
    rig = identify_rig(motion)
    motion = motion.frames(slice(None, None, -(-len(motion) // _MAX_FRAMES)))
    pose = _mean_pose(motion, rig)
    reference = reference_points(pose, rig)
    left, up, forward = reference.R_world_person.unbind(1)
    trunk = unit_vector(_middle(pose, rig, "shoulder") - _middle(pose, rig, "hip"))
    if pose_deviation_deg(reference) > MAX_STRAIGHTENED_DEG or trunk @ up < MIN_UPRIGHT_COSINE:
        return None
    pose = _aim(pose, rig.pelvis, _to_left(pose, rig, "hip"), left)
    pose = _aim(pose, rig.spine[0], _middle(pose, rig, "shoulder") - _middle(pose, rig, "hip"), up)
    pose = _aim(pose, rig.spine[-1], _to_left(pose, rig, "shoulder"), left)
    for side in range(len(SIDES)):
        at = {part: names[side] for part, names in rig.limbs.items()}
        pose = _aim(pose, at["hip"], _bone(pose, at["hip"], at["knee"]), -up)
        pose = _aim(pose, at["knee"], _bone(pose, at["knee"], at["ankle"]), -up)
        arm = _bone(pose, at["shoulder"], at["elbow"])
        arm = arm - (arm @ forward) * forward
        pose = _aim(pose, at["shoulder"], _bone(pose, at["shoulder"], at["elbow"]), arm)
        pose = _aim(pose, at["elbow"], _bone(pose, at["elbow"], at["wrist"]), arm)
        if "foot" in at:
            pitch = _standing_pitch(motion, at["ankle"], at["foot"])
            flat = pitch.cos() * forward + pitch.sin() * up
            pose = _aim(pose, at["ankle"], _bone(pose, at["ankle"], at["foot"]), flat)
    return pose


def _mean_pose(motion: SkeletonMotion, rig: RigNaming) -> SkeletonMotion:
    """Return the chordal mean of each joint's rotations, the root's after all frames face the same way."""
    R = motion.R_parent_joint.clone()
    facing = torch.stack(
        [reference_points(motion.frames(slice(k, k + 1)), rig).R_world_person for k in range(len(motion))]
    )
    R[:, 0] = facing.mT @ R[:, 0]
    mean = cast(Tensor, roma.special_procrustes(R.mean(0)))
    return replace(motion.frames(slice(1)), R_parent_joint=mean[None], p_world_root=motion.p_world_root[:1])


def _aim(
    pose: SkeletonMotion, joint: str, direction: Float[Tensor, "3"], target: Float[Tensor, "3"]
) -> SkeletonMotion:
    """Turn a joint in the world by the smallest angle that takes a direction to another."""
    index = pose.joint_names.index(joint)
    axis = torch.linalg.cross(direction, target)
    turn = roma.rotvec_to_rotmat(unit_vector(axis) * torch.atan2(axis.norm(), direction @ target))
    R_world = pose.world()[0][0]
    parent = pose.parents[index]
    R_world_parent = R_world[parent] if parent >= 0 else torch.eye(3).to(turn)
    R = pose.R_parent_joint.clone()
    R[0, index] = R_world_parent.mT @ turn @ R_world[index]
    return replace(pose, R_parent_joint=R)


def _bone(pose: SkeletonMotion, start: str, end: str) -> Float[Tensor, "3"]:
    p = pose.world()[1][0]
    return p[pose.joint_names.index(end)] - p[pose.joint_names.index(start)]


def _to_left(pose: SkeletonMotion, rig: RigNaming, part: str) -> Float[Tensor, "3"]:
    left, right = rig.limbs[part]
    return _bone(pose, right, left)


def _middle(pose: SkeletonMotion, rig: RigNaming, part: str) -> Float[Tensor, "3"]:
    p = pose.world()[1][0]
    return p[[pose.joint_names.index(name) for name in rig.limbs[part]]].mean(0)


def _standing_pitch(motion: SkeletonMotion, ankle: str, foot: str) -> Float[Tensor, ""]:
    """Compute the elevation (radians) of a foot while it stands."""
    p = motion.world()[1]
    ends = [motion.joint_names.index(name) for name in (ankle, foot)]
    line = torch.nn.functional.normalize(p[:, ends[1]] - p[:, ends[0]], dim=-1)[:, 1]
    height = p[:, ends[0], 1]
    standing = height <= torch.quantile(height, _STANCE_FRACTION)
    return line[standing].median().asin()
