"""Poses by name, to inspect a body: joint rotations as rotation vectors, degrees, in the frame of the parent.

In the rest pose (a T) the axes of every joint are the world's: x to the person's left, y up, z forward. A rotation
about +x moves a thigh back and flexes a knee; a rotation about +z lifts the left arm.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT, mirrored_name
from selfmocap.geometry import lazy_roma as roma

_Angle = float | int
_Pose = dict[str, tuple[_Angle, _Angle, _Angle]]


def _both_sides(left: _Pose) -> _Pose:
    """Add the mirror image to a pose of left joints: rotations about y and z change sign."""
    return left | {mirrored_name(joint): (x, -y, -z) for joint, (x, y, z) in left.items()}


NAMED_POSES: dict[str, _Pose] = {
    "t": {},
    "arms-down": _both_sides({"left_collar": (0, 0, -8), "left_shoulder": (0, 0, -68), "left_elbow": (0, -10, 0)}),
    "arms-up": _both_sides({"left_collar": (0, 0, 20), "left_shoulder": (0, 0, 65)}),
    "squat": {
        "pelvis": (25, 0, 0), "spine1": (10, 0, 0), "spine2": (-5, 0, 0), "head": (-20, 0, 0),
        **_both_sides({
            "left_hip": (-115, -15, 12), "left_knee": (125, 0, 0), "left_ankle": (-35, 0, 0),
            "left_shoulder": (0, -80, -15), "left_elbow": (0, -10, 0),
        }),
    },
    "sit": _both_sides({
        "left_hip": (-88, -5, 5), "left_knee": (88, 0, 0), "left_shoulder": (0, -25, -65), "left_elbow": (0, -60, 0),
    }),
    "run": {
        "pelvis": (12, 0, 0), "spine2": (3, -12, 0), "head": (-10, 6, 0),
        "left_hip": (-65, 0, 0), "left_knee": (75, 0, 0), "left_ankle": (10, 0, 0),
        "right_hip": (18, 0, 0), "right_knee": (55, 0, 0), "right_ankle": (25, 0, 0), "right_foot": (-15, 0, 0),
        "left_shoulder": (45, 0, -65), "left_elbow": (0, -95, 0),
        "right_shoulder": (-35, 0, 65), "right_elbow": (0, 95, 0),
    },
    "kick": {
        "pelvis": (-12, 0, 0), "spine2": (14, -10, 0),
        "right_hip": (-95, 0, 0), "right_knee": (12, 0, 0), "right_ankle": (25, 0, 0),
        "left_hip": (10, 0, 0), "left_knee": (15, 0, 0), "left_ankle": (-12, 0, 0),
        "left_shoulder": (0, -45, -35), "left_elbow": (0, -40, 0), "right_shoulder": (0, -30, 35),
    },
    "bend": {
        "pelvis": (35, 0, 0), "spine1": (25, 0, 0), "spine2": (25, 0, 0), "spine3": (15, 0, 0),
        **_both_sides({"left_hip": (-35, 0, 0), "left_shoulder": (0, -75, -40)}),
    },
    "twist": {
        "spine1": (0, 20, 0), "spine2": (0, 25, 0), "spine3": (0, 15, 0), "neck": (0, 20, 0), "head": (0, 15, 0),
        **_both_sides({"left_shoulder": (0, 0, -25), "left_elbow": (0, -70, 0)}),
    },
    "lunge": {
        "left_hip": (-85, 0, 0), "left_knee": (90, 0, 0), "right_hip": (25, 0, 0), "right_knee": (65, 0, 0),
        "right_foot": (-30, 0, 0), **_both_sides({"left_shoulder": (0, 0, -70)}),
    },
}  # fmt: skip


def named_pose(name: str) -> Float[Tensor, "24 3 3"]:
    """Return `R_parent_joint` of a named pose. Raises ValueError that lists the names for an unknown one."""
    if name not in NAMED_POSES:
        raise ValueError(f"no pose {name!r}; choose from {', '.join(NAMED_POSES)}")
    return pose_from_degrees(NAMED_POSES[name])


def pose_from_degrees(pose: _Pose) -> Float[Tensor, "24 3 3"]:
    """Convert rotation vectors in degrees, by joint name, to `R_parent_joint`. ValueError for an unknown joint."""
    rotvec = torch.zeros(len(JOINT), 3)
    for joint, angles_deg in pose.items():
        if joint not in JOINT:
            raise ValueError(f"no joint {joint!r}; choose from {', '.join(JOINT)}")
        rotvec[JOINT[joint]] = torch.tensor(angles_deg) * (math.pi / 180)
    return roma.rotvec_to_rotmat(rotvec)
