"""Synthetic hand motion with its truth, and the hands that a detector would find in it."""

from dataclasses import replace

import numpy as np
import roma
import torch
from jaxtyping import Float
from scipy.ndimage import convolve1d
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import finger_anatomy, finger_rotations, fingertips, with_fingers
from selfmocap.body_model.motion import Motion, joints_and_keypoints
from selfmocap.body_model.skeleton import (
    ALL_JOINT_NAMES,
    FINGER_JOINT_NAMES,
    FINGERS,
    HAND_KEYPOINTS,
    HAND_SIDES,
    JOINT,
)
from selfmocap.geometry.camera import project
from selfmocap.geometry.rotations import shortest_arc
from selfmocap.tracking.observations import Observations

_MAX_HERTZ = 0.8
_WRIST_SIGMA = 0.5
"""Radians about each axis."""
_WAVES = 3
_DRIFT_FRAMES = 15


def move_hands(motion: Motion, body: Body, seed: int) -> Motion:
    """Return the motion with wrists and fingers that move at random, smoothly and within their limits."""
    generator, anatomy = torch.Generator().manual_seed(seed), finger_anatomy()
    time, count = motion.frame_times.double(), len(FINGER_JOINT_NAMES)
    fraction = (1.5 * _waves(time, 3 * count, generator)).sigmoid().unflatten(1, (count, 3))
    coordinates = anatomy.low + (anatomy.high - anatomy.low) * fraction
    R = motion.parameters.R_parent_joint.clone()
    turns = _WRIST_SIGMA * _waves(time, 3 * len(HAND_SIDES), generator).unflatten(1, (-1, 3))
    for side, turn in zip(HAND_SIDES, turns.unbind(1), strict=True):
        R[:, JOINT[f"{side}_wrist"]] = roma.rotvec_to_rotmat(turn).to(R)
        R[:, JOINT[f"{side}_hand"]] = torch.eye(3).to(R)
    parameters = replace(motion.parameters, R_parent_joint=R)
    joints, keypoints = (motion.camera.to_camera(p) for p in joints_and_keypoints(body, parameters))
    fingers = finger_rotations(coordinates).to(R)
    return replace(motion, parameters=parameters, joints_cam=joints, keypoints_cam=keypoints, fingers=fingers)


def _waves(
    time: Float[Tensor, " time"], count: int, generator: torch.Generator
) -> Float[Tensor, "time count"]:
    """Return sums of sine waves with standard deviation 1."""
    hertz, phase = _MAX_HERTZ * torch.rand(2, _WAVES, count, generator=generator, dtype=time.dtype)
    angle = 2 * torch.pi * (time[:, None, None] * hertz + phase / _MAX_HERTZ)
    return angle.sin().sum(1) * (2 / _WAVES) ** 0.5


def hand_keypoints_cam(motion: Motion, body: Body) -> Float[Tensor, "time 2 21 3"]:
    """Return HAND_KEYPOINTS of a motion's hands in the camera frame, metres."""
    full = with_fingers(body)
    posed = full.pose(motion.all_parameters)
    joints = dict(zip(ALL_JOINT_NAMES, posed.joints.unbind(1), strict=True))
    joints |= fingertips(posed)
    names = {"cmc": 1, "mcp": 2, "ip": 3, "tip": "_tip"}, {"mcp": 1, "pip": 2, "dip": 3, "tip": "_tip"}
    columns = []
    for side in HAND_SIDES:
        for keypoint in HAND_KEYPOINTS.names:
            finger, _, part = keypoint.partition("_")
            name = f"{finger}{names[finger != 'thumb'][part]}" if finger in FINGERS else keypoint
            columns.append(joints[f"{side}_{name}"])
    points = torch.stack(columns, dim=1).unflatten(1, (len(HAND_SIDES), -1))
    return motion.camera.to_camera(points.flatten(1, 2)).view(points.shape)


def observe_hands(
    motion: Motion, body: Body, seed: int, error: float = 0.06, depth_error: float = 0.15
) -> Observations:
    """Return observations of a motion's hands like a detector's, without other keypoints.

    `error` in the image and `depth_error` along the line of sight are standard deviations in lengths of the palm, half
    of their variance drifting slowly."""
    random = np.random.default_rng(seed)
    points = hand_keypoints_cam(motion, body).double()
    palm = (points[:, :, HAND_KEYPOINTS.index("middle_mcp")] - points[:, :, 0]).norm(dim=-1)[..., None, None]
    noise = torch.from_numpy(_drifting(random.normal(size=points.shape), random))
    sigma = torch.tensor([error, error, depth_error], dtype=torch.float64)
    middle = points.mean(2, keepdim=True)
    R_cam_view = shortest_arc(torch.eye(3).to(points)[2].expand_as(middle.squeeze(2)), middle.squeeze(2))
    seen = points + palm * (noise * sigma) @ R_cam_view.mT
    positions = (seen - seen.mean(2, keepdim=True)) @ R_cam_view
    camera = motion.camera.to(torch.float64)
    pixels = project(seen, camera.focal, camera.center)
    frames = len(motion)
    return Observations(
        frame_index=motion.frame_index,
        frame_times=motion.frame_times,
        image_size=motion.image_size,
        boxes=torch.ones(frames, 3),
        keypoint_set="coco-23",
        keypoints=torch.zeros(frames, 23, 2),
        keypoint_confidence=torch.zeros(frames, 23),
        hand_keypoints=pixels.float(),
        hand_positions=positions.float(),
        hand_confidence=torch.full((frames, len(HAND_SIDES)), 0.95),
    )


def _drifting(noise: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Return noise of which half of the variance changes slowly."""
    kernel = np.hanning(2 * _DRIFT_FRAMES + 1)
    kernel /= np.linalg.norm(kernel)
    longer = random.normal(size=(len(noise) + len(kernel) - 1, *noise.shape[1:]))
    slow = convolve1d(longer, kernel, axis=0)[_DRIFT_FRAMES : _DRIFT_FRAMES + len(noise)]
    return (noise + slow) / 2**0.5
