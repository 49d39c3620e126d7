"""Synthetic people with images, which are reused with other detection errors and other camera effects."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.synthetic.backgrounds import Backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, sample_batch
from selfmocap.synthetic.keypoint_scene import KeypointScene, keypoint_scene_of
from selfmocap.synthetic.motions import MotionClip

_GREY_FRACTION, _COARSE_FRACTION, _MAX_NOISE = 0.15, 0.15, 15.0
_NO_CROP_FRACTION, _NO_MASK_FRACTION, _NO_IMAGE_FRACTION = 0.25, 0.25, 0.15
"""Fractions of clips without a crop, without a mask (both include those without either), and without either."""


@dataclass(frozen=True, eq=False)
class ImageScene:
    """Clips of synthetic people: the truth, and images at half the size of crops."""

    keypoint_scene: KeypointScene
    boxes: Tensor
    """(clips, frames, 3) px: the windows of the images."""
    crops: Tensor
    """(clips, frames, side, side, 3) uint8."""
    masks: Tensor
    """(clips, frames, side, side) bool, with detection errors."""


def sample_image_scene(
    seed: int, config: SyntheticConfig, motions: Sequence[MotionClip], backgrounds: Backgrounds, body: Body,
    scene_seeds: np.random.SeedSequence | None = None,
) -> ImageScene:  # fmt: skip
    """Draw the scene of `sample_batch` without its errors of keypoints. With `SeedSequence(seed)` as `scene_seeds` its
    people are those of `sample_keypoint_scene`."""
    batch = sample_batch(seed, config, motions, backgrounds, body, scene_seeds)
    crops, masks = (torch.from_numpy(half_size(x.numpy())) for x in (batch.rgb, batch.masks))
    return ImageScene(keypoint_scene_of(batch), batch.boxes, crops, masks)


def half_size(images: np.ndarray) -> np.ndarray:
    """Average (clips, frames, side, side[, channels]) over blocks of two by two pixels: uint8 rounded, bool true where
    at least half are."""
    wide = images.astype(np.uint16)
    rows = wide[:, :, ::2] + wide[:, :, 1::2]
    sums = rows[:, :, :, ::2] + rows[:, :, :, 1::2]
    return sums >= 2 if images.dtype == bool else ((sums + 2) // 4).astype(np.uint8)


def scene_images(scene: ImageScene, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return the crops and masks of a scene, with clips and frames in one axis; with a `generator`, those of
    `augment_images`."""
    crops, masks = (
        (scene.crops, scene.masks)
        if generator is None
        else augment_images(generator, scene.crops, scene.masks)
    )
    return crops.flatten(0, 1), masks.flatten(0, 1)


def augment_images(generator: torch.Generator, crops: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Apply `jitter_crop_colours` to crops (clips, frames, side, side, 3), and remove the crops, the masks or both of
    some clips: these are black or empty. `generator` is on their device."""
    draw = torch.rand(len(crops), 1, 1, 1, generator=generator, device=crops.device)
    masked = (draw < _NO_CROP_FRACTION - _NO_IMAGE_FRACTION) | (
        draw >= _NO_CROP_FRACTION + _NO_MASK_FRACTION - _NO_IMAGE_FRACTION
    )
    return jitter_crop_colours(generator, crops) * (draw[..., None] >= _NO_CROP_FRACTION), masks & masked


def jitter_crop_colours(generator: torch.Generator, crops: Tensor) -> Tensor:
    """Apply the camera effects of another camera to crops (clips, frames, side, side, 3) uint8: each clip in other
    colours, some grey, some at a low resolution, all with noise."""
    clips = len(crops)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=crops.device)

    def chance(fraction: float) -> Tensor:
        return torch.rand(clips, 1, 1, 1, 1, generator=generator, device=crops.device) < fraction

    def spread(deviation: float) -> Tensor:
        one, each = normal(clips, 1, 1, 1, 1), normal(clips, 1, 1, 1, 3)
        return deviation * (one + 0.6 * each)

    values = (crops.float() - 128) * spread(0.15).exp() + 128 + 255 * spread(0.1)
    values = torch.where(chance(_GREY_FRACTION), values.mean(-1, keepdim=True), values)
    coarse = values.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).mean((3, 5), keepdim=True)
    coarse = coarse.expand(-1, -1, -1, 2, -1, 2, -1).flatten(4, 5).flatten(2, 3)
    values = torch.where(chance(_COARSE_FRACTION), coarse, values)
    noise = _MAX_NOISE * torch.rand(clips, 1, 1, 1, 1, generator=generator, device=crops.device)
    return (values + noise * normal(*crops.shape)).clamp(0, 255).to(torch.uint8)
