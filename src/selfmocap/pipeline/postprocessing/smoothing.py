"""Smoothing that removes jitter and preserves fast motion.

Least squares with a penalty on third differences (Whittaker 1923; Eilers 2003): minimise
sum_t w_t |x_t - y_t|^2 + sum_t l_t |D^3 x_t|^2. It uses past and future alike, so that there is no lag, and bridges
frames of weight 0. With l = (2 sin(pi f / fps))^-6 it halves an oscillation of f Hz. As in the one-euro filter (Casiez
et al. 2012), f rises with speed: slow motion is smoothed strongly, a punch hardly. For uneven frame times, D^3 is the
third derivative of the cubic through four frames at their times, times the cube of the usual frame duration.
"""

import math

import numpy as np
import roma
import torch
from jaxtyping import Float
from scipy.linalg import solveh_banded
from scipy.ndimage import maximum_filter1d
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.geometry.camera import NEAREST_DEPTH
from selfmocap.geometry.rotations import continuous_quaternions
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, with_parameters

_ARM_CUTOFF_HZ = {"elbow": 4.0, "wrist": 4.0, "shoulder": 4.0, "hand": 4.0}
"""Cutoff frequency of a joint at rest; _TRUNK_AND_LEG_CUTOFF_HZ for the others."""
_TRUNK_AND_LEG_CUTOFF_HZ = 3.0
_CUTOFF_PER_ANGULAR_SPEED = 1.5
"""Hz per rad/s."""
_LATERAL_CUTOFF_HZ, _DEPTH_CUTOFF_HZ = 3.0, 1.0
_CUTOFF_PER_SPEED = 2.0
"""Hz per m/s."""
_SPEED_CUTOFF_HZ = 4.0
"""Cutoff frequency of the signal whose speed is measured."""
_SPEED_SECONDS = 0.1
"""The cutoff follows the greatest speed from this long before a frame to this long after it."""
_MIN_CUTOFF_FRACTION = 0.002
"""Lowest cutoff as a fraction of the frame rate; below it, the equations are ill-conditioned."""
_MIN_STEP = 0.1
"""Shortest time between successive frames, in usual frame durations."""
_MIN_OBSERVED_WEIGHT = 0.05
"""Weight of an observed frame of the lowest confidence."""
_MIN_WEIGHT = 1e-6


def smooth(motion: Motion, body: Body, joint_confidence: Float[Tensor, "time 24"] | None = None) -> Motion:
    """Smooth each joint's rotation, weighted by its confidence, and the root's path, depth more than direction: in the
    frame of a static camera, in the world of a moving one. By default a frame's confidence serves for all joints.
    Filled frames have weight 0."""
    confidence = motion.confidence[:, None].expand(-1, 24) if joint_confidence is None else joint_confidence
    clipped = confidence.numpy().clip(_MIN_OBSERVED_WEIGHT, 1)
    weights = np.where(motion.filled[:, None], 0.0, clipped).astype(np.float64)
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    times = motion.frame_times.double().numpy()
    R, p_cam = motion.parameters.R_parent_joint.clone(), motion.joints_cam[:, :1].clone()
    moves = motion.camera.R_cam_world.ndim > 2
    for rows in consecutive_slices(motion):
        R[rows] = _smooth_rotations(R[rows], weights[rows], fps, times[rows])
        if not moves:
            p_cam[rows] = _smooth_path(p_cam[rows, 0], weights[rows, 0], fps, times[rows])[:, None]
    p_world = motion.camera.to_world(p_cam)[:, 0]
    if moves:
        eye = motion.camera.p_world_cam
        for rows in consecutive_slices(motion):
            p_world[rows] = _smooth_world_path(p_world[rows], eye[rows], weights[rows, 0], fps, times[rows])
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p_world))


def _smooth_rotations(
    R: Float[Tensor, "time 24 3 3"], weights: np.ndarray, fps: float, times: np.ndarray
) -> Float[Tensor, "time 24 3 3"]:
    """Smooth each joint's rotations as unit quaternions."""
    smoothed = torch.empty_like(R)
    for joint, name in enumerate(JOINT_NAMES):
        rest_cutoff = _ARM_CUTOFF_HZ.get(name.rpartition("_")[2], _TRUNK_AND_LEG_CUTOFF_HZ)
        y, w = continuous_quaternions(R[:, joint].double()).numpy(), weights[:, joint]
        speed = 2 * _speed(y, w, fps, times)
        quaternions = whittaker(y, w, rest_cutoff + _CUTOFF_PER_ANGULAR_SPEED * speed, fps, times)
        unit = quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)
        smoothed[:, joint] = roma.unitquat_to_rotmat(torch.from_numpy(unit)).to(R)
    return smoothed


def whittaker(
    y: np.ndarray,
    weights: np.ndarray,
    cutoff_hz: np.ndarray | float,
    fps: float,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Smooth (time, n) values with (time,) weights and a cutoff frequency, one for all frames or (time,).

    `times` (s) are needed for uneven frames. Fewer than four frames are returned unchanged."""
    time = len(y)
    if time < 4:
        return y
    cutoff = np.broadcast_to(np.clip(cutoff_hz, _MIN_CUTOFF_FRACTION * fps, 0.5 * fps), time)
    penalty = (2 * np.sin(math.pi * cutoff / fps)) ** -6.0
    penalty = np.sqrt(penalty[1:-2] * penalty[2:-1])
    bands = np.zeros((4, time))
    bands[0] = np.maximum(weights, _MIN_WEIGHT)
    difference = (-1.0, 3.0, -3.0, 1.0) if times is None else _third_difference(times * fps)
    for row, a in enumerate(difference):
        for column in range(row, 4):
            bands[column - row, row : row + time - 3] += a * difference[column] * penalty
    return solveh_banded(bands, weights[:, None] * y, lower=True)


def _third_difference(times: np.ndarray) -> np.ndarray:
    """Compute the coefficients (4, time - 3) of four successive frames in six times the third divided difference."""
    steps = np.diff(times).clip(_MIN_STEP)
    at = np.cumsum([np.zeros(len(steps) - 2), steps[:-2], steps[1:-1], steps[2:]], axis=0)
    distance = at[:, None] - at[None] + np.eye(4)[:, :, None]
    return 6 / distance.prod(axis=1)


def _speed(y: np.ndarray, weights: np.ndarray, fps: float, times: np.ndarray) -> np.ndarray:
    """Compute the greatest speed (time,) of the smoothed signal around each frame, units per second."""
    if len(y) < 2:
        return np.zeros(len(y))
    smoothed = whittaker(y, weights, _SPEED_CUTOFF_HZ, fps, times)
    speed = np.linalg.norm(np.gradient(smoothed, times, axis=0), axis=1)
    return maximum_filter1d(speed, 2 * round(_SPEED_SECONDS * fps) + 1)


def _smooth_path(
    p_cam: Float[Tensor, "time 3"], weights: np.ndarray, fps: float, times: np.ndarray
) -> Float[Tensor, "time 3"]:
    """Smooth the root's direction from the camera, which is observed accurately, and its log depth, which is not."""
    p = p_cam.double().numpy()
    depth = p[:, 2:].clip(NEAREST_DEPTH)
    lateral, median_depth = p[:, :2] / depth, np.median(depth)
    hz = _CUTOFF_PER_SPEED * median_depth
    lateral_speed = _speed(lateral, weights, fps, times)
    lateral = whittaker(lateral, weights, _LATERAL_CUTOFF_HZ + hz * lateral_speed, fps, times)
    log_depth = np.log(depth)
    depth_speed = _speed(log_depth, weights, fps, times)
    log_depth = whittaker(log_depth, weights, _DEPTH_CUTOFF_HZ + hz / 4 * depth_speed, fps, times)
    depth = np.exp(log_depth)
    return torch.from_numpy(np.concatenate([lateral * depth, depth], axis=1)).to(p_cam)


def _smooth_world_path(
    p_world: Float[Tensor, "time 3"],
    eye: Float[Tensor, "time 3"],
    weights: np.ndarray,
    fps: float,
    times: np.ndarray,
) -> Float[Tensor, "time 3"]:
    """Smooth the root's path in the world, along the rays of a moving camera at `eye` as strongly as depth is smoothed
    before a static one. So the camera's own shaking, which is known, is not smoothed into the path."""
    p, rays = p_world.double().numpy(), (p_world - eye).double().numpy()
    ray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    hz = _CUTOFF_PER_SPEED * _speed(p, weights, fps, times)
    lateral = whittaker(p, weights, _LATERAL_CUTOFF_HZ + hz, fps, times)
    depth = whittaker(p, weights, _DEPTH_CUTOFF_HZ + hz / 4, fps, times)
    along = ((depth - lateral) * ray).sum(1, keepdims=True)
    return torch.from_numpy(lateral + along * ray).to(p_world)
