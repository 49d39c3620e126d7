"""Synthetic people with pictures, to be seen time and again: by other detectors, through other cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, sample_batch
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.points import PointScene, scene_of

_GREY, _COARSE, _NOISE = 0.15, 0.15, 15.0
_NO_CROP, _NO_MASK, _NEITHER = 0.25, 0.25, 0.15
"""Shares of clips without the one, the other (either way also with neither), and both."""


@dataclass(frozen=True, eq=False)
class PicturedScene:
    """Clips of people, known exactly, and their pictures at half the size of crops."""

    points: PointScene
    boxes: Tensor
    """(clips, frames, 3) px: the windows of the pictures."""
    crops: Tensor
    """(clips, frames, side, side, 3) uint8."""
    masks: Tensor
    """(clips, frames, side, side) bool, as a detector's."""


def pictured_scene(
    seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body,
    people: np.random.SeedSequence | None = None,
) -> PicturedScene:  # fmt: skip
    """What `sample_batch` draws, without its detector's errors in keypoints; with `SeedSequence(seed)` as `people`,
    those of `point_scene`."""
    batch = sample_batch(seed, config, motions, backgrounds, body, people)
    crops, masks = (torch.from_numpy(halved(x.numpy())) for x in (batch.rgb, batch.masks))
    return PicturedScene(scene_of(batch), batch.boxes, crops, masks)


def halved(pictures: np.ndarray) -> np.ndarray:
    """(clips, frames, side, side[, channels]) at half the size, means of two by two pixels: uint8 rounded, bool where
    at least half are true."""
    wide = pictures.astype(np.uint16)
    rows = wide[:, :, ::2] + wide[:, :, 1::2]
    sums = rows[:, :, :, ::2] + rows[:, :, :, 1::2]
    return sums >= 2 if pictures.dtype == bool else ((sums + 2) // 4).astype(np.uint8)


def pictures_of(scene: PicturedScene, random: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """The crops and masks of a scene, clips and frames in one axis; with `random` as `retaken`."""
    crops, masks = (scene.crops, scene.masks) if random is None else retaken(random, scene.crops, scene.masks)
    return crops.flatten(0, 1), masks.flatten(0, 1)


def retaken(random: torch.Generator, crops: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Crops (clips, frames, side, side, 3) as another camera would have taken them, and masks: black, or empty, in
    clips that lack them. `random` is on their device."""
    lot = torch.rand(len(crops), 1, 1, 1, generator=random, device=crops.device)
    masked = (lot < _NO_CROP - _NEITHER) | (lot >= _NO_CROP + _NO_MASK - _NEITHER)
    return taken_again(random, crops) * (lot[..., None] >= _NO_CROP), masks & masked


def taken_again(random: torch.Generator, crops: Tensor) -> Tensor:
    """Crops (clips, frames, side, side, 3) uint8 as another camera would have taken them: each clip in other colours,
    some in grey, some coarse, all with some noise."""
    clips = len(crops)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random, device=crops.device)

    def chance(share: float) -> Tensor:
        return torch.rand(clips, 1, 1, 1, 1, generator=random, device=crops.device) < share

    def spread(deviation: float) -> Tensor:
        one, each = normal(clips, 1, 1, 1, 1), normal(clips, 1, 1, 1, 3)
        return deviation * (one + 0.6 * each)

    values = (crops.float() - 128) * spread(0.15).exp() + 128 + 255 * spread(0.1)
    values = torch.where(chance(_GREY), values.mean(-1, keepdim=True), values)
    coarse = values.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5), keepdim=True)
    coarse = coarse.expand(-1, -1, -1, 2, -1, 2, -1).flatten(4, 5).flatten(2, 3)
    values = torch.where(chance(_COARSE), coarse, values)
    noise = _NOISE * torch.rand(clips, 1, 1, 1, 1, generator=random, device=crops.device)
    return (values + noise * normal(*crops.shape)).clamp(0, 255).to(torch.uint8)
