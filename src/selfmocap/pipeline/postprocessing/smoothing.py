"""Smoothing that removes jitter and preserves fast motion.

Least squares with a penalty on third differences (Whittaker 1923; Eilers 2003): minimise
sum_t w_t |x_t - y_t|^2 + sum_t l_t |D^3 x_t|^2. It uses past and future alike, so that there is no lag, and bridges
frames of weight 0. With l = (2 sin(pi f / fps))^-6 it halves an oscillation of f Hz. As in the one-euro filter (Casiez
et al. 2012), f rises with speed: slow motion is smoothed strongly, a punch hardly. For uneven frame times, D^3 is the
third derivative of the cubic through four frames at their times, times the cube of the usual frame duration.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg import solveh_banded
from scipy.ndimage import maximum_filter1d
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.camera import NEAREST_DEPTH
from selfmocap.geometry.rotations import continuous_quaternions
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, with_parameters

_ARM_CUTOFF_HZ = {"elbow": 4.0, "wrist": 4.0, "shoulder": 4.0, "hand": 4.0}
"""Cutoff frequency of a joint at rest; _TRUNK_AND_LEG_CUTOFF_HZ for the others."""
_TRUNK_AND_LEG_CUTOFF_HZ = 3.0
_CUTOFF_PER_ANGULAR_SPEED = 1.5
"""Hz per rad/s."""
_TRUNK = [JOINT[name] for name in ("pelvis", "left_hip", "right_hip", "spine1", "spine2", "spine3")]
_CUTOFF_PER_SPEED = 2.0
"""Hz per m/s of the root across the image."""
_DEPTH_CUTOFF_HZ, _DEPTH_CUTOFF_PER_SPEED = 1.0, 0.5
"""Those of the depth, which is observed less accurately."""
_SPEED_CUTOFF_HZ = 4.0
"""Cutoff frequency of the signal whose speed is measured."""
_SPEED_SECONDS = 0.1
"""The cutoff follows the greatest speed from this long before a frame to this long after it."""
_HELD_HZ = 0.02
"""Frequency of the changes that are halved where a person is still."""
_STILL_SPEED, _STILL_CUTOFF_HZ = 0.03, 1.0
"""Greatest speed of a joint across the image, m/s, below which a person stands still, and the cutoff frequency of the
signal whose speed it is. The errors of detected keypoints move a person so fast."""
_ARMS, _HEAD = ("elbow", "wrist", "hand"), ("collar", "shoulder", "neck", "head")
_SHOWING_STILLNESS = [j for j, name in enumerate(JOINT_NAMES) if name.rpartition("_")[2] not in _ARMS]
_HELD_STILL = [j for j, name in enumerate(JOINT_NAMES) if name.rpartition("_")[2] not in _ARMS + _HEAD]
"""Trunk and legs. Arms and head also move while a person stands still."""
_MIN_CUTOFF_FRACTION = 0.002
"""Lowest cutoff as a fraction of the frame rate; below it, the equations are ill-conditioned."""
_MIN_STEP = 0.1
"""Shortest time between successive frames, in usual frame durations."""
_MIN_OBSERVED_WEIGHT = 0.05
"""Weight of an observed frame of the lowest confidence."""
_MIN_WEIGHT = 1e-6


def smooth(
    motion: Motion,
    body: Body,
    joint_confidence: Float[Tensor, "time 24"] | None = None,
    strength: float = 1.0,
) -> Motion:
    """Smooth each joint's rotation, weighted by its confidence, and the root's path, depth more than direction: in the
    frame of a static camera, in the world of a moving one. By default a frame's confidence serves for all joints.
    Filled frames have weight 0.

    The trunk's joints and the path's direction share one cutoff and one weight, and limbs have at least that cutoff:
    errors of the root and of its neighbours that cancel each other still do so when smoothed alike. Cutoff frequencies
    are divided by `strength`, in (0, 1]."""
    confidence = motion.confidence[:, None].expand(-1, 24) if joint_confidence is None else joint_confidence
    clipped = confidence.numpy().clip(_MIN_OBSERVED_WEIGHT, 1)
    weights = np.where(motion.filled[:, None], 0.0, clipped).astype(np.float64)
    weights[:, _TRUNK] = weights[:, _TRUNK].mean(1, keepdims=True)
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    times = motion.frame_times.double().numpy()
    R, p_cam = motion.parameters.R_parent_joint.clone(), motion.joints_cam[:, :1].clone()
    moves, eye = motion.camera.R_cam_world.ndim > 2, motion.camera.p_world_cam
    p_world = motion.camera.to_world(p_cam)[:, 0]
    for rows in consecutive_slices(motion):
        quaternions = continuous_quaternions(R[rows].double()).numpy()
        path = _direction_and_log_depth(p_cam[rows, 0])
        cutoffs = _cutoffs(quaternions, path, weights[rows], fps, times[rows]) / strength
        still = _stillness(_direction_and_log_depth(motion.joints_cam[rows]), weights[rows], fps, times[rows])
        for joint in range(24):
            y, held = quaternions[:, joint], still if joint in _HELD_STILL else None
            y = whittaker(y, weights[rows, joint], cutoffs[:, joint], fps, times[rows], held)
            unit = torch.from_numpy(y / np.linalg.norm(y, axis=-1, keepdims=True))
            R[rows, joint] = roma.unitquat_to_rotmat(unit).to(R)
        speed = math.exp(np.median(path[:, 2])) * _speed(path[:, 2:], weights[rows, 0], fps, times[rows])
        depth_cutoff = (_DEPTH_CUTOFF_HZ + _DEPTH_CUTOFF_PER_SPEED * speed) / strength
        if moves:
            root = (weights[rows, 0], fps, times[rows])
            p_world[rows] = _smooth_world_path(p_world[rows], eye[rows], cutoffs[:, 0], depth_cutoff, *root)
            continue
        direction = whittaker(path[:, :2], weights[rows, 0], cutoffs[:, 0], fps, times[rows], still)
        depth = np.exp(whittaker(path[:, 2:], weights[rows, 0], depth_cutoff, fps, times[rows], still))
        p_cam[rows, 0] = torch.from_numpy(np.concatenate([direction * depth, depth], axis=1)).to(p_cam)
    if not moves:
        p_world = motion.camera.to_world(p_cam)[:, 0]
    return with_parameters(motion, body, BodyParameters(motion.parameters.betas, R, p_world))


def _direction_and_log_depth(p_cam: Float[Tensor, "*batch 3"]) -> np.ndarray:
    """Return x / z, y / z and log z."""
    p = p_cam.double().numpy()
    depth = p[..., 2:].clip(NEAREST_DEPTH)
    return np.concatenate([p[..., :2] / depth, np.log(depth)], axis=-1)


def _stillness(joints: np.ndarray, weights: np.ndarray, fps: float, times: np.ndarray) -> np.ndarray:
    """Compute how still a person stands in the image (time,), in [0, 1]: nobody moves for long along the rays alone.
    `joints` are `_direction_and_log_depth` (time, 24, 3)."""
    if len(joints) < 2:
        return np.zeros(len(joints))
    across = joints[:, _SHOWING_STILLNESS, :2].reshape(len(joints), -1)
    across = whittaker(across, weights[:, 0], _STILL_CUTOFF_HZ, fps, times)
    velocity = np.gradient(across, times, axis=0).reshape(len(joints), -1, 2)
    speed = math.exp(np.median(joints[..., 2])) * np.linalg.norm(velocity, axis=-1).max(1)
    return np.maximum(1 - (speed / _STILL_SPEED) ** 2, 0)


def _cutoffs(
    quaternions: np.ndarray, path: np.ndarray, weights: np.ndarray, fps: float, times: np.ndarray
) -> np.ndarray:
    """Compute each joint's cutoff frequency (time, 24), Hz; the root's is that of the path's direction."""
    cutoffs = np.empty(quaternions.shape[:2])
    for joint, name in enumerate(JOINT_NAMES):
        rest_cutoff = _ARM_CUTOFF_HZ.get(name.rpartition("_")[2], _TRUNK_AND_LEG_CUTOFF_HZ)
        speed = 2 * _speed(quaternions[:, joint], weights[:, joint], fps, times)
        cutoffs[:, joint] = rest_cutoff + _CUTOFF_PER_ANGULAR_SPEED * speed
    speed = math.exp(np.median(path[:, 2])) * _speed(path[:, :2], weights[:, 0], fps, times)
    trunk = np.maximum(cutoffs[:, _TRUNK].max(1), _TRUNK_AND_LEG_CUTOFF_HZ + _CUTOFF_PER_SPEED * speed)
    cutoffs[:, _TRUNK] = trunk[:, None]
    return np.maximum(cutoffs, trunk[:, None])


def whittaker(
    y: np.ndarray,
    weights: np.ndarray,
    cutoff_hz: np.ndarray | float,
    fps: float,
    times: np.ndarray | None = None,
    stillness: np.ndarray | None = None,
) -> np.ndarray:
    """Smooth (time, n) values with (time,) weights and a cutoff frequency, one for all frames or (time,).

    `times` (s) are needed for uneven frames. Where `stillness` (time,) in [0, 1] is 1, changes slower than the cutoff
    are removed too. Fewer than four frames are returned unchanged."""
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
    if stillness is not None:
        held = np.minimum(stillness[1:], stillness[:-1]) * (2 * math.sin(math.pi * _HELD_HZ / fps)) ** -2.0
        bands[0, :-1] += held
        bands[0, 1:] += held
        bands[1, :-1] -= held
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


def _smooth_world_path(
    p_world: Float[Tensor, "time 3"],
    eye: Float[Tensor, "time 3"],
    cutoff: np.ndarray,
    depth_cutoff: np.ndarray,
    weights: np.ndarray,
    fps: float,
    times: np.ndarray,
) -> Float[Tensor, "time 3"]:
    """Smooth the root's path in the world, along the rays of a moving camera at `eye` as strongly as depth is smoothed
    before a static one. So the camera's own shaking, which is known, is not smoothed into the path."""
    p, rays = p_world.double().numpy(), (p_world - eye).double().numpy()
    ray = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    lateral = whittaker(p, weights, cutoff, fps, times)
    depth = whittaker(p, weights, depth_cutoff, fps, times)
    along = ((depth - lateral) * ray).sum(1, keepdims=True)
    return torch.from_numpy(lateral + along * ray).to(p_world)
