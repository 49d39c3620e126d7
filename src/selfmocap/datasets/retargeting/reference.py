"""Find the reference pose of a recorded skeleton: a pose like the body's rest pose, where retargeting aligns both."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.retargeting.rig_structure import identify_rig
from selfmocap.datasets.retargeting.rigs import LIMB_POINTS, RigNaming
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion, angle_deg

SIDES = ("left", "right")
MAX_REFERENCE_DEG = 12.0
"""Mean deviation of a reference pose: knees and elbows are straight, legs and arms in the body's plane (arms anywhere
from level to hanging), the back upright."""
MAX_FIRST_FRAME_DEG = 6.0
"""Mean deviation of a first frame that is meant as a reference pose. That of a walk may be 9 degrees, with an ankle off
by 40."""
FIRST_FRAME_JUMP_DEG = 8.0
"""A first frame that is a reference pose, and farther than this from the second, was added by the exporter."""
BLEND_FACTOR = 4.0
"""A blend that follows such a frame, and turns this many times faster than the median of the following second, was
added too."""
MAX_FRAME_DIFFERENCE_DEG = 5.0
"""Two skeletons are the same up to lengths if the directions of their limbs in their joints' frames differ by less."""
_COMPARED_PARTS = ("knee", "ankle", "elbow", "wrist")


@dataclass(frozen=True, eq=False)
class ReferencePose:
    """A skeleton in its reference pose, by the parts of a person."""

    R_world_joint: dict[str, Float[Tensor, "3 3"]]
    """By the skeleton's own joint names."""
    points: dict[str, Float[Tensor, "3"]]
    """By the body's joint names, metres, in the world."""
    R_world_person: Float[Tensor, "3 3"]
    """Columns: the person's left, up and forward."""


def reference_pose(motion: SkeletonMotion) -> SkeletonMotion | None:
    """Return one frame of the skeleton near a T pose (or an A pose, or with hanging arms): the skeleton without
    rotations, or its first frame; None if neither is such a pose. Raises ValueError for a skeleton of unknown joints.
    """
    rig = identify_rig(motion)
    still = torch.eye(3, dtype=torch.float64).expand_as(motion.R_parent_joint[:1])
    for R, limit in ((still, MAX_REFERENCE_DEG), (motion.R_parent_joint[:1], MAX_FIRST_FRAME_DEG)):
        pose = replace(motion.frames(slice(1)), R_parent_joint=R)
        if pose_deviation_deg(reference_points(pose, rig)) < limit:
            return pose
    return None


def find_reference(motion: SkeletonMotion, references: list[SkeletonMotion]) -> SkeletonMotion:
    """Return the reference pose of another recording whose limbs point in the same directions in their joints' frames.

    Raises ValueError if there is none."""
    rig = identify_rig(motion)
    names = [name for part in _COMPARED_PARTS for name in rig.limbs[part]]
    for reference in references:
        if identify_rig(reference) == rig:
            directions = (_directions(skeleton, names) for skeleton in (motion, reference))
            if angle_between_deg(*directions).max() < MAX_FRAME_DIFFERENCE_DEG:
                return reference
    raise ValueError(
        f"{motion.name}: neither its unrotated pose nor its first frame is near a T-pose, and no recording of the same "
        "skeleton beside it has one; export it with a T-pose as its first frame, y up"
    )


def _directions(skeleton: SkeletonMotion, names: list[str]) -> Float[Tensor, "names 3"]:
    return skeleton.offsets[[skeleton.joint_names.index(name) for name in names]]


def angle_between_deg(a: Float[Tensor, "*batch 3"], b: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
    """Compute the angle between directions, degrees."""
    return torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1)).rad2deg()


def drop_leading_pose(motion: SkeletonMotion) -> SkeletonMotion:
    """Remove a T pose that an exporter added at the start, and the blend from it to the motion."""
    rig = identify_rig(motion)
    if (
        len(motion) < 3
        or pose_deviation_deg(reference_points(motion.frames(slice(1)), rig)) > MAX_REFERENCE_DEG
    ):
        return motion
    followed = [motion.joint_names.index(name) for name in rig.joints()]
    R = motion.R_parent_joint[: 2 + round(motion.fps), followed]
    turn = angle_deg(R[:-1], R[1:]).amax(1)
    if turn[0] < FIRST_FRAME_JUMP_DEG:
        return motion
    start = 1
    while start < len(turn) - 1 and turn[start] > max(
        FIRST_FRAME_JUMP_DEG, BLEND_FACTOR * turn[start + 1 :].median()
    ):
        start += 1
    return motion.frames(slice(start, None))


def reference_points(reference: SkeletonMotion, rig: RigNaming) -> ReferencePose:
    """Convert the first frame of a skeleton to a reference pose."""
    R_world, p_world = reference.world()
    placed = dict(zip(reference.joint_names, p_world[0], strict=True))
    points = {
        f"{side}_{part}": placed[names[index]]
        for part, names in rig.limbs.items()
        for index, side in enumerate(SIDES)
    }
    return ReferencePose(dict(zip(reference.joint_names, R_world[0], strict=True)), points, _facing(points))


def _facing(points: dict[str, Float[Tensor, "3"]]) -> Float[Tensor, "3 3"]:
    """Compute the person's axes from hips and shoulders, upright in the world."""
    left = points["left_hip"] - points["right_hip"] + points["left_shoulder"] - points["right_shoulder"]
    left = unit_vector(left * torch.tensor([1.0, 0.0, 1.0]))
    up = torch.tensor([0.0, 1.0, 0.0], dtype=left.dtype)
    return torch.stack([left, up, torch.linalg.cross(left, up)], dim=1)


def pose_deviation_deg(seen: ReferencePose) -> float:
    """Compute the mean angle by which limbs are bent or out of the body's plane, or the back is not upright."""
    left, up, forward = seen.R_world_person.unbind(1)
    angles: list[Tensor] = []
    for side, outward in zip(SIDES, (left, -left), strict=True):
        at = {part: seen.points[f"{side}_{part}"] for part in LIMB_POINTS}
        thigh, shin = unit_vector(at["knee"] - at["hip"]), unit_vector(at["ankle"] - at["knee"])
        arm, forearm = unit_vector(at["elbow"] - at["shoulder"]), unit_vector(at["wrist"] - at["elbow"])
        cosines = [thigh @ shin, -thigh @ up, arm @ forearm, unit_vector(at["shoulder"] - at["hip"]) @ up]
        angles += [cosine.clamp(-1, 1).arccos() for cosine in cosines]
        angles += [(arm @ forward).clamp(-1, 1).arcsin().abs(), (arm @ up).clamp(0, 1).arcsin()]
        angles += [(-arm @ outward).clamp(0, 1).arcsin()]
    return float(torch.stack(angles).mean().rad2deg())


def unit_vector(direction: Float[Tensor, "3"]) -> Float[Tensor, "3"]:
    """Normalise a direction."""
    return torch.nn.functional.normalize(direction, dim=0, eps=1e-9)
