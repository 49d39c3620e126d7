"""Photographs of a scene: of the crops that a network sees, or of whole images."""

from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from selfmocap.geometry.camera import CROP_SIZE, to_crop
from selfmocap.synthetic.backgrounds import Backgrounds, background_homographies, fill, sample_backgrounds
from selfmocap.synthetic.develop import Film, Ground, develop, sample_film
from selfmocap.synthetic.scene import Scene, ground_of, ray_matrices
from selfmocap.synthetic.shading import Drawn

_Rows = TypeVar("_Rows", bound=tuple[Any, ...])


class Windows(NamedTuple):
    """What part of an image each picture shows."""

    lens: np.ndarray
    """(pictures, 4): focal lengths and principal point, px of the picture."""
    edges: np.ndarray
    """(pictures, 4): left, top, right, bottom of the image, px of the picture."""
    enlarged: np.ndarray
    """(pictures,): px of the picture per px of the image."""


class Setting(NamedTuple):
    """What is behind and beneath the people, and the film that they are taken on; one row a picture."""

    background: np.ndarray
    """(pictures,) int: which background."""
    ray_to_background: np.ndarray
    """(pictures, 3, 3): ray in the camera frame to homogeneous px of the background."""
    ground: Ground
    film: Film


def some(rows: _Rows, pictures: slice) -> _Rows:
    """Some of the pictures of a tuple of arrays (and of tuples)."""
    chosen = (some(row, pictures) if isinstance(row, tuple) else row[pictures] for row in rows)
    return type(rows)(*chosen)


def crop_windows(scene: Scene, boxes: np.ndarray) -> Windows:
    """The crops that `boxes` (clips, frames, 3: centre x, centre y, half side) cut, CROP_SIZE px a side."""
    tensor = torch.from_numpy(boxes)
    lens = scene.views.camera.to(torch.float64).crop(tensor)
    size = scene.views.size.double()
    corners = torch.stack([torch.full_like(size, -0.5), size - 0.5], dim=1)[:, None]
    return Windows(
        lens=torch.cat([lens.focal, lens.center], dim=-1).reshape(-1, 4).numpy(),
        edges=to_crop(corners, tensor).reshape(-1, 4).numpy(),
        enlarged=CROP_SIZE / (2 * boxes[..., 2].reshape(-1)),
    )


def whole_images(scene: Scene) -> Windows:
    """The whole image of every frame."""
    frames = scene.joints_cam.shape[1]
    camera, size = scene.views.camera, scene.views.size.double().numpy()
    lens = torch.cat([camera.focal, camera.center], dim=-1).double()[:, 0].numpy()
    edges = np.concatenate([np.full_like(size, -0.5), size - 0.5], axis=1)
    return Windows(
        np.repeat(lens, frames, axis=0), np.repeat(edges, frames, axis=0), np.ones(len(lens) * frames)
    )


def sample_setting(
    rng: np.random.Generator, scene: Scene, windows: Windows, backgrounds: Backgrounds
) -> Setting:
    """Backgrounds that turn with the cameras, and one film a clip."""
    camera, (clips, frames) = scene.views.camera, scene.joints_cam.shape[:2]
    chosen = sample_backgrounds(rng, backgrounds, clips)
    homographies = background_homographies(
        rng, backgrounds, chosen, camera.R_cam_world.double().numpy(), scene.views.size.numpy(),
        camera.focal[:, 0, 0].double().numpy(),
    ).reshape(-1, 3, 3)  # fmt: skip
    each = np.repeat(chosen, frames)
    film = sample_film(rng, clips, frames)
    blur = np.hypot(film.blur, 0.5 * np.maximum(windows.enlarged - 1, 0))
    return Setting(
        background=each,
        ray_to_background=homographies,
        ground=ground_of(scene, windows.lens, np.isfinite(backgrounds.pitch[each])),
        film=film._replace(blur=blur.astype(np.float32)),
    )


def photographs(drawn: Drawn, windows: Windows, setting: Setting, backgrounds: Backgrounds) -> np.ndarray:
    """(pictures, height, width, 3) uint8 RGB."""
    _, height, width = drawn.person.shape
    to_background = setting.ray_to_background @ ray_matrices(windows.lens)
    behind = fill(to_background, backgrounds.images, setting.background, (height, width))
    return develop(behind, drawn, setting.ground, setting.film, windows.edges)


def in_image(windows: Windows, side: int = CROP_SIZE) -> np.ndarray:
    """(pictures, side, side) bool: which pixels of square pictures lie in the image."""
    left, top, right, bottom = windows.edges.T[:, :, None]
    pixel = np.arange(side)
    across, down = (pixel >= left) & (pixel <= right), (pixel >= top) & (pixel <= bottom)
    return down[:, :, None] & across[:, None, :]
