"""Render images of a scene: crops for a network, or full images."""

from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from selfmocap.geometry.camera import CROP_SIZE, to_crop
from selfmocap.synthetic.backgrounds import (
    Backgrounds,
    background_homographies,
    sample_backgrounds,
    warp_backgrounds,
)
from selfmocap.synthetic.camera_effects import (
    CameraEffects,
    GroundShadows,
    compose_images,
    sample_camera_effects,
)
from selfmocap.synthetic.scene import Scene, ground_shadows, ray_matrices
from selfmocap.synthetic.shading import RenderedFigures

_Rows = TypeVar("_Rows", bound=tuple[Any, ...])


class ImageWindows(NamedTuple):
    """The part of the camera's image that each rendered image shows."""

    intrinsics: np.ndarray
    """(images, 4): focal lengths and principal point, px of the rendered image."""
    image_bounds: np.ndarray
    """(images, 4): left, top, right, bottom of the camera's image, px of the rendered image."""
    scale: np.ndarray
    """(images,): px of the rendered image per px of the camera's image."""


class SceneBackground(NamedTuple):
    """Background, ground and camera effects of rendered images; one row per image."""

    image_index: np.ndarray
    """(images,) int: the index of the background."""
    ray_to_background: np.ndarray
    """(images, 3, 3): ray in the camera frame to homogeneous px of the background."""
    shadows: GroundShadows
    effects: CameraEffects


def select_images(rows: _Rows, images: slice) -> _Rows:
    """Select some images of a tuple of arrays (and of tuples)."""
    chosen = (select_images(row, images) if isinstance(row, tuple) else row[images] for row in rows)
    return type(rows)(*chosen)


def crop_windows(scene: Scene, boxes: np.ndarray) -> ImageWindows:
    """Compute the windows of the crops of `boxes` (clips, frames, 3: centre x, centre y, half side), CROP_SIZE px a
    side."""
    tensor = torch.from_numpy(boxes)
    lens = scene.views.camera.to(torch.float64).crop(tensor)
    size = scene.views.size.double()
    corners = torch.stack([torch.full_like(size, -0.5), size - 0.5], dim=1)[:, None]
    return ImageWindows(
        intrinsics=torch.cat([lens.focal, lens.center], dim=-1).reshape(-1, 4).numpy(),
        image_bounds=to_crop(corners, tensor).reshape(-1, 4).numpy(),
        scale=CROP_SIZE / (2 * boxes[..., 2].reshape(-1)),
    )


def full_image_windows(scene: Scene) -> ImageWindows:
    """Compute the windows of the full image of every frame."""
    frames = scene.joints_cam.shape[1]
    camera, size = scene.views.camera, scene.views.size.double().numpy()
    lens = torch.cat([camera.focal, camera.center], dim=-1).double()[:, 0].numpy()
    edges = np.concatenate([np.full_like(size, -0.5), size - 0.5], axis=1)
    return ImageWindows(
        np.repeat(lens, frames, axis=0), np.repeat(edges, frames, axis=0), np.ones(len(lens) * frames)
    )


def sample_scene_background(
    rng: np.random.Generator, scene: Scene, windows: ImageWindows, backgrounds: Backgrounds
) -> SceneBackground:
    """Draw backgrounds that rotate with the cameras, and the camera effects of each clip."""
    camera, (clips, frames) = scene.views.camera, scene.joints_cam.shape[:2]
    chosen = sample_backgrounds(rng, backgrounds, clips)
    homographies = background_homographies(
        rng, backgrounds, chosen, camera.R_cam_world.double().numpy(), scene.views.size.numpy(),
        camera.focal[:, 0, 0].double().numpy(),
    ).reshape(-1, 3, 3)  # fmt: skip
    image_index = np.repeat(chosen, frames)
    effects = sample_camera_effects(rng, clips, frames)
    blur = np.hypot(effects.blur, 0.5 * np.maximum(windows.scale - 1, 0))
    return SceneBackground(
        image_index=image_index,
        ray_to_background=homographies,
        shadows=ground_shadows(scene, windows.intrinsics, np.isfinite(backgrounds.pitch[image_index])),
        effects=effects._replace(blur=blur.astype(np.float32)),
    )


def render_images(
    figures: RenderedFigures, windows: ImageWindows, background: SceneBackground, backgrounds: Backgrounds
) -> np.ndarray:
    """Compose rendered figures with their backgrounds to images (images, height, width, 3) uint8 RGB."""
    _, height, width = figures.person.shape
    to_background = background.ray_to_background @ ray_matrices(windows.intrinsics)
    behind = warp_backgrounds(to_background, backgrounds.images, background.image_index, (height, width))
    return compose_images(behind, figures, background.shadows, background.effects, windows.image_bounds)


def pixels_in_image(windows: ImageWindows, side: int = CROP_SIZE) -> np.ndarray:
    """Return (images, side, side) bool: the pixels of square windows that lie in the camera's image."""
    left, top, right, bottom = windows.image_bounds.T[:, :, None]
    pixel = np.arange(side)
    across, down = (pixel >= left) & (pixel <= right), (pixel >= top) & (pixel <= bottom)
    return down[:, :, None] & across[:, None, :]
