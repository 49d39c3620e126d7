"""From drawn figures and backgrounds to photographs: shadows on the ground, then what a phone's camera does."""

import io
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from selfmocap.geometry.kernels import njit_cached, parallel_for
from selfmocap.synthetic.shading import Drawn

BLOBS = 6


class Ground(NamedTuple):
    """Soft shadows where a person is near the ground."""

    homography: np.ndarray
    """(pictures, 3, 3): pixel (x, y, 1) to homogeneous ground coordinates (world x and z, metres); zeros where no
    ground is known."""
    blobs: np.ndarray
    """(pictures, BLOBS, 4): x, z, radius (m) and strength in [0, 1] of each shadow."""


class Film(NamedTuple):
    """How a camera's pictures come out; one row a picture, float32."""

    gain: np.ndarray
    """(pictures, 3) colour balance and exposure."""
    contrast: np.ndarray
    """(pictures,) about the middle grey."""
    blur: np.ndarray
    """(pictures,) standard deviation, px."""
    noise: np.ndarray
    """(pictures, 2): standard deviations of brightness and of colour noise."""
    quality: np.ndarray
    """(pictures,) int64: JPEG quality, 0 for none."""
    seed: np.ndarray
    """(pictures,) int64: where in the table of noise the picture begins."""


def sample_film(rng: np.random.Generator, clips: int, frames: int) -> Film:
    """One camera a clip; its noise differs from frame to frame."""

    def repeated(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, frames, axis=0).astype(np.float32)

    exposure = np.exp(rng.normal(0, 0.14, (clips, 1)))
    quality = np.where(rng.random(clips) < 0.3, rng.integers(35, 95, clips), 0)
    blur = np.abs(rng.normal(0, 0.8, clips))
    return Film(
        gain=repeated(exposure * np.exp(rng.normal(0, 0.05, (clips, 3)))),
        contrast=repeated(np.exp(rng.normal(0, 0.15, clips))),
        blur=repeated(blur),
        noise=repeated(np.abs(rng.normal(0, [0.018, 0.008], (clips, 2)))),
        quality=np.repeat(quality, frames),
        seed=rng.integers(_NOISE // 2, size=clips * frames),
    )


_NOISE = 1 << 18


def develop(
    background: np.ndarray, drawn: Drawn, ground: Ground, film: Film, inside: np.ndarray
) -> np.ndarray:
    """(pictures, height, width, 3) uint8 photographs of figures before backgrounds (pictures, height, width, 3;
    overwritten). `inside` (pictures, 4) is left, top, right, bottom of the camera's image in px of the picture: beyond
    it all is black."""
    out = np.empty(background.shape, np.uint8)
    parallel_for(_develop, len(out), background, drawn, ground, film, inside, _grain(), out)
    for n in np.flatnonzero(film.quality):
        out[n] = _compressed(out[n], int(film.quality[n]))
    return out


@lru_cache(maxsize=1)
def _grain() -> np.ndarray:
    """The noise of all films."""
    return np.random.default_rng(11).normal(size=_NOISE).astype(np.float32)


def _compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@njit_cached
def _develop(first, last, background, drawn, ground, film, inside, table, out):
    for n in range(first, last):
        picture = background[n]
        _cast(picture, ground.homography[n], ground.blobs[n])
        _place(picture, drawn.colour[n], drawn.coverage[n])
        if film.blur[n] > 0.2:
            _blur(picture, film.blur[n])
        _expose(picture, n, film, table, out[n])
        _frame(out[n], inside[n])


@njit_cached
def _cast(picture, h, blobs):
    if h[2, 0] == 0.0 and h[2, 1] == 0.0 and h[2, 2] == 0.0:
        return
    low_x, high_x = np.min(blobs[:, 0] - blobs[:, 2]), np.max(blobs[:, 0] + blobs[:, 2])
    low_z, high_z = np.min(blobs[:, 1] - blobs[:, 2]), np.max(blobs[:, 1] + blobs[:, 2])
    xs, zs = np.empty(picture.shape[1]), np.empty(picture.shape[1])
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            w = h[2, 0] * column + h[2, 1] * row + h[2, 2]
            w = w if w >= 1e-3 else np.nan
            xs[column] = (h[0, 0] * column + h[0, 1] * row + h[0, 2]) / w
            zs[column] = (h[1, 0] * column + h[1, 1] * row + h[1, 2]) / w
        for column in range(picture.shape[1]):
            x, z = xs[column], zs[column]
            if not ((x >= low_x) & (x <= high_x) & (z >= low_z) & (z <= high_z)):
                continue
            lit = 1.0
            for b in range(len(blobs)):
                dx, dz, radius = x - blobs[b, 0], z - blobs[b, 1], blobs[b, 2]
                share = 1.0 - (dx * dx + dz * dz) / (radius * radius)
                if share > 0.0:
                    lit *= 1.0 - blobs[b, 3] * share * share
            if lit < 1.0:
                for channel in range(3):
                    picture[row, column, channel] *= lit


@njit_cached
def _place(picture, colour, coverage):
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            covered = coverage[row, column]
            if covered > 0:
                for channel in range(3):
                    behind = picture[row, column, channel] * (1 - covered)
                    picture[row, column, channel] = behind + colour[row, column, channel]


@njit_cached
def _blur(picture, sigma):
    """Binomial filters one after the other, along columns and rows, until their variances add up."""
    left = sigma * sigma
    height, width = picture.shape[0], 3 * picture.shape[1]
    lines = picture.reshape(height, width)
    wider, before = np.empty(width + 6, np.float32), np.empty(width, np.float32)
    while left > 0.02:
        side = np.float32(min(left, 0.5) / 2)
        left -= 0.5
        middle = 1 - 2 * side
        for row in range(height):
            line = lines[row]
            for n in range(3):
                wider[n], wider[width + 3 + n] = line[n], line[width - 3 + n]
            for n in range(width):
                wider[3 + n] = line[n]
            for n in range(width):
                line[n] = middle * wider[3 + n] + side * (wider[n] + wider[6 + n])
        for n in range(width):
            before[n] = lines[0, n]
        for row in range(height):
            line, below = lines[row], lines[min(row + 1, height - 1)]
            for n in range(width):
                this = line[n]
                line[n] = middle * this + side * (before[n] + below[n])
                before[n] = this


@njit_cached
def _expose(picture, n, film, table, out):
    place = film.seed[n]
    contrast, bright, tinted = film.contrast[n], film.noise[n, 0], film.noise[n, 1]
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            common = table[place & 262143] * bright
            for channel in range(3):
                value = picture[row, column, channel] * film.gain[n, channel]
                value = (
                    0.45 + (value - 0.45) * contrast + common + table[(place + 1 + channel) & 262143] * tinted
                )
                out[row, column, channel] = int(min(max(value, 0.0), 1.0) * 255.0 + 0.5)
            place += 4


@njit_cached
def _frame(out, inside):
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            if column < inside[0] or column > inside[2] or row < inside[1] or row > inside[3]:
                out[row, column] = 0
