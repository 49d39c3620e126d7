"""What stands behind a synthetic person: photographs of a folder, or procedural rooms and fields."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from selfmocap.geometry.kernels import njit_cached, parallel_for

SIDE = 320
"""Pixels a side that backgrounds are kept at."""

_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
_HORIZON = re.compile(r"_down(-?\d{1,2})_fov(\d{2,3})(?=[_.])")
_MOST = 4096
_MAX_PIXELS = 1 << 26


@dataclass(frozen=True, eq=False)
class Backgrounds:
    """Square pictures, and the camera that took each, where it is known."""

    images: np.ndarray
    """(pictures, SIDE, SIDE, 3) uint8 RGB."""
    pitch: np.ndarray
    """(pictures,) radians by which its camera looked down; NaN where the horizon is unknown."""
    focal: np.ndarray
    """(pictures,) px of the kept picture; NaN where unknown."""

    def __len__(self) -> int:
        return len(self.images)


def load_backgrounds(folder: Path | str) -> Backgrounds:
    """The pictures of a folder (not of folders in it). A name that holds `_down8_fov70`, degrees below the horizon and
    of field of view, says where the horizon is. Raises FileNotFoundError or ValueError naming what is wrong."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; a folder of photographs without people is expected")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)[:_MOST]
    if not paths:
        raise ValueError(f"{folder}: no picture in it; expected files that end in {', '.join(_SUFFIXES)}")
    pitch, focal = np.full(len(paths), np.nan), np.full(len(paths), np.nan)
    for i, path in enumerate(paths):
        if known := _HORIZON.search(path.name):
            pitch[i] = np.deg2rad(float(known[1]))
            focal[i] = SIDE / 2 / np.tan(np.deg2rad(np.clip(float(known[2]), 10, 150)) / 2)
    return Backgrounds(np.stack([_square(path) for path in paths]), pitch, focal)


def _square(path: Path) -> np.ndarray:
    """The middle of a picture, SIDE pixels a side."""
    try:
        with Image.open(path, formats=("JPEG", "PNG", "WEBP")) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels, more than {_MAX_PIXELS}")
            side = min(image.size)
            left, top = (image.width - side) / 2, (image.height - side) / 2
            box = (left, top, left + side, top + side)
            return np.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX, box=box))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: not a picture that can be read ({error}); remove or convert it") from error


# ---- procedural -----------------------------------------------------------------------------------------------


def procedural_backgrounds(count: int = 64, seed: int = 0) -> Backgrounds:
    """Rooms and fields: a wall or sky that meets a floor at a known horizon, things, texture, uneven light."""
    rng = np.random.default_rng(seed)
    pitch = rng.uniform(0.0, 0.25, count)
    focal = SIDE / 2 / np.tan(np.deg2rad(rng.uniform(60, 80, count)) / 2)
    images = [_procedural(rng, pitch[i], focal[i]) for i in range(count)]
    return Backgrounds(np.stack(images), pitch, focal)


def _procedural(rng: np.random.Generator, pitch: float, focal: float) -> np.ndarray:
    row = np.arange(SIDE)[:, None] * np.ones(SIDE)
    # The wall meets the floor some metres away, so a little below the horizon.
    edge = SIDE / 2 - focal * np.tan(pitch - rng.uniform(0.02, 0.2))
    wall, floor = rng.uniform(0.05, 0.9, 3), rng.uniform(0.05, 0.7, 3)
    image = np.where((row > edge)[..., None], floor, wall) * np.ones((SIDE, SIDE, 3))
    for _ in range(rng.integers(3, 14)):
        _add_thing(rng, image, edge)
    for cells, size in ((4, 0.25), (20, 0.12), (80, 0.1)):
        image *= 1 + rng.uniform(0, size) * _smooth_noise(rng, cells)[..., None]
    return (np.clip(image, 0, 1) ** (1 / 1.6) * 255).astype(np.uint8)


def _add_thing(rng: np.random.Generator, image: np.ndarray, edge: float) -> None:
    """A box with a lit and a dark half, standing somewhere."""
    width, height = rng.integers(8, 120, 2)
    left = int(rng.integers(-40, SIDE))
    bottom = int(np.clip(edge + rng.normal(0, 50), 10, SIDE + 40))
    colour = rng.uniform(0.03, 0.9, 3)
    seam = left + int(width * rng.random())
    image[max(bottom - height, 0) : bottom, max(left, 0) : max(seam, 0)] = colour
    image[max(bottom - height, 0) : bottom, max(seam, 0) : max(left + width, 0)] = colour * rng.uniform(
        0.4, 0.9
    )


def _smooth_noise(rng: np.random.Generator, cells: int) -> np.ndarray:
    coarse = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
    return np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


# ---- behind a person ------------------------------------------------------------------------------------------


def sample_backgrounds(rng: np.random.Generator, backgrounds: Backgrounds, clips: int) -> np.ndarray:
    """Which picture stands behind each clip."""
    return rng.integers(len(backgrounds), size=clips)


def background_homographies(
    rng: np.random.Generator, backgrounds: Backgrounds, chosen: np.ndarray, R_cam_world: np.ndarray,
    image_size: np.ndarray, focal: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """(clips, frames, 3, 3): rays in the camera frame to homogeneous px of the chosen pictures. The background is
    infinitely far; where its horizon is known it is the world's, elsewhere it is upright as the camera first was.

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
    lens = np.where(known, backgrounds.focal[chosen], focal * SIDE / covered)
    K = np.zeros((clips, 3, 3))
    K[:, 0, 0] = lens * np.where(rng.random(clips) < 0.5, 1, -1)
    K[:, 1, 1] = lens
    K[:, :2, 2] = (SIDE - 1) / 2 + rng.normal(0, 0.12, (clips, 2)) * SIDE * np.stack(
        [np.ones(clips), ~known], -1
    )
    K[:, 2, 2] = 1
    return np.einsum("cij,cjk,cflk->cfil", K, R_picture_world, R_cam_world, optimize=True)


def fill(
    homographies: np.ndarray, images: np.ndarray, chosen: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """(pictures, height, width, 3) float32 in [0, 1]: backgrounds `images[chosen]` through `homographies` (pictures,
    3, 3), which take a pixel (x, y, 1) to px of the background; mirrored beyond its edges."""
    out = np.empty((len(chosen), *size, 3), np.float32)
    parallel_for(_fill, len(chosen), homographies, images, chosen, out)
    return out


@njit_cached
def _fill(first, last, homographies, images, chosen, out):
    side = images.shape[1]
    # A loop without branches for where a row is seen, another for what is seen there: the first is vectorised.
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
    """A position folded into [0, side - 1]."""
    period = 2.0 * (side - 1)
    position = abs(position)
    position -= period * np.floor(position * (1.0 / period))
    return min(position, period - position)
