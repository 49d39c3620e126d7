"""Compose images of rendered figures and backgrounds: shadows on the ground, then the effects of a phone's camera."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from selfmocap.geometry.kernels import njit_cached, parallel_for
from selfmocap.synthetic.shading import RenderedFigures

NUM_SHADOWS = 6
"""Shadows per image."""


class GroundShadows(NamedTuple):
    """Soft shadows on the ground below a person."""

    homography: np.ndarray
    """(images, 3, 3): pixel (x, y, 1) to homogeneous ground coordinates (world x and z, metres); zeros without a known
    ground."""
    shadows: np.ndarray
    """(images, NUM_SHADOWS, 4): x, z, radius (m) and strength in [0, 1] of each shadow."""


class CameraEffects(NamedTuple):
    """Effects of a camera on its images; one row per image, float32."""

    gain: np.ndarray
    """(images, 3) colour balance and exposure."""
    contrast: np.ndarray
    """(images,) about middle grey."""
    blur: np.ndarray
    """(images,) standard deviation, px."""
    noise: np.ndarray
    """(images, 2): standard deviations of luminance and of colour noise."""
    jpeg_quality: np.ndarray
    """(images,) int64; 0 for no compression."""
    noise_start: np.ndarray
    """(images,) int64: the first index into the table of noise."""


def sample_camera_effects(rng: np.random.Generator, clips: int, frames: int) -> CameraEffects:
    """Draw the effects of one camera per clip; only the noise differs from frame to frame."""

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, frames, axis=0).astype(np.float32)

    exposure = np.exp(rng.normal(0, 0.14, (clips, 1)))
    jpeg_quality = np.where(rng.random(clips) < 0.3, rng.integers(35, 95, clips), 0)
    blur = np.abs(rng.normal(0, 0.8, clips))
    return CameraEffects(
        gain=repeated(exposure * np.exp(rng.normal(0, 0.05, (clips, 3)))),
        contrast=repeated(np.exp(rng.normal(0, 0.15, clips))),
        blur=repeated(blur),
        noise=repeated(np.abs(rng.normal(0, [0.018, 0.008], (clips, 2)))),
        jpeg_quality=np.repeat(jpeg_quality, frames),
        noise_start=rng.integers(_NOISE_TABLE_SIZE // 2, size=clips * frames),
    )


_NOISE_TABLE_SIZE = 1 << 18


def compose_images(
    background: np.ndarray,
    figures: RenderedFigures,
    ground_shadows: GroundShadows,
    effects: CameraEffects,
    inside: np.ndarray,
) -> np.ndarray:
    """Compose images (images, height, width, 3) uint8 of figures in front of backgrounds (images, height, width, 3),
    which are overwritten.

    `inside` (images, 4) is left, top, right, bottom of the camera's image in px of each composed image; everything
    beyond it is black."""
    out = np.empty(background.shape, np.uint8)
    parallel_for(
        _compose, len(out), background, figures, ground_shadows, effects, inside, _noise_table(), out
    )
    for n in np.flatnonzero(effects.jpeg_quality):
        out[n] = _jpeg_compressed(out[n], int(effects.jpeg_quality[n]))
    return out


@lru_cache(maxsize=1)
def _noise_table() -> np.ndarray:
    """Return the noise that all images share."""
    return np.random.default_rng(11).normal(size=_NOISE_TABLE_SIZE).astype(np.float32)


def _jpeg_compressed(image: np.ndarray, jpeg_quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=jpeg_quality)
    return np.asarray(Image.open(file))


@njit_cached
def _compose(first, last, background, figures, ground_shadows, effects, inside, table, out):
    for n in range(first, last):
        image = background[n]
        _cast_shadows(image, ground_shadows.homography[n], ground_shadows.shadows[n])
        _overlay(image, figures.colour[n], figures.coverage[n])
        if effects.blur[n] > 0.2:
            _blur(image, effects.blur[n])
        _expose(image, n, effects, table, out[n])
        _blacken_outside(out[n], inside[n])


@njit_cached
def _cast_shadows(image, h, shadows):
    if h[2, 0] == 0.0 and h[2, 1] == 0.0 and h[2, 2] == 0.0:
        return
    low_x, high_x = np.min(shadows[:, 0] - shadows[:, 2]), np.max(shadows[:, 0] + shadows[:, 2])
    low_z, high_z = np.min(shadows[:, 1] - shadows[:, 2]), np.max(shadows[:, 1] + shadows[:, 2])
    xs, zs = np.empty(image.shape[1]), np.empty(image.shape[1])
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            w = h[2, 0] * column + h[2, 1] * row + h[2, 2]
            w = w if w >= 1e-3 else np.nan
            xs[column] = (h[0, 0] * column + h[0, 1] * row + h[0, 2]) / w
            zs[column] = (h[1, 0] * column + h[1, 1] * row + h[1, 2]) / w
        for column in range(image.shape[1]):
            x, z = xs[column], zs[column]
            if not ((x >= low_x) & (x <= high_x) & (z >= low_z) & (z <= high_z)):
                continue
            lit = 1.0
            for s in range(len(shadows)):
                dx, dz, radius = x - shadows[s, 0], z - shadows[s, 1], shadows[s, 2]
                falloff = 1.0 - (dx * dx + dz * dz) / (radius * radius)
                if falloff > 0.0:
                    lit *= 1.0 - shadows[s, 3] * falloff * falloff
            if lit < 1.0:
                for channel in range(3):
                    image[row, column, channel] *= lit


@njit_cached
def _overlay(image, colour, coverage):
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            covered = coverage[row, column]
            if covered > 0:
                for channel in range(3):
                    behind = image[row, column, channel] * (1 - covered)
                    image[row, column, channel] = behind + colour[row, column, channel]


@njit_cached
def _blur(image, sigma):
    """Apply binomial filters along columns and rows until their variances add up to that of the blur."""
    remaining = sigma * sigma
    height, width = image.shape[0], 3 * image.shape[1]
    lines = image.reshape(height, width)
    wider, before = np.empty(width + 6, np.float32), np.empty(width, np.float32)
    while remaining > 0.02:
        side = np.float32(min(remaining, 0.5) / 2)
        remaining -= 0.5
        centre_weight = 1 - 2 * side
        for row in range(height):
            line = lines[row]
            for n in range(3):
                wider[n], wider[width + 3 + n] = line[n], line[width - 3 + n]
            for n in range(width):
                wider[3 + n] = line[n]
            for n in range(width):
                line[n] = centre_weight * wider[3 + n] + side * (wider[n] + wider[6 + n])
        for n in range(width):
            before[n] = lines[0, n]
        for row in range(height):
            line, below = lines[row], lines[min(row + 1, height - 1)]
            for n in range(width):
                this = line[n]
                line[n] = centre_weight * this + side * (before[n] + below[n])
                before[n] = this


@njit_cached
def _expose(image, n, effects, table, out):
    position = effects.noise_start[n]
    contrast, bright, tinted = effects.contrast[n], effects.noise[n, 0], effects.noise[n, 1]
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            common = table[position & 262143] * bright
            for channel in range(3):
                value = image[row, column, channel] * effects.gain[n, channel]
                value = (
                    0.45
                    + (value - 0.45) * contrast
                    + common
                    + table[(position + 1 + channel) & 262143] * tinted
                )
                out[row, column, channel] = int(min(max(value, 0.0), 1.0) * 255.0 + 0.5)
            position += 4


@njit_cached
def _blacken_outside(out, inside):
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            if column < inside[0] or column > inside[2] or row < inside[1] or row > inside[3]:
                out[row, column] = 0
