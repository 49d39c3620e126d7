"""Synthetic people with pictures, to be seen time and again: by other detectors, through other cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfmocap.body import Body
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, sample_batch
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.points import PointScene, scene_of

_GREY, _COARSE, _NOISE = 0.15, 0.15, 15.0
_NO_CROP, _NO_MASK, _NEITHER = 0.15, 0.2, 0.05
"""Shares of clips without the one, the other (either way also with neither), and both."""


@dataclass(frozen=True, eq=False)
class PicturedScene:
    """Clips of people, known exactly, and their pictures at half the size of crops."""

    points: PointScene
    boxes: Tensor
    """(clips, frames, 3) px: the windows of the pictures."""
    crops: np.ndarray
    """(clips, frames, side, side, 3) uint8."""
    masks: np.ndarray
    """(clips, frames, side, side) bool, as a detector's."""


def pictured_scene(
    seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body,
    people: np.random.SeedSequence | None = None,
) -> PicturedScene:  # fmt: skip
    """What `sample_batch` draws, without its detector's errors in keypoints; with `SeedSequence(seed)` as `people`,
    those of `point_scene`."""
    batch = sample_batch(seed, config, motions, backgrounds, body, people)
    return PicturedScene(scene_of(batch), batch.boxes, halved(batch.rgb.numpy()), halved(batch.masks.numpy()))


def halved(pictures: np.ndarray) -> np.ndarray:
    """(clips, frames, side, side[, channels]) at half the size, means of two by two pixels: uint8 rounded, bool where
    at least half are true."""
    clips, frames, side = pictures.shape[:3]
    parts = pictures.reshape(clips, frames, side // 2, 2, side // 2, 2, *pictures.shape[4:]).mean((3, 5))
    return parts >= 0.5 if pictures.dtype == bool else np.rint(parts).astype(np.uint8)


def pictures_of(scene: PicturedScene, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
    """The crops and masks of a scene, clips and frames in one axis. With `rng` the crops are as another camera would
    have taken them, and black, or masks empty, in clips that lack them."""
    crops, masks = scene.crops, scene.masks
    if rng is not None:
        lot = rng.random((len(crops), 1, 1, 1))
        crops = taken_again(rng, crops) * (lot[..., None] >= _NO_CROP)
        masks = masks & ((lot < _NO_CROP - _NEITHER) | (lot >= _NO_CROP + _NO_MASK - _NEITHER))
    return torch.from_numpy(crops).flatten(0, 1), torch.from_numpy(masks).flatten(0, 1)


def taken_again(rng: np.random.Generator, crops: np.ndarray) -> np.ndarray:
    """Crops (clips, frames, side, side, 3) uint8 as another camera would have taken them: each clip in other colours,
    some in grey, some coarse, all with some noise."""
    each = (len(crops), 1, 1, 1)

    def normal(deviation: float) -> np.ndarray:
        return rng.normal(0, deviation, (*each, 1)) + rng.normal(0, deviation * 0.6, (*each, 3))

    values = (crops.astype(np.float32) - 128) * np.exp(normal(0.15)) + 128 + 255 * normal(0.1)
    values = np.where(rng.random((*each, 1)) < _GREY, values.mean(-1, keepdims=True), values)
    coarse = halved(values.clip(0, 255).astype(np.uint8)).repeat(2, axis=2).repeat(2, axis=3)
    values = np.where(rng.random((*each, 1)) < _COARSE, coarse, values)
    noise = rng.uniform(0, _NOISE, (*each, 1)) * rng.standard_normal(crops.shape, np.float32)
    return np.clip(values + noise, 0, 255).astype(np.uint8)
