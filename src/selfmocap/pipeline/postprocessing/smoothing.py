"""Smoothing that takes away jitter and leaves fast limbs alone.

Least squares with a penalty on third differences (Whittaker 1923; Eilers 2003): minimise
sum_t w_t |x_t - y_t|^2 + sum_t l_t |D^3 x_t|^2. It sees past and future alike, so that nothing lags, and bridges frames
of weight 0. For l = (2 sin(pi f / fps))^-6 it halves what swings at f Hz. As in the one-euro filter (Casiez et al.
2012) f rises with speed: what moves slowly is smoothed hard, a punch hardly at all. Where frames do not come evenly,
D^3 is the third derivative of the cubic through four frames at their times, times a frame's usual duration cubed.
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
from selfmocap.pipeline.postprocessing.rebuild import remade, stretches

_SLOW_HZ = {"elbow": 4.0, "wrist": 4.0, "shoulder": 4.0, "hand": 4.0}
"""The cutoff of a joint at rest; _TRUNK_AND_LEGS_HZ for the others."""
_TRUNK_AND_LEGS_HZ = 3.0
_HZ_A_RADIAN_A_SECOND = 1.5
_LATERAL_HZ, _DEPTH_HZ = 3.0, 1.0
_HZ_A_METRE_A_SECOND = 2.0
_SPEED_HZ = 4.0
"""The cutoff at which speeds are measured."""
_SPEED_SECONDS = 0.1
"""A speed counts from this long before to this long after it."""
_LOWEST = 0.002
"""The lowest cutoff, Hz times s a frame: below it the equations are too badly conditioned."""
_SHORTEST = 0.1
"""The shortest time from one frame to the next that counts, in a frame's usual duration."""
_LEAST_WEIGHT = 0.05
"""Of a frame that was seen, however little it is trusted."""


def smooth(motion: Motion, body: Body, joint_confidence: Float[Tensor, "time 24"] | None = None) -> Motion:
    """The motion without jitter: each joint's rotation by itself, weighted by its confidence (by default the
    frame's), and the path as the camera sees it, depth harder than direction. Frames that were filled in have no
    weight of their own."""
    confidence = motion.confidence[:, None].expand(-1, 24) if joint_confidence is None else joint_confidence
    weights = np.where(motion.filled[:, None], 0.0, confidence.numpy().clip(_LEAST_WEIGHT, 1)).astype(
        np.float64
    )
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    times = motion.frame_times.double().numpy()
    R, p_cam = motion.parameters.R_parent_joint.clone(), motion.joints_cam[:, :1].clone()
    for frames in stretches(motion):
        R[frames] = _smooth_rotations(R[frames], weights[frames], fps, times[frames])
        p_cam[frames] = _smooth_path(p_cam[frames, 0], weights[frames, 0], fps, times[frames])[:, None]
    p_world = motion.camera.to_world(p_cam)[:, 0]
    return remade(motion, body, BodyParameters(motion.parameters.betas, R, p_world))


def _smooth_rotations(
    R: Float[Tensor, "time 24 3 3"], weights: np.ndarray, fps: float, times: np.ndarray
) -> Float[Tensor, "time 24 3 3"]:
    """Each joint's rotations, smoothed as unit quaternions."""
    smoothed = torch.empty_like(R)
    for joint, name in enumerate(JOINT_NAMES):
        slow = _SLOW_HZ.get(name.rpartition("_")[2], _TRUNK_AND_LEGS_HZ)
        y, w = continuous_quaternions(R[:, joint].double()).numpy(), weights[:, joint]
        speed = 2 * _speed(y, w, fps, times)
        found = whittaker(y, w, slow + _HZ_A_RADIAN_A_SECOND * speed, fps, times)
        unit = found / np.linalg.norm(found, axis=-1, keepdims=True)
        smoothed[:, joint] = roma.unitquat_to_rotmat(torch.from_numpy(unit)).to(R)
    return smoothed


def whittaker(
    y: np.ndarray,
    weights: np.ndarray,
    cutoff_hz: np.ndarray | float,
    fps: float,
    times: np.ndarray | None = None,
) -> np.ndarray:
    """Smoothed (time, n) of (time, n), with weights (time,), and a cutoff for every
    frame or for all; `times` (s) where frames do not come evenly. Fewer than four frames are returned as they are."""
    time = len(y)
    if time < 4:
        return y
    cutoff = np.broadcast_to(np.clip(cutoff_hz, _LOWEST * fps, 0.5 * fps), time)
    penalty = (2 * np.sin(math.pi * cutoff / fps)) ** -6.0
    penalty = np.sqrt(penalty[1:-2] * penalty[2:-1])
    bands = np.zeros((4, time))
    bands[0] = np.maximum(weights, 1e-6)
    difference = (-1.0, 3.0, -3.0, 1.0) if times is None else _third_difference(times * fps)
    for row, a in enumerate(difference):
        for column in range(row, 4):
            bands[column - row, row : row + time - 3] += a * difference[column] * penalty
    return solveh_banded(bands, weights[:, None] * y, lower=True)


def _third_difference(times: np.ndarray) -> np.ndarray:
    """(4, time - 3): what four frames that follow each other count in the third divided difference, six times."""
    steps = np.diff(times).clip(_SHORTEST)
    at = np.cumsum([np.zeros(len(steps) - 2), steps[:-2], steps[1:-1], steps[2:]], axis=0)
    apart = at[:, None] - at[None] + np.eye(4)[:, :, None]
    return 6 / apart.prod(axis=1)


def _speed(y: np.ndarray, weights: np.ndarray, fps: float, times: np.ndarray) -> np.ndarray:
    """(time,) of units a second: the fastest around each frame, of the signal smoothed."""
    if len(y) < 2:
        return np.zeros(len(y))
    steady = whittaker(y, weights, _SPEED_HZ, fps, times)
    speed = np.linalg.norm(np.gradient(steady, times, axis=0), axis=1)
    return maximum_filter1d(speed, 2 * round(_SPEED_SECONDS * fps) + 1)


def _smooth_path(
    p_cam: Float[Tensor, "time 3"], weights: np.ndarray, fps: float, times: np.ndarray
) -> Float[Tensor, "time 3"]:
    """The root's path: its direction from the camera, which is seen well, and the logarithm of its depth, which is
    not."""
    p = p_cam.double().numpy()
    depth = p[:, 2:].clip(NEAREST_DEPTH)
    lateral, scale = p[:, :2] / depth, np.median(depth)
    hz = _HZ_A_METRE_A_SECOND * scale
    across = _speed(lateral, weights, fps, times)
    lateral = whittaker(lateral, weights, _LATERAL_HZ + hz * across, fps, times)
    log_depth = np.log(depth)
    away = _speed(log_depth, weights, fps, times)
    log_depth = whittaker(log_depth, weights, _DEPTH_HZ + hz / 4 * away, fps, times)
    depth = np.exp(log_depth)
    return torch.from_numpy(np.concatenate([lateral * depth, depth], axis=1)).to(p_cam)
