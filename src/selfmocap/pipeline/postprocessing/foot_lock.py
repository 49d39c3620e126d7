"""Foot locking: keep the points of a foot fixed while they are in contact."""

from functools import partial

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.rotations import continuous_quaternions
from selfmocap.geometry.tensors import map_chunked, true_runs
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.pipeline.postprocessing.leg_ik import LEGS, solve_leg, world_rotation
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world, with_parameters
from selfmocap.pipeline.postprocessing.smoothing import whittaker

_CONTACT_WEIGHT = 1e3
"""Weight of a contact, relative to that of not moving the leg."""
_MIN_ROOT_WEIGHT = 1e-2
"""Weight of not moving the root in frames without contacts, relative to a contact."""
_ROOT_CUTOFF_HZ = 2.0
_LEG_CUTOFF_HZ = 4.0
_FLAT_FOOT_CUTOFF_HZ = 0.5
"""Cutoff frequency of the rotation of a foot that is in contact with heel and toe."""
_MAX_GROUND_DISTANCE = 0.08
"""Metres. A contact within this height of the ground is moved to the ground; others keep their own height."""


def lock_feet(
    motion: Motion, body: Body, contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> Motion:
    """Fix the position of each foot point throughout its contact. The root follows the mean correction of both feet,
    smoothed; inverse kinematics of the legs makes the rest.

    The ground is y = 0. `heights` are the `rest_heights` of foot_contact."""
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    corrections, weights = _contact_corrections(keypoints_world(motion, FOOT_POINTS), contacts, heights)
    root = torch.zeros(len(motion), 3, dtype=torch.float64)
    for rows in consecutive_slices(motion):
        mean, any_contact = _mean_correction(corrections[rows], weights[rows])
        root[rows] = torch.from_numpy(whittaker(mean, any_contact + _MIN_ROOT_WEIGHT, _ROOT_CUTOFF_HZ, fps))
    R, p = motion.parameters.R_parent_joint, motion.parameters.p_world_root + root
    rest_joints = body.to(torch.float64).shape(motion.parameters.betas.double()).joints
    for side, leg in enumerate(LEGS):
        points = slice(2 * side, 2 * side + 2)
        R_world_foot = map_chunked(partial(world_rotation, rest_joints, leg.ankle), R, p)
        shift = torch.zeros_like(root)
        for rows in consecutive_slices(motion):
            flat = contacts[rows, points].all(1).numpy()
            R_world_foot[rows] = _smooth_foot_rotation(R_world_foot[rows], flat, fps)
            left_over = corrections[rows, points] - root[rows, None]
            goal, in_contact = _mean_correction(left_over, weights[rows, points])
            smoothed = whittaker(goal, _CONTACT_WEIGHT * in_contact + 1, _LEG_CUTOFF_HZ, fps)
            shift[rows] = torch.from_numpy(smoothed)
        R = map_chunked(partial(solve_leg, rest_joints, leg), R, p, shift, R_world_foot)
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p))


def _contact_corrections(
    points: Float[Tensor, "time 4 3"], contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> tuple[Float[Tensor, "time 4 3"], Float[Tensor, "time 4"]]:
    """Compute the vector from each point to its mean position during the contact, and its weight: 1 in contact, else
    0."""
    points = points.double()
    corrections = torch.zeros_like(points)
    for point in range(points.shape[1]):
        for start, end in true_runs(contacts[:, point]):
            position = points[start:end, point].mean(0)
            if abs(position[1] - heights[point]) < _MAX_GROUND_DISTANCE:
                position[1] = heights[point]
            corrections[start:end, point] = position - points[start:end, point]
    return corrections, contacts.double()


def _mean_correction(corrections: Tensor, weights: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Average over the points in contact: (time, 3) the correction, and (time,) 1 with any contact, else 0."""
    total = (corrections * weights[..., None]).sum(1)
    return (total / weights.sum(1, keepdim=True).clamp_min(1)).numpy(), weights.amax(1).numpy()


def _smooth_foot_rotation(
    R: Float[Tensor, "time 3 3"], flat: np.ndarray, fps: float
) -> Float[Tensor, "time 3 3"]:
    """Smooth a foot's rotation strongly where the foot is flat on the ground."""
    quaternions = continuous_quaternions(R).numpy()
    smoothed = whittaker(quaternions, np.ones(len(R)), np.where(flat, _FLAT_FOOT_CUTOFF_HZ, 0.5 * fps), fps)
    unit = smoothed / np.linalg.norm(smoothed, axis=-1, keepdims=True)
    return roma.unitquat_to_rotmat(torch.from_numpy(unit))
