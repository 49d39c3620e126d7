"""The depth of a person who is off the ground.

In flight, the centre of mass moves along the ground at constant velocity (Newton's first law), whatever it does up. The
image shows the direction to it accurately, and its distance hardly. From a camera that looks down, a wrong distance
takes height away from a jump: the person seems to move back instead of up. A corrected person who falls as fast as
gravity makes them confirms the correction, since it does not use gravity.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.tensors import true_runs
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.pipeline.postprocessing.ground import centre_of_mass
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world, with_parameters

GRAVITY = 9.81
"""m/s^2."""
_MAX_GRAVITY_RATIO, _MIN_FALLING_FRAMES = 1.5, 5
"""Greatest ratio of a confirmed fall's acceleration and gravity, or its inverse; least number of its frames."""
_MIN_RISE = 0.05
"""Metres of the lowest foot point above the ground, in some frame of a flight."""
_MAX_SECONDS = 1.0
"""Longest time without contacts that is a jump."""
_MIN_RAY_COSINE = 0.3
"""Cosine between the ground and the ray to the person; from above, the ray does not determine the distance."""
_MAX_LOG_CORRECTION = 0.1
"""Relative change of the distance. A larger one is not an error of the distance."""


def correct_flight_depth(
    motion: Motion,
    body: Body,
    contacts: Bool[Tensor, "time 4"],
    heights: Float[Tensor, "4"],
    confirmed: bool = False,
) -> Motion:
    """Move the person along the rays of a static camera, so that between two contacts the distance of their centre of
    mass along the ground changes at a constant rate.

    The world's y is up, and the ground is y = 0. `heights` are the `rest_heights` of foot_contact. With `confirmed`,
    only flights that gravity confirms are corrected. Before a moving camera the motion is returned as it is."""
    if motion.camera.R_cam_world.ndim > 2:
        return motion
    p_world_cam = motion.camera.p_world_cam.double()
    ray = centre_of_mass(motion.camera.to_world(motion.joints_cam).double()) - p_world_cam
    distance = ray[:, [0, 2]].norm(dim=-1)
    rise = (keypoints_world(motion, FOOT_POINTS)[..., 1] - heights).amin(1)
    log_ratio = torch.zeros_like(distance)
    for rows in consecutive_slices(motion):
        for start, end in true_runs(~contacts[rows].any(1)):
            first, last = rows.start + start - 1, rows.start + end
            if first < rows.start or last >= rows.stop or not rise[first:last].amax() > _MIN_RISE:
                continue
            if motion.frame_times[last] - motion.frame_times[first] > _MAX_SECONDS:
                continue
            flight = slice(first, last + 1)
            steady = _steady_log_ratio(distance[flight], motion.frame_times[flight])
            height = p_world_cam[1] + steady.exp() * ray[flight, 1]
            if not confirmed or _falls_freely(height, motion.frame_times[flight]):
                log_ratio[flight] = steady
    if not log_ratio.any():
        return motion
    valid = (log_ratio.abs() < _MAX_LOG_CORRECTION) & (distance > _MIN_RAY_COSINE * ray.norm(dim=-1))
    scale = torch.where(valid, log_ratio, 0.0).expm1()[:, None]
    p = motion.parameters.p_world_root + scale * ray
    return with_parameters(
        motion, body, BodyParameters(motion.parameters.betas, motion.parameters.R_parent_joint, p)
    )


def _steady_log_ratio(
    distance: Float64[Tensor, " time"], times: Float64[Tensor, " time"]
) -> Float64[Tensor, " time"]:
    """Compute the log of the ratio of a distance that changes at a constant rate to this one; 0 at both ends."""
    fraction = (times - times[0]) / (times[-1] - times[0])
    return (torch.lerp(distance[0], distance[-1], fraction) / distance).log()


def _falls_freely(height: Float64[Tensor, " time"], times: Float64[Tensor, " time"]) -> bool:
    """Decide whether the upper half of a path falls as fast as gravity makes it."""
    upper = height > (height.amax() + torch.maximum(height[0], height[-1])) / 2
    if upper.sum() < _MIN_FALLING_FRAMES:
        return False
    parabola = np.polynomial.Polynomial.fit(times[upper].numpy(), height[upper].numpy(), 2)
    fall = -float(parabola.deriv(2)(0.0))
    return 1 / _MAX_GRAVITY_RATIO < fall / GRAVITY < _MAX_GRAVITY_RATIO
