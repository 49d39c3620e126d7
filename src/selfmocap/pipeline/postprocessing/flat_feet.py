"""Feet seen from above: who stands, stands on the whole sole.

From above a foot is seen foreshortened and its toes often not at all: detectors guess them, and people seem to stand on
tiptoe. From the side a foot's pitch is seen well, and stays as it is.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import roma
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.tensors import map_chunked, true_runs
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts
from selfmocap.pipeline.postprocessing.ground import standing_frames
from selfmocap.pipeline.postprocessing.leg_ik import LEGS, turn_in_world
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, with_parameters, consecutive_slices
from selfmocap.pipeline.postprocessing.smoothing import whittaker

_FROM_THE_SIDE, _FROM_ABOVE = 0.2, 0.5
"""Sine of the angle at which a foot is looked down at: up to the first its pitch is believed, from the second on not at
all."""
_MOST = math.radians(50)
"""A heel that is pitched up more is so, wherever it is seen from."""
_FLATTEST = 0.25
"""The quantile of its pitch by which a step is judged: heels rise at its end."""
_HZ = 1.0
_BETWEEN = 0.05
"""What a frame between two steps counts."""


def flatten_soles(motion: Motion, body: Body, heights: Float[Tensor, "4"]) -> Motion:
    """The motion, in a world whose y is up, with the feet of who stands turned about the ankle by the pitch that their
    soles have in a step, as far as they are seen from above. `heights` as in `contacts.rest_heights`."""
    contacts, standing = find_contacts(motion), standing_frames(motion, body)
    points = keypoints_world(motion, FOOT_POINTS).double()
    rest_joints = body.shape(motion.parameters.betas).joints
    R, p = motion.parameters.R_parent_joint, motion.parameters.p_world_root
    for side, leg in enumerate(LEGS):
        own = slice(2 * side, 2 * side + 2)
        (heel, toe), rise = points[:, own].unbind(1), (heights[own.start] - heights[own.start + 1]).double()
        pitch = _pitch(heel, toe, rise)
        ray = heel - motion.camera.p_world_cam.double()
        steep = -ray[:, 1] / ray.norm(dim=-1)
        unseen = ((steep - _FROM_THE_SIDE) / (_FROM_ABOVE - _FROM_THE_SIDE)).clamp(0, 1)
        steps = [
            (start, end, _flattest(pitch[start:end]) * float(unseen[start:end].mean()))
            for start, end in true_runs(contacts[:, own].any(1) & standing)
        ]
        across = torch.linalg.cross(toe - heel, torch.tensor([[0.0, 1.0, 0.0]]).double())
        turn = torch.nn.functional.normalize(across, dim=-1) * _smoothed(motion, steps)
        R_world_knee = map_chunked(partial(turn_in_world, rest_joints, leg.knee), R, p)
        R = R.clone()
        R[:, leg.ankle] = R_world_knee.mT @ roma.rotvec_to_rotmat(turn).to(R) @ R_world_knee @ R[:, leg.ankle]
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p))


def _pitch(
    heel: Float64[Tensor, "time 3"], toe: Float64[Tensor, "time 3"], rise: Float64[Tensor, ""]
) -> Float64[Tensor, " time"]:
    """How far a sole is turned heel up, radians; `rise` is how much higher the heel's point is on flat ground."""
    length = (toe - heel).norm(dim=-1)
    return torch.asin((heel - toe)[:, 1] / length) - torch.asin((rise / length).clamp(-1, 1))


def _flattest(pitch: Float64[Tensor, " step"]) -> float:
    """Of a step; 0 where it passes through flat, or is on tiptoe."""
    low, high = pitch.quantile(_FLATTEST), pitch.quantile(1 - _FLATTEST)
    found = float(torch.where(low > 0, low, high.clamp(max=0)))
    return found if abs(found) < _MOST else 0.0


def _smoothed(motion: Motion, steps: Sequence[tuple[int, int, float]]) -> Float64[Tensor, "time 1"]:
    """The angle of each step held through it, and between them led from one to the next."""
    wanted = torch.full((len(motion), 1), torch.nan).double()
    for start, end, angle in steps:
        wanted[start:end] = angle
    between = wanted[:, 0].isnan()
    counts = np.where(between.numpy(), _BETWEEN, 1.0)
    wanted[between] = wanted.nanmedian().nan_to_num()
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    for frames in consecutive_slices(motion):
        wanted[frames] = torch.from_numpy(whittaker(wanted[frames].numpy(), counts[frames], _HZ, fps))
    return wanted
