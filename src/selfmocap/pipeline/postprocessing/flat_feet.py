"""Flatten the soles of standing people who are seen from above.

From above, a foot is foreshortened and its toes are often hidden. Detectors guess them, and people seem to stand on
tiptoe. From the side, the pitch of a foot is observed well and stays.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.tensors import map_chunked, true_runs
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts
from selfmocap.pipeline.postprocessing.ground import standing_frames
from selfmocap.pipeline.postprocessing.legs import LEGS, world_rotation
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world, with_parameters
from selfmocap.pipeline.postprocessing.smoothing import whittaker

_SIDE_SINE, _ABOVE_SINE = 0.2, 0.5
"""Sines of the camera's elevation above the foot: below the first, the observed pitch is kept; above the second, it is
removed."""
_MAX_PITCH = math.radians(50)
"""A larger pitch is kept from every viewpoint."""
_STEP_QUANTILE = 0.25
"""Quantile of a step's pitches that is taken as the pitch of its sole, since the heel rises at the end."""
_CUTOFF_HZ = 1.0
_SWING_WEIGHT = 0.05
"""Weight of a frame between two steps, relative to one in a step."""


def flatten_soles(motion: Motion, body: Body, heights: Float[Tensor, "4"], strength: float = 1.0) -> Motion:
    """Turn the feet of a standing person about the ankle by the pitch that their soles have in a step, the more the
    higher the camera is above the feet.

    The world's y is up. `heights` are the `rest_heights` of foot_contact. `strength` is the fraction of the turn."""
    contacts, standing = find_contacts(motion), standing_frames(motion, body)
    points = keypoints_world(motion, FOOT_POINTS).double()
    rest_joints = body.shape(motion.parameters.betas).joints
    R, p = motion.parameters.R_parent_joint, motion.parameters.p_world_root
    for side, leg in enumerate(LEGS):
        columns = slice(2 * side, 2 * side + 2)
        (heel, toe), rise = (
            points[:, columns].unbind(1),
            (heights[columns.start] - heights[columns.start + 1]).double(),
        )
        pitch = _pitch(heel, toe, rise)
        ray = heel - motion.camera.p_world_cam.double()
        elevation_sine = -ray[:, 1] / ray.norm(dim=-1)
        removed = ((elevation_sine - _SIDE_SINE) / (_ABOVE_SINE - _SIDE_SINE)).clamp(0, 1)
        steps = [
            (start, end, _sole_pitch(pitch[start:end]) * float(removed[start:end].mean()))
            for start, end in true_runs(contacts[:, columns].any(1) & standing)
        ]
        across = torch.linalg.cross(toe - heel, torch.tensor([[0.0, 1.0, 0.0]]).double())
        rotvec = torch.nn.functional.normalize(across, dim=-1) * strength * _smooth_angles(motion, steps)
        R_world_knee = map_chunked(partial(world_rotation, rest_joints, leg.knee), R, p)
        R = R.clone()
        R[:, leg.ankle] = (
            R_world_knee.mT @ roma.rotvec_to_rotmat(rotvec).to(R) @ R_world_knee @ R[:, leg.ankle]
        )
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p))


def _pitch(
    heel: Float64[Tensor, "time 3"], toe: Float64[Tensor, "time 3"], rise: Float64[Tensor, ""]
) -> Float64[Tensor, " time"]:
    """Compute the pitch of a sole, heel up, radians; `rise` is the height of the heel's point above the toe's on flat
    ground."""
    length = (toe - heel).norm(dim=-1)
    return torch.asin((heel - toe)[:, 1] / length) - torch.asin((rise / length).clamp(-1, 1))


def _sole_pitch(pitch: Float64[Tensor, " step"]) -> float:
    """Compute the pitch to remove from a step; 0 where the pitch passes through 0 or exceeds `_MAX_PITCH`."""
    low, high = pitch.quantile(_STEP_QUANTILE), pitch.quantile(1 - _STEP_QUANTILE)
    flattest = float(torch.where(low > 0, low, high.clamp(max=0)))
    return flattest if abs(flattest) < _MAX_PITCH else 0.0


def _smooth_angles(motion: Motion, steps: Sequence[tuple[int, int, float]]) -> Float64[Tensor, "time 1"]:
    """Hold the angle of each step, and interpolate smoothly between steps."""
    angles = torch.full((len(motion), 1), torch.nan).double()
    for start, end, angle in steps:
        angles[start:end] = angle
    between = angles[:, 0].isnan()
    weights = np.where(between.numpy(), _SWING_WEIGHT, 1.0)
    angles[between] = angles.nanmedian().nan_to_num()
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    for rows in consecutive_slices(motion):
        angles[rows] = torch.from_numpy(whittaker(angles[rows].numpy(), weights[rows], _CUTOFF_HZ, fps))
    return angles
