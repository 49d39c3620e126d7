"""Correct a person's distance from the camera by the contacts of their feet with the ground."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world, with_parameters
from selfmocap.pipeline.postprocessing.smoothing import whittaker

_CUTOFF_HZ = 1.0
"""Cutoff frequency of the correction."""
_MAX_LOG_CORRECTION = 0.08
"""Relative change of the distance. A foot that needs a larger one stands on something other than the ground."""
_MIN_CAMERA_HEIGHT = 0.5
"""Metres of the camera above a foot. Below it, the ground is seen at too small an angle to measure distance."""
_EQUAL_WEIGHT_HEIGHT = 1.0
"""Metres of the camera above a foot at which the ground and the person's size are equally accurate for distance."""
_MIN_PRIOR_WEIGHT = 1e-3
"""Weight of no correction, relative to one contact, in frames without contacts."""


def correct_depth(
    motion: Motion, body: Body, contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> Motion:
    """Move the person slowly along the rays of the camera, so that feet in contact are on the ground y = 0.

    The person keeps their place in the image and their size in the world. `heights` are the `rest_heights` of
    foot_contact."""
    p_world_cam = motion.camera.p_world_cam
    drop = (p_world_cam[..., 1:2] - keypoints_world(motion, FOOT_POINTS)[..., 1]).double()
    ground_drop = (p_world_cam[..., 1:2] - heights).double()
    log_ratio = (ground_drop.clamp_min(_MIN_CAMERA_HEIGHT) / drop.clamp_min(_MIN_CAMERA_HEIGHT)).log()
    valid = (
        (drop > _MIN_CAMERA_HEIGHT)
        & (ground_drop > _MIN_CAMERA_HEIGHT)
        & (log_ratio.abs() < _MAX_LOG_CORRECTION)
    )
    used = (contacts & valid).double()
    num_contacts = used.sum(1)
    prior = (_EQUAL_WEIGHT_HEIGHT / drop.mean(1).clamp_min(_MIN_CAMERA_HEIGHT)).square() * num_contacts.clamp(
        max=1
    ) + _MIN_PRIOR_WEIGHT
    target = (log_ratio * used).sum(1, keepdim=True) / (num_contacts + prior)[:, None]
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    correction = torch.zeros_like(target)
    for rows in consecutive_slices(motion):
        weights = (num_contacts + prior)[rows].numpy()
        correction[rows] = torch.from_numpy(whittaker(target[rows].numpy(), weights, _CUTOFF_HZ, fps))
    p_cam = motion.joints_cam[:, :1] * correction.exp()[..., None].to(motion.joints_cam)
    p = motion.camera.to_world(p_cam)[:, 0]
    parameters = BodyParameters(motion.parameters.betas, motion.parameters.R_parent_joint, p)
    return with_parameters(motion, body, parameters)
