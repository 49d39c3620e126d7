"""Motion beyond the recordings: their mirror images, their upper and lower bodies mixed, their time warped, and poses
drawn within joint limits. What is made keeps the limits of a person's joints and a bound on how deep limbs are in each
other."""

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
from selfmocap.body_model.joint_limits import from_coordinates, clamp_to_limits, coordinate_limits, to_coordinates
from selfmocap.body_model.skeleton import JOINT, JOINT_MIRROR, JOINT_NAMES, mirrored_name
from selfmocap.datasets.motions_folder import MotionClip
from selfmocap.datasets.retargeting.ground import lowest_height
from selfmocap.geometry.rotations import interpolate_frames
from selfmocap.synthetic.penetration import Capsules, capsules, depth
from selfmocap.synthetic.pose_kinds import POSE_KINDS, RELAXED, PoseKind

UPPER_BODY = tuple(
    name
    for name in JOINT_NAMES
    if name in ("spine2", "spine3", "neck", "head")
    or name.split("_")[-1] in ("collar", "shoulder", "elbow", "wrist", "hand")
)
"""What `mixed` takes from another recording."""

_MIRROR = torch.tensor([-1.0, 1.0, 1.0])
_NEUTRAL_DEG = {"left_shoulder": (0.0, 0.0, -40.0), "left_hip": (0.0, 0.0, 6.0)}
"""The pose towards which limbs give way: arms and legs apart, everything else at rest."""
_LEG = ("hip", "knee", "ankle", "foot")
_SHARES = 9
_YIELD_FRAMES = 5


@dataclass(frozen=True)
class PoseConfig:
    """How recordings are widened. A clip is drawn by its kind's share."""

    procedural: float = 0.25
    mixed: float = 0.45
    """Else a recording, warped and mirrored."""
    slowest: float = 0.6
    fastest: float = 1.7
    """Bounds on how much time is warped."""
    greatest_penetration: float = 0.03
    """Metres, between capsules that lie inside the skin."""
    seconds_a_pose: tuple[float, float] = (0.6, 2.2)
    """Between two drawn poses."""


def widened(
    clips: Sequence[MotionClip],
    body: Body,
    count: int,
    seed: int,
    seconds: float = 6.0,
    fps: float = 30.0,
    config: PoseConfig | None = None,
) -> list[MotionClip]:
    """`count` motions of `seconds` that are not in the recordings `clips` (all of that rate; without any, all are
    procedural), the same for the same seed. A ValueError for recordings of another rate."""
    config = config or PoseConfig()
    if wrong := [clip.name for clip in clips if clip.fps != fps]:
        raise ValueError(
            f"{wrong[0]}: {fps} frames a second expected of every recording; load_motions resamples"
        )
    frames = round(seconds * fps)
    return [
        _widened(clips, body, frames, fps, np.random.default_rng([seed, number]), config, number)
        for number in range(count)
    ]


def _widened(
    clips: Sequence[MotionClip],
    body: Body,
    frames: int,
    fps: float,
    rng: np.random.Generator,
    config: PoseConfig,
    number: int,
) -> MotionClip:
    kind = rng.random()
    if not clips or kind < config.procedural:
        pose_kind = POSE_KINDS[rng.integers(len(POSE_KINDS))]
        name, parameters = (
            pose_kind.name,
            procedural(pose_kind, body, frames, fps, rng, config.seconds_a_pose),
        )
    else:
        first, second = (clips[i] for i in rng.integers(len(clips), size=2))
        parameters = time_warped(first.parameters, frames, rng, config.slowest, config.fastest)
        name = first.name
        if kind < config.procedural + config.mixed:
            other = time_warped(second.parameters, frames, rng, config.slowest, config.fastest)
            name, parameters = f"{second.name} on {first.name}", mixed(other, parameters)
    if rng.random() < 0.5:
        name, parameters = f"{name} mirrored", mirrored(parameters)
    parameters = apart(
        replace(parameters, R_parent_joint=clamp_to_limits(parameters.R_parent_joint)),
        body,
        config.greatest_penetration,
    )
    return MotionClip(f"widened-{number} {name}", f"widened-{number}", fps, parameters)


# ---- recordings ------------------------------------------------------------------------------------------------


def mirrored(parameters: BodyParameters) -> BodyParameters:
    """The motion in a mirror at x = 0: the left hand does what the right hand did."""
    place = parameters.p_world_root * _MIRROR.to(parameters.p_world_root)
    return replace(
        parameters, R_parent_joint=mirrored_rotations(parameters.R_parent_joint), p_world_root=place
    )


def mirrored_rotations(R_parent_joint: Float[Tensor, "*batch 24 3 3"]) -> Float[Tensor, "*batch 24 3 3"]:
    """`R_parent_joint` in a mirror at x = 0."""
    mirror = _MIRROR.to(R_parent_joint)
    return R_parent_joint[..., JOINT_MIRROR, :, :] * mirror[:, None] * mirror


def mixed(upper: BodyParameters, lower: BodyParameters) -> BodyParameters:
    """The upper body of one motion on the lower body, and on the path, of another of the same length."""
    R = lower.R_parent_joint.clone()
    joints = [JOINT[name] for name in UPPER_BODY]
    R[:, joints] = upper.R_parent_joint[:, joints]
    return replace(lower, R_parent_joint=R)


def time_warped(
    parameters: BodyParameters, frames: int, rng: np.random.Generator, slowest: float, fastest: float
) -> BodyParameters:
    """A piece of `frames` frames whose speed drifts smoothly between two bounds; backwards from where the recording
    ends, as one who turns round, so that a short one suffices."""
    length = len(parameters.p_world_root)
    middle, reach = math.log(slowest * fastest) / 2, math.log(fastest / slowest) / 2
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


# ---- drawn poses -----------------------------------------------------------------------------------------------


def procedural(
    kind: PoseKind,
    body: Body,
    frames: int,
    fps: float,
    rng: np.random.Generator,
    seconds_a_pose: tuple[float, float],
) -> BodyParameters:
    """A mean body that moves smoothly between poses drawn from a kind's ranges, its lowest point on the ground in
    every frame. Ranges are boxes in the joints' coordinates, within the limits, so all between them is as well."""
    keys = 2 + math.ceil(frames / (seconds_a_pose[0] * fps))
    low, high = _ranges(kind)
    # Nearby poses: each coordinate walks in its range instead of being drawn afresh.
    drawn = gaussian_filter1d(rng.uniform(size=(keys, *low.shape)), 0.5, axis=0, mode="reflect")
    drawn = np.clip(0.5 + 1.25 * (drawn - 0.5), 0, 1)
    drawn = _alike(drawn, kind.legs_alike)
    times = np.cumsum(rng.uniform(*seconds_a_pose, size=keys)) * fps
    share = _eased(times - times[0], frames)
    coordinates = torch.from_numpy(np.tensordot(share, low + (high - low) * drawn, axes=1)).float()
    if not kind.supports:
        _lay_feet_flat(coordinates)
    R = from_coordinates(coordinates[:, :-1])
    yaw = rng.uniform(-math.pi, math.pi) + np.cumsum(gaussian_filter1d(rng.normal(0, 0.02, frames), 10))
    pelvis = torch.stack([coordinates[:, -1, 0], torch.from_numpy(yaw).float(), coordinates[:, -1, 2]], dim=1)
    R[:, JOINT["pelvis"]] = roma.euler_to_rotmat("YXZ", pelvis[:, [1, 0, 2]])
    return _placed(
        _settled(BodyParameters(torch.zeros(10), R, torch.zeros(frames, 3)), body, kind), body, kind
    )


def _ranges(kind: PoseKind) -> tuple[Float[np.ndarray, "25 3"], Float[np.ndarray, "25 3"]]:
    """The least and greatest coordinates of the joints, and last the pelvis' pitch and roll; radians."""
    ranges = RELAXED | kind.joints
    rows = []
    for name in JOINT_NAMES:
        x, y, z = ranges.get(name) or ranges.get(mirrored_name(name)) or ((0, 0), (0, 0), (0, 0))
        rows.append((x, y, z) if name in ranges else (x, (-y[1], -y[0]), (-z[1], -z[0])))
    low, high = np.radians([*rows, (kind.pitch, (0, 0), kind.roll)]).transpose(2, 0, 1)
    least, greatest = (bound.numpy() for bound in coordinate_limits())
    low[:-1], high[:-1] = np.maximum(low[:-1], least), np.minimum(high[:-1], greatest)
    return low, high


def _alike(drawn: Float[np.ndarray, "keys 25 3"], share: float) -> Float[np.ndarray, "keys 25 3"]:
    """Draws (in [0, 1]) in which the right leg follows the left one's mirror image."""
    drawn = drawn.copy()
    for part in _LEG:
        left, right = drawn[:, JOINT[f"left_{part}"]], drawn[:, JOINT[f"right_{part}"]]
        right[:] = share * np.where([True, False, False], left, 1 - left) + (1 - share) * right
    return drawn


def _lay_feet_flat(coordinates: Float[Tensor, "time 25 3"]) -> None:
    """Turns each ankle about x so that what pelvis, hip and knee turn is undone, as far as an ankle can."""
    low, high = coordinate_limits()
    for side in ("left", "right"):
        hip, knee, ankle = (JOINT[f"{side}_{part}"] for part in ("hip", "knee", "ankle"))
        turned = coordinates[:, -1, 0] + coordinates[:, hip, 0] + coordinates[:, knee, 0]
        coordinates[:, ankle, 0] = (-turned).clamp(low[ankle, 0], high[ankle, 0])


def _settled(parameters: BodyParameters, body: Body, kind: PoseKind) -> BodyParameters:
    """The pelvis leaned by the smallest turn that puts a kind's supports on one level."""
    if not kind.supports:
        return parameters
    points = _joints(parameters, body)[1][:, [JOINT[name] for name in kind.supports]]
    points = points - points.mean(1, keepdim=True)
    normal = torch.linalg.svd(points).Vh[:, 2]
    normal = normal * torch.where(normal[:, 1:2] < 0, -1.0, 1.0)
    axis = torch.linalg.cross(normal, torch.tensor([0.0, 1.0, 0.0]).expand_as(normal))
    angle = torch.atan2(axis.norm(dim=1, keepdim=True), normal[:, 1:2])
    turn = roma.rotvec_to_rotmat(torch.nn.functional.normalize(axis, dim=1) * angle)
    R = parameters.R_parent_joint.clone()
    R[:, JOINT["pelvis"]] = turn @ R[:, JOINT["pelvis"]]
    return replace(parameters, R_parent_joint=R)


def _eased(times: Float[np.ndarray, " keys"], frames: int) -> Float[np.ndarray, "frames keys"]:
    """The weights of key poses in each frame: one poses, or two, between which it passes without a jerk."""
    moment = np.arange(frames)
    before = np.clip(np.searchsorted(times, moment, side="right") - 1, 0, len(times) - 2)
    share = np.clip((moment - times[before]) / (times[before + 1] - times[before]), 0, 1)
    share = share**3 * (10 - 15 * share + 6 * share**2)
    weights = np.zeros((frames, len(times)))
    weights[moment, before], weights[moment, before + 1] = 1 - share, share
    return weights


def _placed(parameters: BodyParameters, body: Body, kind: PoseKind) -> BodyParameters:
    """On the ground in every frame, and in one place."""
    joints = _joints(parameters, body)[1]
    ankles = (joints[:, JOINT["left_ankle"]] + joints[:, JOINT["right_ankle"]]) / 2
    anchor = joints[:, JOINT["pelvis"]] if kind.anchored_by_pelvis else ankles
    place = -anchor
    place[:, 1] = -lowest_height(body, parameters)
    return replace(parameters, p_world_root=place)


# ---- limbs apart -----------------------------------------------------------------------------------------------


def apart(parameters: BodyParameters, body: Body, greatest: float) -> BodyParameters:
    """The motion with limbs that would be deeper than `greatest` metres in each other moved towards a pose in which
    they are apart, no farther than needed and without jerks; its feet are put back on the ground."""
    shape = capsules(body, parameters.betas)
    coordinates = to_coordinates(parameters.R_parent_joint)
    least = _least_yield(parameters, coordinates, body, shape, greatest)
    if not least.any():
        return parameters
    window = 2 * _YIELD_FRAMES + 1
    smooth = gaussian_filter1d(maximum_filter1d(least, window), _YIELD_FRAMES / 2, truncate=2.0)
    for share in (smooth, np.full_like(least, least.max()), np.ones_like(least)):
        moved = _yielding(parameters, coordinates, torch.from_numpy(share))
        if _depth(moved, body, shape).max() <= greatest:
            break
    before = lowest_height(body, parameters)
    rise = before - lowest_height(body, moved)
    up = torch.tensor([0.0, 1.0, 0.0]).to(moved.p_world_root)
    return replace(moved, p_world_root=moved.p_world_root + rise[:, None] * up)


def _least_yield(
    parameters: BodyParameters,
    coordinates: Float[Tensor, "time 24 3"],
    body: Body,
    shape: Capsules,
    greatest: float,
) -> Float[np.ndarray, " time"]:
    """For each frame the least share of the way to the neutral pose at which no limbs are too deep."""
    least = np.zeros(len(coordinates))
    waiting = np.arange(len(coordinates))
    for share in np.linspace(0, 1, _SHARES):
        tried = replace(
            parameters,
            R_parent_joint=parameters.R_parent_joint[waiting],
            p_world_root=parameters.p_world_root[waiting],
        )
        moved = _yielding(tried, coordinates[waiting], torch.full((len(waiting),), share))
        least[waiting] = share
        waiting = waiting[_depth(moved, body, shape).numpy() > greatest]
        if len(waiting) == 0:
            break
    return least


def _yielding(
    parameters: BodyParameters, coordinates: Float[Tensor, "time 24 3"], share: Float[Tensor, " time"]
) -> BodyParameters:
    neutral = torch.zeros(len(JOINT_NAMES), 3)
    for name, angles_deg in _NEUTRAL_DEG.items():
        x, y, z = torch.tensor(angles_deg).deg2rad()
        neutral[JOINT[name]] = torch.stack([x, y, z])
        neutral[JOINT[mirrored_name(name)]] = torch.stack([x, -y, -z])
    moved = from_coordinates(
        torch.lerp(coordinates, neutral.to(coordinates), share[:, None, None].to(coordinates))
    )
    moved[:, JOINT["pelvis"]] = parameters.R_parent_joint[:, JOINT["pelvis"]]
    still = (share == 0)[:, None, None, None]
    return replace(parameters, R_parent_joint=torch.where(still, parameters.R_parent_joint, moved))


def _joints(
    parameters: BodyParameters, body: Body
) -> tuple[Float[Tensor, "time 24 3 3"], Float[Tensor, "time 24 3"]]:
    rest = body.shape(parameters.betas).joints
    return forward_kinematics(parameters.R_parent_joint, rest, parameters.p_world_root)


def _depth(parameters: BodyParameters, body: Body, shape: Capsules) -> Float[Tensor, " time"]:
    return depth(shape, *_joints(parameters, body))
