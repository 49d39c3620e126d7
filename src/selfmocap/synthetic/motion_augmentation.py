"""Augment recorded motion: mirrored, upper and lower bodies mixed, time warped, and procedural motion within joint
limits. All results keep the joint limits and a bound on the penetration of limbs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d, maximum_filter1d
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.joint_limits import (
    clamp_to_limits,
    coordinate_limits,
    from_coordinates,
    to_coordinates,
)
from selfmocap.body_model.skeleton import JOINT, JOINT_MIRROR, JOINT_NAMES, mirrored_name
from selfmocap.datasets.motions_folder import Recording
from selfmocap.datasets.retargeting.ground import lowest_height
from selfmocap.geometry.rotations import interpolate_frames
from selfmocap.synthetic.penetration import Capsules, body_capsules, penetration_depth
from selfmocap.synthetic.pose_kinds import POSE_KINDS, RELAXED_RANGES, PoseKind

UPPER_BODY = tuple(
    name
    for name in JOINT_NAMES
    if name in ("spine2", "spine3", "neck", "head")
    or name.split("_")[-1] in ("collar", "shoulder", "elbow", "wrist", "hand")
)
"""Joints that `mix_motions` takes from the other recording."""

_MIRROR = torch.tensor([-1.0, 1.0, 1.0])
_NEUTRAL_DEG = {"left_shoulder": (0.0, 0.0, -40.0), "left_hip": (0.0, 0.0, 6.0)}
"""The pose towards which penetrating limbs move: arms and legs apart, everything else at rest."""
_LEG_PARTS = ("hip", "knee", "ankle", "foot")
_NUM_CORRECTIONS = 9
_CORRECTION_FRAMES = 5


@dataclass(frozen=True)
class MotionAugmentation:
    """Configure the augmentation of recordings."""

    procedural_fraction: float = 0.25
    """Fraction of procedural motions."""
    mixed_fraction: float = 0.45
    """Fraction of recordings with the upper body of another one. The other clips are recordings, warped and mirrored.
    """
    min_speed: float = 0.6
    max_speed: float = 1.7
    """Bounds of the speed of warped time."""
    max_penetration: float = 0.03
    """Metres, between capsules that lie inside the skin."""
    seconds_per_pose: tuple[float, float] = (0.6, 2.2)
    """Least and greatest time between two poses of a procedural motion."""


def augment_motions(
    clips: Sequence[Recording],
    body: Body,
    count: int,
    seed: int,
    seconds: float = 6.0,
    fps: float = 30.0,
    config: MotionAugmentation | None = None,
) -> list[Recording]:
    """Make `count` motions of `seconds` from the recordings `clips`, all of rate `fps`; without recordings all are
    procedural. The result depends on the arguments only. Raises ValueError for recordings of another rate."""
    config = config or MotionAugmentation()
    if wrong := [clip.name for clip in clips if clip.fps != fps]:
        raise ValueError(
            f"{wrong[0]}: {fps} frames a second expected of every recording; load_motions resamples"
        )
    frames = round(seconds * fps)
    return [
        _augmented_motion(clips, body, frames, fps, np.random.default_rng([seed, number]), config, number)
        for number in range(count)
    ]


def _augmented_motion(
    clips: Sequence[Recording],
    body: Body,
    frames: int,
    fps: float,
    rng: np.random.Generator,
    config: MotionAugmentation,
    number: int,
) -> Recording:
    kind = rng.random()
    if not clips or kind < config.procedural_fraction:
        pose_kind = POSE_KINDS[rng.integers(len(POSE_KINDS))]
        name, parameters = (
            pose_kind.name,
            sample_procedural_motion(pose_kind, body, frames, fps, rng, config.seconds_per_pose),
        )
    else:
        weights = np.array([clip.weight for clip in clips])
        first, second = (clips[i] for i in rng.choice(len(clips), 2, p=weights / weights.sum()))
        parameters = warp_time(first.parameters, frames, rng, config.min_speed, config.max_speed)
        name = first.name
        if kind < config.procedural_fraction + config.mixed_fraction:
            other = warp_time(second.parameters, frames, rng, config.min_speed, config.max_speed)
            name, parameters = f"{second.name} on {first.name}", mix_motions(other, parameters)
    if rng.random() < 0.5:
        name, parameters = f"{name} mirrored", mirror_motion(parameters)
    parameters = separate_limbs(
        replace(parameters, R_parent_joint=clamp_to_limits(parameters.R_parent_joint)),
        body,
        config.max_penetration,
    )
    return Recording(f"widened-{number} {name}", f"widened-{number}", fps, parameters)


# ---- recordings -----------------------------------------------------------------------------------------------


def mirror_motion(parameters: BodyParameters) -> BodyParameters:
    """Mirror a motion at x = 0; left and right are exchanged."""
    position = parameters.p_world_root * _MIRROR.to(parameters.p_world_root)
    return replace(
        parameters, R_parent_joint=mirror_rotations(parameters.R_parent_joint), p_world_root=position
    )


def mirror_rotations(R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """Mirror `R_parent_joint` at x = 0."""
    mirror = _MIRROR.to(R_parent_joint)
    return R_parent_joint[..., JOINT_MIRROR, :, :] * mirror[:, None] * mirror


def mix_motions(upper: BodyParameters, lower: BodyParameters) -> BodyParameters:
    """Put the upper body of one motion on the lower body and the path of another of the same length."""
    R = lower.R_parent_joint.clone()
    joints = [JOINT[name] for name in UPPER_BODY]
    R[:, joints] = upper.R_parent_joint[:, joints]
    return replace(lower, R_parent_joint=R)


def warp_time(
    parameters: BodyParameters, frames: int, rng: np.random.Generator, min_speed: float, max_speed: float
) -> BodyParameters:
    """Cut a piece of `frames` frames whose speed drifts smoothly between two bounds. At an end of the recording time
    reverses, so that short recordings suffice."""
    length = len(parameters.p_world_root)
    middle, reach = math.log(min_speed * max_speed) / 2, math.log(max_speed / min_speed) / 2
    drift = gaussian_filter1d(rng.standard_normal(frames), 20, mode="wrap")
    speed = np.exp(middle + reach * np.tanh(drift / max(drift.std(), 1e-9)))
    moment = rng.uniform(0, length) + np.concatenate([[0.0], np.cumsum(speed[:-1])])
    span = max(length - 1, 1)
    moment = torch.from_numpy(span - np.abs(moment % (2 * span) - span)).clamp(0, length - 1)
    before = moment.floor().long()
    after = (before + 1).clamp_max(length - 1)
    fraction = (moment - before).to(parameters.p_world_root)
    R, p = interpolate_frames(parameters.R_parent_joint, parameters.p_world_root, before, after, fraction)
    return replace(parameters, R_parent_joint=R, p_world_root=p)


# ---- procedural motion ----------------------------------------------------------------------------------------


def sample_procedural_motion(
    kind: PoseKind,
    body: Body,
    frames: int,
    fps: float,
    rng: np.random.Generator,
    seconds_per_pose: tuple[float, float],
) -> BodyParameters:
    """Draw a motion of the mean body that moves smoothly between poses from a kind's ranges, its lowest point on the
    ground in every frame.

    Ranges are boxes in the joints' coordinates within the limits, so interpolated poses are within the limits too."""
    keys = 2 + math.ceil(frames / (seconds_per_pose[0] * fps))
    low, high = _ranges(kind)
    # Each coordinate walks within its range, so that successive poses are near each other.
    draws = gaussian_filter1d(rng.uniform(size=(keys, *low.shape)), 0.5, axis=0, mode="reflect")
    draws = np.clip(0.5 + 1.25 * (draws - 0.5), 0, 1)
    draws = _mirror_right_leg(draws, kind.leg_symmetry)
    times = np.cumsum(rng.uniform(*seconds_per_pose, size=keys)) * fps
    fraction = _key_pose_weights(times - times[0], frames)
    coordinates = torch.from_numpy(np.tensordot(fraction, low + (high - low) * draws, axes=1)).float()
    if not kind.supports:
        _lay_feet_flat(coordinates)
    R = from_coordinates(coordinates[:, :-1])
    yaw = rng.uniform(-math.pi, math.pi) + np.cumsum(gaussian_filter1d(rng.normal(0, 0.02, frames), 10))
    pelvis = torch.stack([coordinates[:, -1, 0], torch.from_numpy(yaw).float(), coordinates[:, -1, 2]], dim=1)
    R[:, JOINT["pelvis"]] = roma.euler_to_rotmat("YXZ", pelvis[:, [1, 0, 2]])
    return _put_in_place(
        _level_supports(BodyParameters(torch.zeros(10), R, torch.zeros(frames, 3)), body, kind), body, kind
    )


def _ranges(kind: PoseKind) -> tuple[Float[np.ndarray, "25 3"], Float[np.ndarray, "25 3"]]:
    """Return the least and greatest coordinates of the joints, and last the pelvis' pitch and roll; radians."""
    ranges = RELAXED_RANGES | kind.joints
    rows = []
    for name in JOINT_NAMES:
        x, y, z = ranges.get(name) or ranges.get(mirrored_name(name)) or ((0, 0), (0, 0), (0, 0))
        rows.append((x, y, z) if name in ranges else (x, (-y[1], -y[0]), (-z[1], -z[0])))
    low, high = np.radians([*rows, (kind.pitch, (0, 0), kind.roll)]).transpose(2, 0, 1)
    least, greatest = (bound.numpy() for bound in coordinate_limits())
    low[:-1], high[:-1] = np.maximum(low[:-1], least), np.minimum(high[:-1], greatest)
    return low, high


def _mirror_right_leg(
    draws: Float[np.ndarray, "keys 25 3"], fraction: float
) -> Float[np.ndarray, "keys 25 3"]:
    """Blend the right leg's draws (in [0, 1]) with the mirror image of the left leg's."""
    draws = draws.copy()
    for part in _LEG_PARTS:
        left, right = draws[:, JOINT[f"left_{part}"]], draws[:, JOINT[f"right_{part}"]]
        right[:] = fraction * np.where([True, False, False], left, 1 - left) + (1 - fraction) * right
    return draws


def _lay_feet_flat(coordinates: Float[Tensor, "time 25 3"]) -> None:
    """Rotate each ankle about x to undo the rotations of pelvis, hip and knee, within its limits, in place."""
    low, high = coordinate_limits()
    for side in ("left", "right"):
        hip, knee, ankle = (JOINT[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        turned = coordinates[:, -1, 0] + coordinates[:, hip, 0] + coordinates[:, knee, 0]
        coordinates[:, ankle, 0] = (-turned).clamp(low[ankle, 0], high[ankle, 0])


def _level_supports(parameters: BodyParameters, body: Body, kind: PoseKind) -> BodyParameters:
    """Rotate the pelvis by the smallest angle that puts a kind's supports on one level."""
    if not kind.supports:
        return parameters
    points = _joints(parameters, body)[1][:, [JOINT[name] for name in kind.supports]]
    points = points - points.mean(1, keepdim=True)
    normal = torch.linalg.svd(points).Vh[:, 2]
    normal = normal * torch.where(normal[:, 1:2] < 0, -1.0, 1.0)
    axis = torch.linalg.cross(normal, torch.tensor([0.0, 1.0, 0.0]).expand_as(normal))
    angle = torch.atan2(axis.norm(dim=1, keepdim=True), normal[:, 1:2])
    rotation = roma.rotvec_to_rotmat(torch.nn.functional.normalize(axis, dim=1) * angle)
    R = parameters.R_parent_joint.clone()
    R[:, JOINT["pelvis"]] = rotation @ R[:, JOINT["pelvis"]]
    return replace(parameters, R_parent_joint=R)


def _key_pose_weights(times: Float[np.ndarray, " keys"], frames: int) -> Float[np.ndarray, "frames keys"]:
    """Compute the weights of key poses in each frame: at most two are not zero, and they change without a jerk."""
    moment = np.arange(frames)
    before = np.clip(np.searchsorted(times, moment, side="right") - 1, 0, len(times) - 2)
    fraction = np.clip((moment - times[before]) / (times[before + 1] - times[before]), 0, 1)
    fraction = fraction**3 * (10 - 15 * fraction + 6 * fraction**2)
    weights = np.zeros((frames, len(times)))
    weights[moment, before], weights[moment, before + 1] = 1 - fraction, fraction
    return weights


def _put_in_place(parameters: BodyParameters, body: Body, kind: PoseKind) -> BodyParameters:
    """Put the motion on the ground in every frame, with its anchor above the origin."""
    joints = _joints(parameters, body)[1]
    ankles = (joints[:, JOINT["left_ankle"]] + joints[:, JOINT["right_ankle"]]) / 2
    anchor = joints[:, JOINT["pelvis"]] if kind.anchored_by_pelvis else ankles
    position = -anchor
    position[:, 1] = -lowest_height(body, parameters)
    return replace(parameters, p_world_root=position)


# ---- penetration ----------------------------------------------------------------------------------------------


def separate_limbs(parameters: BodyParameters, body: Body, greatest: float) -> BodyParameters:
    """Move limbs that penetrate by more than `greatest` metres towards the neutral pose, as little as possible and
    smoothly. Feet are put back on the ground."""
    shape = body_capsules(body, parameters.betas)
    coordinates = to_coordinates(parameters.R_parent_joint)
    least = _min_correction(parameters, coordinates, body, shape, greatest)
    if not least.any():
        return parameters
    window = 2 * _CORRECTION_FRAMES + 1
    smooth = gaussian_filter1d(maximum_filter1d(least, window), _CORRECTION_FRAMES / 2, truncate=2.0)
    for fraction in (smooth, np.full_like(least, least.max()), np.ones_like(least)):
        moved = _towards_neutral(parameters, coordinates, torch.from_numpy(fraction))
        if _depth(moved, body, shape).max() <= greatest:
            break
    before = lowest_height(body, parameters)
    rise = before - lowest_height(body, moved)
    up = torch.tensor([0.0, 1.0, 0.0]).to(moved.p_world_root)
    return replace(moved, p_world_root=moved.p_world_root + rise[:, None] * up)


def _min_correction(
    parameters: BodyParameters,
    coordinates: Float[Tensor, "time 24 3"],
    body: Body,
    shape: Capsules,
    greatest: float,
) -> Float[np.ndarray, " time"]:
    """Find for each frame the least fraction of the way to the neutral pose at which no limbs penetrate too deep."""
    least = np.zeros(len(coordinates))
    pending = np.arange(len(coordinates))
    for fraction in np.linspace(0, 1, _NUM_CORRECTIONS):
        pieces = replace(
            parameters,
            R_parent_joint=parameters.R_parent_joint[pending],
            p_world_root=parameters.p_world_root[pending],
        )
        moved = _towards_neutral(pieces, coordinates[pending], torch.full((len(pending),), fraction))
        least[pending] = fraction
        pending = pending[_depth(moved, body, shape).numpy() > greatest]
        if len(pending) == 0:
            break
    return least


def _towards_neutral(
    parameters: BodyParameters, coordinates: Float[Tensor, "time 24 3"], fraction: Float[Tensor, " time"]
) -> BodyParameters:
    neutral = torch.zeros(len(JOINT_NAMES), 3)
    for name, angles_deg in _NEUTRAL_DEG.items():
        x, y, z = torch.tensor(angles_deg).deg2rad()
        neutral[JOINT[name]] = torch.stack([x, y, z])
        neutral[JOINT[mirrored_name(name)]] = torch.stack([x, -y, -z])
    moved = from_coordinates(
        torch.lerp(coordinates, neutral.to(coordinates), fraction[:, None, None].to(coordinates))
    )
    moved[:, JOINT["pelvis"]] = parameters.R_parent_joint[:, JOINT["pelvis"]]
    still = (fraction == 0)[:, None, None, None]
    return replace(parameters, R_parent_joint=torch.where(still, parameters.R_parent_joint, moved))


def _joints(
    parameters: BodyParameters, body: Body
) -> tuple[Float[Tensor, "time 24 3 3"], Float[Tensor, "time 24 3"]]:
    rest = body.shape(parameters.betas).joints
    return forward_kinematics(parameters.R_parent_joint, rest, parameters.p_world_root)


def _depth(parameters: BodyParameters, body: Body, shape: Capsules) -> Float[Tensor, " time"]:
    return penetration_depth(shape, *_joints(parameters, body))
