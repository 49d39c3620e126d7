"""Random cameras of synthetic clips: position, rotation, lens and movement, as of phones and tripods."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.geometry.camera import Camera

_SIZES = np.array(
    [
        (1280, 720),
        (720, 1280),
        (1920, 1080),
        (1080, 1920),
        (640, 480),
        (1440, 1080),
        (1080, 1440),
        (1024, 1024),
    ]
)
_MIN_CAMERA_HEIGHT = 0.15
"""Metres above the ground."""

_MAX_PELVIS_OFFSET = 0.8
"""Largest offset of the pelvis from the image's centre, as a fraction of the way to its edge."""


@dataclass(frozen=True)
class CameraConfig:
    """Configure the distributions of cameras.

    Narrow ranges cost 7 to 9 mm on real clips, which adaptation does not repair."""

    pitch: tuple[float, float] = (0.25, 0.2)
    """Mean and standard deviation of the angle by which the camera looks down, radians."""
    roll: tuple[float, float] = (0.18, 0.6)
    """Standard deviation of the roll, radians, and the fraction of cameras with a roll."""
    offset: tuple[float, float] = (0.11, 0.10)
    """Standard deviations of the person's x/z and y/z in the camera frame."""
    distance: tuple[float, float] = (2.4, 8.0)
    """Least and greatest depth of the person, metres; log-uniform."""
    focal: tuple[float, float] = (0.65, 1.6)
    """Least and greatest focal length as a fraction of the image's long side (23 to 58 mm on a full frame);
    log-uniform."""
    panning: float = 0.25
    """Fraction of clips in which the camera pans with the person."""
    hand_held: float = 0.4
    """Fraction of clips with a hand-held, shaking camera."""
    size: tuple[int, int] | None = None
    """Width and height of all images, px; None draws one of the common sizes for each clip."""


@dataclass(frozen=True, eq=False)
class Views:
    """One camera per clip, which may move."""

    camera: Camera
    """focal and center (clips, 1, 2); R_cam_world (clips, frames, 3, 3); t_cam_world (clips, frames, 3)."""
    size: Int[Tensor, "clips 2"]
    """Width and height, px."""


def sample_views(
    rng: np.random.Generator, config: CameraConfig, p_world_root: Float[Tensor, "clips frames 3"], fps: float
) -> Views:
    """Draw cameras that look at the people with the given roots. The ground is y = 0."""
    path = p_world_root.double().numpy()
    clips, frames = path.shape[:2]
    anchor, sizes = path.mean(1), _sizes(rng, config, clips)
    distance = _log_uniform(rng, config.distance, clips)
    focal = _log_uniform(rng, config.focal, clips) * sizes.max(1)
    reach = _MAX_PELVIS_OFFSET * sizes / (2 * focal[:, None])
    offset = np.clip(rng.normal(0, config.offset, (clips, 2)), -reach, reach)
    offset = np.concatenate([offset, np.ones((clips, 1))], axis=-1)
    roll = rng.normal(0, config.roll[0], clips) * (rng.random(clips) < config.roll[1])
    pitch = np.maximum(rng.normal(*config.pitch, clips), _min_pitch(anchor, distance, offset, roll))
    R = _rotation_z(roll) @ _rotation_x(pitch) @ np.diag([1.0, -1.0, -1.0])
    p_world_cam = anchor - np.einsum("cji,cj->ci", R, distance[:, None] * offset)
    rotation, shift = _movement(rng, config, path - p_world_cam[:, None], fps)
    R_cam_world = rotation @ R[:, None]
    t_cam_world = -np.einsum("cfij,cfj->cfi", R_cam_world, p_world_cam[:, None] + shift)
    camera = Camera(
        focal=torch.from_numpy(np.repeat(focal[:, None, None], 2, axis=2)).float(),
        center=torch.from_numpy((sizes[:, None] - 1) / 2).float(),
        R_cam_world=torch.from_numpy(R_cam_world).float(),
        t_cam_world=torch.from_numpy(t_cam_world).float(),
    )
    return Views(camera, torch.from_numpy(sizes))


def _min_pitch(anchor: np.ndarray, distance: np.ndarray, offset: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Compute the pitch of a camera at the least height. Its height above the person is distance (y cos pitch + sin
    pitch), where y is the person's offset in the image before the roll."""
    y = np.einsum("cij,cj->ci", _rotation_z(-roll), offset)[:, 1]
    rise = (_MIN_CAMERA_HEIGHT - anchor[:, 1]) / (distance * np.hypot(1, y))
    return np.arcsin(np.clip(rise, -1, 1)) - np.arctan(y)


def _sizes(rng: np.random.Generator, config: CameraConfig, clips: int) -> np.ndarray:
    if config.size is not None:
        return np.tile(np.array(config.size), (clips, 1))
    return _SIZES[rng.integers(len(_SIZES), size=clips)]


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float], count: int) -> np.ndarray:
    return np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]), count))


def _movement(
    rng: np.random.Generator, config: CameraConfig, p_from_camera: np.ndarray, fps: float
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the rotation (clips, frames, 3, 3) of the camera frame in each frame, and the shift (clips, frames, 3) of
    the camera in the world, metres."""
    clips, frames = p_from_camera.shape[:2]
    panning = rng.random(clips) < config.panning
    held = rng.random(clips) < config.hand_held
    heading = np.unwrap(np.arctan2(p_from_camera[..., 0], -p_from_camera[..., 2]), axis=1)
    pan = (running_mean(heading, round(fps / 2)) - heading.mean(1, keepdims=True)) * panning[:, None]
    amount = held * np.exp(rng.normal(np.log(0.006), 0.5, clips))
    shaken = tremble(rng, clips, frames, fps) * amount[:, None, None]
    rotation = _rotation_x(shaken[..., 0]) @ _rotation_y(shaken[..., 1] - pan) @ _rotation_z(shaken[..., 2])
    return rotation, shaken[..., 3:] * 1.5


def running_mean(values: np.ndarray, radius: int) -> np.ndarray:
    """Compute a running mean over time; the ends repeat."""
    padded = np.pad(values, ((0, 0), (radius, radius)), mode="edge")
    summed = np.cumsum(np.pad(padded, ((0, 0), (1, 0))), axis=1)
    return (summed[:, 2 * radius + 1 :] - summed[:, : -2 * radius - 1]) / (2 * radius + 1)


def tremble(rng: np.random.Generator, clips: int, frames: int, fps: float) -> np.ndarray:
    """Draw (clips, frames, 6) of about unit size: slow sway and quick shake, zero in the first frame."""
    time = np.arange(frames)[None, :, None, None] / fps
    hertz = rng.uniform([0.2, 0.5, 1.5, 4.0], [0.5, 1.5, 4.0, 8.0], (clips, 1, 6, 4))
    size = np.array([0.8, 0.5, 0.25, 0.1]) * rng.normal(size=(clips, 1, 6, 4))
    waves = size * np.sin(2 * np.pi * (hertz * time + rng.random((clips, 1, 6, 4))))
    return (waves - waves[:, :1]).sum(-1)


def _rotation(angle: np.ndarray, first: int, second: int) -> np.ndarray:
    R = np.zeros((*angle.shape, 3, 3))
    R[...] = np.eye(3)
    R[..., first, first] = R[..., second, second] = np.cos(angle)
    R[..., second, first] = np.sin(angle)
    R[..., first, second] = -R[..., second, first]
    return R


def _rotation_x(angle: np.ndarray) -> np.ndarray:
    return _rotation(angle, 1, 2)


def _rotation_y(angle: np.ndarray) -> np.ndarray:
    return _rotation(angle, 2, 0)


def _rotation_z(angle: np.ndarray) -> np.ndarray:
    return _rotation(angle, 0, 1)
