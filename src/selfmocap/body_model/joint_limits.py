"""Anatomical limits of joint rotations.

A joint's rotation is written as three coordinates: a rotation about its bone (the twist), followed by a rotation about
an axis across the bone (the swing, a rotation vector with two coordinates); each coordinate belongs to the axis of its
rotation. All axes are those of the body in its rest pose, a T with the palms down: x to the person's left, y up, z
forward.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT_NAMES, mirrored_name
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import interpolate

AngleRange = tuple[int, int]
"""Lowest and highest angle, whole degrees."""

LIMITS_DEG: dict[str, tuple[AngleRange, AngleRange, AngleRange]] = {
    "left_hip": ((-130, 30), (-50, 55), (-35, 80)),
    "spine1": ((-30, 80), (-25, 25), (-30, 30)),
    "left_knee": ((-8, 155), (-30, 30), (-10, 10)),
    "spine2": ((-25, 35), (-30, 30), (-25, 25)),
    "left_ankle": ((-45, 55), (-40, 40), (-35, 35)),
    "spine3": ((-35, 30), (-20, 20), (-30, 30)),
    "left_foot": ((-65, 60), (-10, 10), (-10, 10)),
    "neck": ((-40, 45), (-60, 60), (-45, 45)),
    "left_collar": ((-20, 20), (-30, 30), (-20, 45)),
    "head": ((-50, 45), (-60, 60), (-45, 45)),
    "left_shoulder": ((-110, 120), (-130, 75), (-110, 90)),
    "left_elbow": ((-90, 90), (-150, 10), (-15, 105)),
    "left_wrist": ((-65, 65), (-50, 45), (-75, 75)),
    "left_hand": ((-20, 20), (-20, 20), (-20, 20)),
}
"""Ranges about x, y and z by joint, degrees; right joints are mirrored. From the norms of the American Academy
of Orthopaedic Surgeons (hip flexion 120 and abduction 45, knee 135, ankle 50 down and 20 up, neck and head together 45
each way and 60 to 80 about the vertical, shoulder 180, elbow 150, wrist 80 and 70), widened to cover dancers, climbers
and jumpers in the CMU recordings (99.9 % of frames). Many rigs put the 80 to 100 degrees of the back into one joint."""

MAX_EXCESS_DEG = 20.0
"""A joint this far beyond its limits is an error of the recording: heads and feet turned back to front."""
EXCESS_MARGIN_FRAMES = 2
"""Frames before and after such an error that are replaced with it."""
_TWIST_ABOUT_X = ("collar", "shoulder", "elbow", "wrist", "hand")


def coordinate_limits() -> tuple[Float[Tensor, "24 3"], Float[Tensor, "24 3"]]:
    """Return the lowest and highest coordinates, radians. The root has no limits."""
    low, high = torch.tensor([_range_deg(name) for name in JOINT_NAMES]).deg2rad().unbind(-1)
    return low, high


def _range_deg(name: str) -> list[tuple[float, float]]:
    if name in LIMITS_DEG:
        return [(float(low), float(high)) for low, high in LIMITS_DEG[name]]
    if mirrored_name(name) not in LIMITS_DEG:
        return [(-math.inf, math.inf)] * 3
    x, *across = _range_deg(mirrored_name(name))
    return [x, *((-high, -low) for low, high in across)]


def bone_axes() -> Float[Tensor, "24 3"]:
    """Return the direction of each joint's bone at rest, up to sign: arms along x, other bones along y."""
    about_x = [any(part in name for part in _TWIST_ABOUT_X) for name in JOINT_NAMES]
    return torch.eye(3)[[0 if x else 1 for x in about_x]]


def to_coordinates(R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3"]:
    """Compute the three coordinates of each joint's rotation, radians."""
    axis = bone_axes().to(R_parent_joint)
    quaternion = roma.rotmat_to_unitquat(R_parent_joint)
    twist = 2 * torch.atan2((quaternion[..., :3] * axis).sum(-1), quaternion[..., 3])
    twist = (torch.remainder(twist + math.pi, 2 * math.pi) - math.pi)[..., None] * axis
    return roma.rotmat_to_rotvec(R_parent_joint @ roma.rotvec_to_rotmat(-twist)) + twist


def from_coordinates(coordinates: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """Compute `R_parent_joint` from the three coordinates of each joint, radians."""
    twist = coordinates * bone_axes().to(coordinates)
    return roma.rotvec_to_rotmat(coordinates - twist) @ roma.rotvec_to_rotmat(twist)


def excess_angle(R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24"]:
    """Compute the excess of each joint beyond its limits, radians; 0 within them."""
    low, high = (bound.to(R_parent_joint) for bound in coordinate_limits())
    coordinates = to_coordinates(R_parent_joint)
    return torch.maximum(low - coordinates, coordinates - high).clamp_min(0).amax(-1)


def clamp_to_limits(R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """Clamp rotations to the limits, in coordinates; rotations within the limits stay bit for bit."""
    low, high = (bound.to(R_parent_joint) for bound in coordinate_limits())
    clamped = from_coordinates(torch.minimum(torch.maximum(to_coordinates(R_parent_joint), low), high))
    return torch.where((excess_angle(R_parent_joint) > 0)[..., None, None], clamped, R_parent_joint)


def repair_rotations(R_parent_joint: Float[Tensor, "time 24 3 3"]) -> Float[Tensor, "time 24 3 3"]:
    """Replace rotations more than MAX_EXCESS_DEG beyond the limits of their joint.

    They are interpolated at constant speed between the nearest valid rotations of the joint before and after. A joint
    without any valid rotation is set to the rest pose."""
    excessive = excess_angle(R_parent_joint) > math.radians(MAX_EXCESS_DEG)
    if not excessive.any():
        return R_parent_joint
    excessive = _widened(excessive, EXCESS_MARGIN_FRAMES)
    R = R_parent_joint.clone()
    for joint in torch.nonzero(excessive.any(0)).flatten().tolist():
        valid, invalid = (
            torch.nonzero(flags).flatten() for flags in (~excessive[:, joint], excessive[:, joint])
        )
        if len(valid) == 0:
            R[:, joint] = torch.eye(3).to(R)
            continue
        position = torch.searchsorted(valid, invalid)
        before, after = valid[(position - 1).clamp_min(0)], valid[position.clamp_max(len(valid) - 1)]
        fraction = ((invalid - before) / (after - before).clamp_min(1)).clamp(0, 1)
        R[invalid, joint] = interpolate(
            R_parent_joint[before, joint], R_parent_joint[after, joint], fraction.to(R)
        )
    return R


def _widened(flags: Bool[Tensor, "time joints"], frames: int) -> Bool[Tensor, "time joints"]:
    window = 2 * frames + 1
    return torch.nn.functional.max_pool1d(flags.T.float(), window, stride=1, padding=frames).T > 0
