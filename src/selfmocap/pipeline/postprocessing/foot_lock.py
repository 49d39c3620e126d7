"""Foot locking: keep the points of a foot fixed while they are in contact, and the person where they are in the image.

Gauss-Newton on one correction of the whole clip: the root's position, and the rotations of hips, knees and ankles. Its
residuals, each divided by its standard deviation, are
- the step of a point in contact from one frame to the next, and its height above the ground;
- the displacement of the body across the rays from the camera (along the rays, the image hardly changes);
- the correction itself, its acceleration, and the angle of a knee beyond its limit.
A knee that is nearly straight hardly lengthens its leg. There the hips give way, as the smaller correction.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from scipy.linalg import solveh_banded
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.joint_limits import coordinate_limits, to_coordinates
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.tensors import true_runs
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.pipeline.postprocessing.legs import LEGS
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world, with_parameters

ACROSS_NOISE = 0.005
"""Metres of a joint across its ray."""
_SLIDE_NOISE = 0.006
"""m/s of a point in contact."""
_STILL_SPEED = 0.22
"""m/s across the ray at which a point in contact counts a third, since it is about to stop or to leave."""
_HEIGHT_NOISE = 0.01
"""Metres of a point in contact above the ground."""
_ROOT_NOISE, _ANGLE_NOISE = 0.3, 0.05
"""Metres and radians of the correction."""
_ROOT_ACCELERATION, _ANGLE_ACCELERATION = 1.0, 15.0
"""m/s^2 and rad/s^2 of the correction."""
_LIMIT_NOISE = 0.01
"""Radians of a knee beyond its limit."""
_MOVED_SCALE = 0.03
"""Metres. A contact whose point has to move so far across its ray counts half: the image shows that it is none."""
_MAX_GROUND_DISTANCE = 0.08
"""Metres, or this fraction of the camera's height above the point. A contact within it is moved to the ground; others
keep their own height."""
_ITERATIONS = 4
_WINDOW, _OVERLAP = 512, 32
"""Frames that are solved together, and those over which one window is blended into the next."""

_HELD_JOINTS = [JOINT[n] for n in ("head", "left_shoulder", "right_shoulder", "pelvis")] + [
    joint for leg in LEGS for joint in (leg.knee, leg.ankle)
]
_FIRST_FOOT = len(_HELD_JOINTS)
_ROOT = slice(0, 3)
_HIPS, _KNEES, _ANKLES = (
    (slice(3, 6), slice(10, 13)),
    (slice(6, 7), slice(13, 14)),
    (slice(7, 10), slice(14, 17)),
)
_COLUMNS = 17
"""Columns of a frame's correction: the root's position, then for each leg the rotations of the hip, the knee (about its
hinge alone) and the ankle, as rotation vectors in the joint's own axes."""
_SECOND_DIFFERENCE = (1.0, -2.0, 1.0)


def lock_feet(
    motion: Motion,
    body: Body,
    contacts: Bool[Tensor, "time 4"],
    heights: Float[Tensor, "4"],
    across_noise: float = ACROSS_NOISE,
) -> Motion:
    """Fix the position of each foot point throughout its contact.

    The world's y is up, and the ground is y = 0. `heights` are the `rest_heights` of foot_contact. With a smaller
    `across_noise` (metres), the person moves less in the image, and feet slide more."""
    on_ground = _contacts_on_ground(motion, contacts, heights)
    correction = np.zeros((len(motion), _COLUMNS))
    for run in consecutive_slices(motion):
        for start in range(run.start, run.stop, _WINDOW):
            rows = slice(start, min(start + _WINDOW + _OVERLAP, run.stop))
            solved = _solve(motion[rows], body, contacts[rows], on_ground[rows], heights, across_noise)
            overlap = min(_OVERLAP, len(solved)) if start > run.start else 0
            fade = (np.arange(1, overlap + 1) / (overlap + 1))[:, None]
            solved[:overlap] = (1 - fade) * correction[rows][:overlap] + fade * solved[:overlap]
            correction[rows] = solved
    return _corrected(motion, body, correction)


def _contacts_on_ground(
    motion: Motion, contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> Bool[Tensor, "time 4"]:
    """Select the contacts with the ground, not with a table or a stair."""
    y = keypoints_world(motion, FOOT_POINTS)[..., 1]
    drop = motion.camera.p_world_cam[..., 1:2] - y
    on_ground = torch.zeros_like(contacts)
    for point in range(contacts.shape[1]):
        for start, end in true_runs(contacts[:, point]):
            above = float(y[start:end, point].mean() - heights[point])
            tolerance = _MAX_GROUND_DISTANCE * max(1.0, float(drop[start:end, point].mean()))
            on_ground[start:end, point] = abs(above) < tolerance
    return on_ground


def _solve(
    motion: Motion,
    body: Body,
    contacts: Bool[Tensor, "time 4"],
    on_ground: Bool[Tensor, "time 4"],
    heights: Float[Tensor, "4"],
    across_noise: float,
) -> Float64[np.ndarray, "time 17"]:
    """Compute the correction of successive frames."""
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    rest_joints = body.to(torch.float64).shape(motion.parameters.betas.double()).joints
    first_points, _ = _points_and_jacobian(motion, rest_joints)
    rays = torch.nn.functional.normalize(
        first_points - motion.camera.p_world_cam.double()[..., None, :], dim=-1
    )
    across = torch.eye(3).double() - rays[..., :, None] * rays[..., None, :]
    seen = (motion.confidence.double() * ~motion.filled).sqrt() / across_noise
    speed_across = (across[:-1] @ first_points.diff(dim=0)[..., None])[:, _FIRST_FOOT:, :, 0].norm(
        dim=-1
    ) * fps
    still = (-(speed_across / _STILL_SPEED).square()).exp()
    knee_bounds = _knee_bounds(motion)
    x = np.zeros((len(motion), _COLUMNS))
    for _ in range(_ITERATIONS):
        points, jacobian = _points_and_jacobian(_corrected(motion, body, x), rest_joints)
        moved = (across @ (points - first_points)[..., None])[..., 0]
        trust = 1 / (1 + (moved[:, _FIRST_FOOT:].norm(dim=-1) / _MOVED_SCALE).square())
        feet, feet_jacobian = points[:, _FIRST_FOOT:], jacobian[:, _FIRST_FOOT:]
        weight = on_ground * trust / _HEIGHT_NOISE
        rows = [seen[:, None, None] * moved, (weight * (feet[..., 1] - heights))[..., None]]
        row_jacobians = [
            seen[:, None, None, None] * (across @ jacobian),
            (weight[..., None] * feet_jacobian[..., 1, :])[..., None, :],
        ]
        residual = torch.cat([row.flatten(1) for row in rows], 1).numpy()
        J = torch.cat([row.flatten(1, 2) for row in row_jacobians], 1).numpy()
        H, gradient = np.einsum("trc,trd->tcd", J, J), np.einsum("trc,tr->tc", J, residual)
        _add_prior(H, gradient, x, knee_bounds)
        both = (
            (contacts[1:] & contacts[:-1])
            * still
            * torch.minimum(trust[1:], trust[:-1])
            * (fps / _SLIDE_NOISE)
        )
        x = x - _newton_step(H, gradient, feet.numpy(), feet_jacobian.numpy(), both.numpy(), x, fps)
    return x


def _points_and_jacobian(
    motion: Motion, rest_joints: Float64[Tensor, "24 3"]
) -> tuple[Float64[Tensor, "time points 3"], Float64[Tensor, "time points 3 17"]]:
    """Compute the held joints and the foot points in the world, and their derivatives by the correction."""
    R, p = motion.parameters.R_parent_joint.double(), motion.parameters.p_world_root.double()
    R_world, joints = forward_kinematics(R, rest_joints, p)
    points = torch.cat([joints[:, _HELD_JOINTS], keypoints_world(motion, FOOT_POINTS).double()], dim=1)
    jacobian = torch.zeros(*points.shape, _COLUMNS, dtype=torch.float64)
    jacobian[..., _ROOT] = torch.eye(3).double()
    for side, leg in enumerate(LEGS):
        knee, ankle = _HELD_JOINTS.index(leg.knee), _HELD_JOINTS.index(leg.ankle)
        feet = [_FIRST_FOOT + 2 * side, _FIRST_FOOT + 2 * side + 1]
        for joint, columns, moved in (
            (leg.hip, _HIPS[side], [knee, ankle, *feet]),
            (leg.knee, _KNEES[side], [ankle, *feet]),
            (leg.ankle, _ANKLES[side], feet),
        ):
            axes = R_world[:, joint, :, : columns.stop - columns.start].mT[:, None]
            arms = (points[:, moved] - joints[:, None, joint])[:, :, None]
            jacobian[:, moved, :, columns] = torch.linalg.cross(*torch.broadcast_tensors(axes, arms)).mT
    return points, jacobian


def _knee_bounds(motion: Motion) -> Float64[np.ndarray, "time side"]:
    """Compute the lowest correction of each knee: to its limit, or 0 for a knee that is already beyond it."""
    knees = [leg.knee for leg in LEGS]
    angles = to_coordinates(motion.parameters.R_parent_joint.double())[:, knees, 0]
    return (coordinate_limits()[0][knees, 0] - angles).clamp(max=0).numpy()


def _add_prior(
    H: Float64[np.ndarray, "time 17 17"],
    gradient: Float64[np.ndarray, "time 17"],
    x: Float64[np.ndarray, "time 17"],
    knee_bounds: Float64[np.ndarray, "time side"],
) -> None:
    """Add the terms of the size of the correction and of the knees' limits."""
    precision = _by_column(_ROOT_NOISE, _ANGLE_NOISE) ** -2
    H[:, range(_COLUMNS), range(_COLUMNS)] += precision
    gradient += precision * x
    for side, knee in enumerate(_KNEES):
        beyond = np.minimum(x[:, knee.start] - knee_bounds[:, side], 0) / _LIMIT_NOISE**2
        gradient[:, knee.start] += beyond
        H[:, knee.start, knee.start] += (beyond < 0) / _LIMIT_NOISE**2


def _by_column(root: float, angle: float) -> Float64[np.ndarray, "17"]:
    return np.array([root] * 3 + [angle] * (_COLUMNS - 3))


def _newton_step(
    H: Float64[np.ndarray, "time 17 17"],
    gradient: Float64[np.ndarray, "time 17"],
    feet: Float64[np.ndarray, "time 4 3"],
    jacobian: Float64[np.ndarray, "time 4 3 17"],
    weights: Float64[np.ndarray, "steps 4"],
    x: Float64[np.ndarray, "time 17"],
    fps: float,
) -> Float64[np.ndarray, "time 17"]:
    """Add the terms that link frames, the steps of feet in contact and the acceleration of the correction, and solve.

    A frame is linked with the two before it, so that the matrix has a band of twice the frame's columns."""
    time = len(x)
    J0, J1 = (weights[..., None, None] * part for part in (jacobian[:-1], jacobian[1:]))
    steps = weights[..., None] * np.diff(feet, axis=0)
    H[:-1] += np.einsum("tpac,tpad->tcd", J0, J0)
    H[1:] += np.einsum("tpac,tpad->tcd", J1, J1)
    gradient[:-1] -= np.einsum("tpac,tpa->tc", J0, steps)
    gradient[1:] += np.einsum("tpac,tpa->tc", J1, steps)
    next_H = -np.einsum("tpac,tpad->tcd", J1, J0)
    bands = np.zeros((2 * _COLUMNS + 1, time, _COLUMNS))
    for row in range(_COLUMNS):
        for column in range(_COLUMNS):
            if row >= column:
                bands[row - column, :, column] += H[:, row, column]
            bands[_COLUMNS + row - column, :-1, column] += next_H[:, row, column]
    precision = (fps**2 / _by_column(_ROOT_ACCELERATION, _ANGLE_ACCELERATION)) ** 2
    acceleration = np.diff(x, n=2, axis=0)
    for a, factor in enumerate(_SECOND_DIFFERENCE):
        rows = slice(a, a + len(acceleration))
        gradient[rows] += factor * precision * acceleration
        for b, other in enumerate(_SECOND_DIFFERENCE[a:]):
            bands[b * _COLUMNS, rows] += factor * other * precision
    band = min(2 * _COLUMNS, time * _COLUMNS - 1)
    solved = solveh_banded(bands[: band + 1].reshape(band + 1, -1), gradient.ravel(), lower=True)
    return solved.reshape(time, _COLUMNS)


def _corrected(motion: Motion, body: Body, correction: Float64[np.ndarray, "time 17"]) -> Motion:
    x = torch.from_numpy(correction)
    R, p = motion.parameters.R_parent_joint.double().clone(), motion.parameters.p_world_root + x[:, _ROOT]
    for side, leg in enumerate(LEGS):
        for joint, columns in ((leg.hip, _HIPS), (leg.knee, _KNEES), (leg.ankle, _ANKLES)):
            angles = x[:, columns[side]]
            rotvec = torch.nn.functional.pad(angles, (0, 3 - angles.shape[1]))
            R[:, joint] = R[:, joint] @ roma.rotvec_to_rotmat(rotvec)
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p))
