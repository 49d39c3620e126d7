"""Background images of synthetic people: photographs from a folder, or procedural rooms and fields."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from selfmocap.geometry.kernels import njit_cached, parallel_for

BACKGROUND_SIDE = 320
"""Side of stored background images, px."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_HORIZON = re.compile(r"_down(-?\d{1,2})_fov(\d{2,3})(?=[_.])")
_MAX_IMAGES = 4096
_MAX_PIXELS = 1 << 26


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """Square images, and the camera of each where it is known."""

    images: np.ndarray
    """(images, BACKGROUND_SIDE, BACKGROUND_SIDE, 3) uint8 RGB."""
    pitch: np.ndarray
    """(images,) angle by which the camera looks down, radians; NaN where the horizon is unknown."""
    focal: np.ndarray
    """(images,) focal length, px of the stored image; NaN where it is unknown."""

    def __len__(self) -> int:
        return len(self.images)


def load_backgrounds(folder: Path | str) -> Backgrounds:
    """Read the images of a folder; subfolders are ignored.

    A file name with `_down8_fov70` gives the camera's angle below the horizon and its field of view, degrees. Raises
    FileNotFoundError or ValueError that names the problem."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected a folder of photographs without people")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)[:_MAX_IMAGES]
    if not paths:
        raise ValueError(f"{folder}: no images; expected files that end in {', '.join(_SUFFIXES)}")
    pitch, focal = np.full(len(paths), np.nan), np.full(len(paths), np.nan)
    for i, path in enumerate(paths):
        if known := _HORIZON.search(path.name):
            pitch[i] = np.deg2rad(float(known[1]))
            focal[i] = BACKGROUND_SIDE / 2 / np.tan(np.deg2rad(np.clip(float(known[2]), 10, 150)) / 2)
    return Backgrounds(np.stack([_square(path) for path in paths]), pitch, focal)


def _square(path: Path) -> np.ndarray:
    """Cut the central square and resize it to BACKGROUND_SIDE pixels a side."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels; expected at most {_MAX_PIXELS}")
            side = min(image.size)
            left, top = (image.width - side) / 2, (image.height - side) / 2
            box = (left, top, left + side, top + side)
            return np.asarray(
                image.convert("RGB").resize((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.BOX, box=box)
            )
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error}); remove or convert it") from error


# ---- procedural -----------------------------------------------------------------------------------------------


def procedural_backgrounds(count: int = 64, seed: int = 0) -> Backgrounds:
    """Draw rooms and fields: a wall or sky that meets a floor at a known horizon, with boxes, texture and shades."""
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(0.0, 0.25, count)
    focal = BACKGROUND_SIDE / 2 / np.tan(np.deg2rad(rng.uniform(60, 80, count)) / 2)
    images = [_procedural(rng, pitch[i], focal[i]) for i in range(count)]
    return Backgrounds(np.stack(images), pitch, focal)


def _procedural(rng: np.random.Generator, pitch: float, focal: float) -> np.ndarray:
    row = np.arange(BACKGROUND_SIDE)[:, None] * np.ones(BACKGROUND_SIDE)
    # The wall meets the floor some metres away, so a little below the horizon.
    edge = BACKGROUND_SIDE / 2 - focal * np.tan(pitch - rng.uniform(0.02, 0.2))
    wall, floor = rng.uniform(0.05, 0.9, 3), rng.uniform(0.05, 0.7, 3)
    image = np.where((row > edge)[..., None], floor, wall) * np.ones((BACKGROUND_SIDE, BACKGROUND_SIDE, 3))
    for _ in range(rng.integers(3, 14)):
        _add_box(rng, image, edge)
    for cells, size in ((4, 0.25), (20, 0.12), (80, 0.1)):
        image *= 1 + rng.uniform(0, size) * _smooth_noise(rng, cells)[..., None]
    return (np.clip(image, 0, 1) ** (1 / 1.6) * 255).astype(np.uint8)


def _add_box(rng: np.random.Generator, image: np.ndarray, edge: float) -> None:
    """Draw a box with a lit and a dark half at a random position, in place."""
    width, height = rng.integers(8, 120, 2)
    left = int(rng.integers(-40, BACKGROUND_SIDE))
    bottom = int(np.clip(edge + rng.normal(0, 50), 10, BACKGROUND_SIDE + 40))
    colour = rng.uniform(0.03, 0.9, 3)
    seam = left + int(width * rng.random())
    image[max(bottom - height, 0) : bottom, max(left, 0) : max(seam, 0)] = colour
    image[max(bottom - height, 0) : bottom, max(seam, 0) : max(left + width, 0)] = colour * rng.uniform(
        0.4, 0.9
    )


def _smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    """Return (BACKGROUND_SIDE, BACKGROUND_SIDE) noise with `cells` random values a side, interpolated between them."""
    coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((BACKGROUND_SIDE, BACKGROUND_SIDE), Image.Resampling.BICUBIC))


# ---- behind a person ------------------------------------------------------------------------------------------


def sample_backgrounds(rng: np.random.Generator, backgrounds: Backgrounds, clips: int) -> np.ndarray:
    """Draw the index of each clip's background image."""
    return rng.integers(len(backgrounds), size=clips)


def background_homographies(
    rng: np.random.Generator, backgrounds: Backgrounds, chosen: np.ndarray, R_cam_world: np.ndarray,
    image_size: np.ndarray, focal: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Compute (clips, frames, 3, 3) homographies from rays in the camera frame to px of the chosen images.

    The background is infinitely far. Where its horizon is known, it becomes the horizon of the world; elsewhere the
    image is upright in the camera of the first frame.

    R_cam_world: (clips, frames, 3, 3). image_size: (clips, 2) px. focal: (clips,) px."""
    clips = len(chosen)
    pitch = backgrounds.pitch[chosen]
    known = np.isfinite(pitch)
    pitch = np.where(known, pitch, 0.0)
    R_known = np.zeros((clips, 3, 3))
    sine, cosine = np.sin(pitch), np.cos(pitch)
    R_known[:, 0, 0] = 1
    R_known[:, 1, 1], R_known[:, 1, 2] = -cosine, sine
    R_known[:, 2, 1], R_known[:, 2, 2] = -sine, -cosine
    R_picture_world = np.where(known[:, None, None], R_known, R_cam_world[:, 0])
    covered = np.exp(rng.uniform(np.log(0.4), np.log(1.2), clips)) * image_size.max(1)
    lens = np.where(known, backgrounds.focal[chosen], focal * BACKGROUND_SIDE / covered)
    K = np.zeros((clips, 3, 3))
    K[:, 0, 0] = lens * np.where(rng.random(clips) < 0.5, 1, -1)
    K[:, 1, 1] = lens
    K[:, :2, 2] = (BACKGROUND_SIDE - 1) / 2 + rng.normal(0, 0.12, (clips, 2)) * BACKGROUND_SIDE * np.stack(
        [np.ones(clips), ~known], -1
    )
    K[:, 2, 2] = 1
    return np.einsum("cij,cjk,cflk->cfil", K, R_picture_world, R_cam_world, optimize=True)


def warp_backgrounds(
    homographies: np.ndarray, images: np.ndarray, chosen: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """Warp the images `images[chosen]` by `homographies` (images, 3, 3), which map a pixel (x, y, 1) to px of the
    background. Beyond its edges a background is mirrored. Returns (images, height, width, 3) float32 in [0, 1]."""
    out = np.empty((len(chosen), *size, 3), np.float32)
    parallel_for(_warp, len(chosen), homographies, images, chosen, out)
    return out


@njit_cached
def _warp(first, last, homographies, images, chosen, out):
    side = images.shape[1]
    # Two loops per row: the first, without branches, computes coordinates and is vectorised; the second samples.
    xs, ys = np.empty(out.shape[2]), np.empty(out.shape[2])
    for n in range(first, last):
        h, image = homographies[n], images[chosen[n]]
        for row in range(out.shape[1]):
            for column in range(out.shape[2]):
                w = h[2, 0] * column + h[2, 1] * row + h[2, 2]
                w = 1.0 / (w if w > 1e-3 else 1e-3)
                xs[column] = _mirrored((h[0, 0] * column + h[0, 1] * row + h[0, 2]) * w, side)
                ys[column] = _mirrored((h[1, 0] * column + h[1, 1] * row + h[1, 2]) * w, side)
            for column in range(out.shape[2]):
                x, y = xs[column], ys[column]
                i, j = int(y), int(x)
                i1, j1 = min(i + 1, side - 1), min(j + 1, side - 1)
                v, u = (y - i) / 255.0, x - j
                t = 1 / 255.0 - v
                for channel in range(3):
                    above = image[i, j, channel] * (1 - u) + image[i, j1, channel] * u
                    below = image[i1, j, channel] * (1 - u) + image[i1, j1, channel] * u
                    out[n, row, column, channel] = above * t + below * v


@njit_cached
def _mirrored(position, side):
    """Fold a position into [0, side - 1]."""
    period = 2.0 * (side - 1)
    position = abs(position)
    position -= period * np.floor(position * (1.0 / period))
    return min(position, period - position)
