"""Feet that stand, stand still."""

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
from selfmocap.pipeline.postprocessing.leg_ik import LEGS, reach, turn_in_world
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, with_parameters, consecutive_slices
from selfmocap.pipeline.postprocessing.smoothing import whittaker

_FIRM = 1e3
"""The weight of a contact against that of leaving the leg as it is."""
_ROOT_HZ = 2.0
_LEG_HZ = 4.0
_FOOT_HZ = 0.5
"""How fast a foot may turn that stands on heel and toe."""
_NEAR_GROUND = 0.08
"""Metres: a contact this near to the ground is on it; others are on something else, at their own height."""


def lock_feet(
    motion: Motion, body: Body, contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> Motion:
    """The motion with each contact's point held at its place: the path takes what both feet ask for together and
    slowly, each leg the rest. `heights` (see `contacts.rest_heights`) says how high the points of a foot on the
    ground, y = 0, are."""
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    pull, firm = _pulls(keypoints_world(motion, FOOT_POINTS), contacts, heights)
    root = torch.zeros(len(motion), 3, dtype=torch.float64)
    for frames in consecutive_slices(motion):
        both, either = _mean_pull(pull[frames], firm[frames])
        root[frames] = torch.from_numpy(whittaker(both, either + 1e-2, _ROOT_HZ, fps))
    R, p = motion.parameters.R_parent_joint, motion.parameters.p_world_root + root
    rest_joints = body.to(torch.float64).shape(motion.parameters.betas.double()).joints
    for side, leg in enumerate(LEGS):
        own = slice(2 * side, 2 * side + 2)
        R_world_foot = map_chunked(partial(turn_in_world, rest_joints, leg.ankle), R, p)
        shift = torch.zeros_like(root)
        for frames in consecutive_slices(motion):
            R_world_foot[frames] = _steadied(R_world_foot[frames], contacts[frames, own].all(1).numpy(), fps)
            goal, firmly = _mean_pull(pull[frames, own] - root[frames, None], firm[frames, own])
            shift[frames] = torch.from_numpy(whittaker(goal, _FIRM * firmly + 1, _LEG_HZ, fps))
        R = map_chunked(partial(reach, rest_joints, leg), R, p, shift, R_world_foot)
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p))


def _pulls(
    points: Float[Tensor, "time 4 3"], contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> tuple[Float[Tensor, "time 4 3"], Float[Tensor, "time 4"]]:
    """From where each point is to where it stands in its contact (the mean of it), and whether it stands."""
    points = points.double()
    pull = torch.zeros_like(points)
    for point in range(points.shape[1]):
        for start, end in true_runs(contacts[:, point]):
            place = points[start:end, point].mean(0)
            if abs(place[1] - heights[point]) < _NEAR_GROUND:
                place[1] = heights[point]
            pull[start:end, point] = place - points[start:end, point]
    return pull, contacts.double()


def _mean_pull(pull: Tensor, firm: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """(time, 3) what the standing points ask for together, and (time,) whether any stands."""
    total = (pull * firm[..., None]).sum(1)
    return (total / firm.sum(1, keepdim=True).clamp_min(1)).numpy(), firm.amax(1).numpy()


def _steadied(R: Float[Tensor, "time 3 3"], flat: np.ndarray, fps: float) -> Float[Tensor, "time 3 3"]:
    """A foot's rotation, held where it stands flat."""
    quaternions = continuous_quaternions(R).numpy()
    held = whittaker(quaternions, np.ones(len(R)), np.where(flat, _FOOT_HZ, 0.5 * fps), fps)
    return roma.unitquat_to_rotmat(torch.from_numpy(held / np.linalg.norm(held, axis=-1, keepdims=True)))
