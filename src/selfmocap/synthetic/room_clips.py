"""Clips of a person in a room, filmed by a camera that moves, with their truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import Camera
from selfmocap.synthetic.appearance import AppearanceConfig
from selfmocap.synthetic.camera_effects import compose_images, sample_camera_effects
from selfmocap.synthetic.cameras import Views, running_mean, tremble
from selfmocap.synthetic.config import CameraMove
from selfmocap.synthetic.motions import MotionClip, sample_poses, scale_root_path
from selfmocap.synthetic.rendering import full_image_windows, select_images
from selfmocap.synthetic.rooms import render_room, sample_room
from selfmocap.synthetic.scene import Scene, figure_assets, ground_shadows, pose_scene
from selfmocap.synthetic.shading import render_figures

CAMERA_MOVES: tuple[CameraMove, ...] = get_args(CameraMove)

_FRAMES_PER_BATCH = 8
_DISTANCE, _EYE_HEIGHT = (2.6, 4.5), (1.2, 1.7)
"""Of the camera from the person, and above the floor, metres."""
_TREMBLE_ANGLE, _TREMBLE_METRES = 0.012, 0.02
"""Standard deviations of a hand's tremble, radians and metres."""
_WALKING_SPEED = (0.5, 1.1)
"""m/s."""
_CIRCLED = (0.6, 1.6)
"""Radians about the person."""


@dataclass(frozen=True, eq=False)
class RoomClip:
    """One person in a room."""

    scene: Scene
    """A scene of one clip, with its camera of every frame."""
    images: np.ndarray
    """(frames, height, width, 3) uint8 RGB."""
    masks: np.ndarray
    """(frames, height, width) bool: the pixels of the person and what they hold."""
    fps: float

    @property
    def camera(self) -> Camera:
        """The camera of every frame."""
        camera = self.scene.views.camera
        return Camera(camera.focal[0, 0], camera.center[0, 0], camera.R_cam_world[0], camera.t_cam_world[0])


@torch.no_grad()
def sample_room_clip(
    seeds: np.random.SeedSequence,
    move: CameraMove,
    frames: int,
    size: tuple[int, int],
    motions: Sequence[MotionClip],
    textures: np.ndarray,
    body: Body,
    fps: float = 30.0,
    focal: float = 1.0,
) -> RoomClip:
    """Generate a clip of `size` (width, height) px, which depends on the arguments only.

    `focal` is a fraction of the longer side; `textures` are those of `sample_room`. The floor is y = 0."""
    rng = np.random.default_rng(seeds)
    poses = sample_poses(rng, motions, 1, frames, fps)
    betas = torch.from_numpy(rng.normal(size=(1, body.num_betas)).clip(-2, 2)).float()
    path = scale_root_path(body, betas, poses.p_world_root)
    camera = sample_room_camera(rng, move, path[0].double().numpy(), fps, size, focal)
    parameters = BodyParameters(betas[:, None], poses.R_parent_joint, path)
    views = Views(camera, torch.tensor([size]))
    scene = pose_scene(rng, AppearanceConfig(), parameters, views, body)
    windows = full_image_windows(scene)
    R, eye = camera.R_cam_world[0].double().numpy(), camera.p_world_cam[0].double().numpy()
    room = sample_room(rng, textures, np.concatenate([path[0].double().numpy(), eye]))
    shadows = ground_shadows(scene, windows.intrinsics, np.ones(frames, bool))
    effects, model = sample_camera_effects(rng, 1, frames), figure_assets(body).model
    shape = (size[1], size[0])
    images, masks = np.empty((frames, *shape, 3), np.uint8), np.empty((frames, *shape), bool)
    for first in range(0, frames, _FRAMES_PER_BATCH):
        batch = slice(first, first + _FRAMES_PER_BATCH)
        figures = render_figures(
            scene.vertices[batch],
            windows.intrinsics[batch],
            select_images(scene.appearance, batch),
            model,
            shape,
            1,
            True,
        )
        behind = render_room(room, windows.intrinsics[batch], R[batch], eye[batch], shape)
        images[batch] = compose_images(
            behind,
            figures,
            select_images(shadows, batch),
            select_images(effects, batch),
            windows.image_bounds[batch],
        )
        masks[batch] = figures.coverage > 0
    return RoomClip(scene, images, masks, fps)


def sample_room_camera(
    rng: np.random.Generator,
    move: CameraMove,
    person: np.ndarray,
    fps: float,
    size: tuple[int, int],
    focal: float,
) -> Camera:
    """Draw a camera (1, frames) that looks at a person with the root path `person` (frames, 3)."""
    frames = len(person)
    followed = running_mean(person.T, round(fps / 2)).T
    heading, distance, height = rng.uniform(-np.pi, np.pi), rng.uniform(*_DISTANCE), rng.uniform(*_EYE_HEIGHT)
    turned = rng.uniform(*_CIRCLED) * np.linspace(0, 1, frames) if move == "circle" else np.zeros(frames)
    around = np.stack([np.sin(heading + turned), np.zeros(frames), np.cos(heading + turned)], axis=1)
    eye = person.mean(0) + distance * around
    eye[:, 1] = height
    if move == "walk":
        along = heading + rng.choice((-1, 1)) * rng.uniform(0.9, 1.5)
        metres = rng.uniform(*_WALKING_SPEED) * (np.arange(frames) / fps - frames / fps / 2)
        eye = eye + metres[:, None] * np.array([np.sin(along), 0.0, np.cos(along)])
    shaken = tremble(rng, 1, frames, fps)[0] * (move in ("hand-held", "walk", "circle"))
    eye = eye + _TREMBLE_METRES * shaken[:, 3:]
    target = followed if move in ("pan", "walk") else np.broadcast_to(person.mean(0), person.shape)
    R = _looking_at(target - eye)
    R = roma.rotvec_to_rotmat(torch.from_numpy(_TREMBLE_ANGLE * shaken[:, :3])).numpy() @ R
    t = -np.einsum("fij,fj->fi", R, eye)
    longer = focal * max(size)
    return Camera(
        focal=torch.full((1, 1, 2), longer),
        center=(torch.tensor(size, dtype=torch.float32) - 1)[None, None] / 2,
        R_cam_world=torch.from_numpy(R).float()[None],
        t_cam_world=torch.from_numpy(t).float()[None],
    )


def _looking_at(direction: np.ndarray) -> np.ndarray:
    """Compute (n, 3, 3) rotations from the world to upright cameras that look along `direction` (n, 3)."""
    z = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    x = np.cross(z, [0.0, 1.0, 0.0])
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], axis=1)
