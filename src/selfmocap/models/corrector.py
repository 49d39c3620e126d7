"""Where the keypoints really are, and how deep: what a detector said of them, held against the picture."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from selfmocap.models.backbones import LEAK, Residual
from selfmocap.models.heatmaps import coordinates, heatmaps

PICTURE = 64
"""Pixels a side of the pictures that are looked at; larger crops are averaged down to it."""
_MAP = PICTURE // 2
_WIDTHS = (48, 96, 192)
_SUMMARY, _GLOBAL = 48, 256
_EDGE = 0.94
"""Beyond this share of the half crop a place says only that the keypoint lies outside."""
_SURE, _SURE_OF_DEPTH = 0.03, 0.1
"""The error, in half crop sides, of a keypoint with a confidence of one half: 2 px of 128; the same of its depth."""
_FIRST_LOG_SPREAD, _FIRST_TRUST = -2.0, 1.0
"""Where training begins: nearer to what the detector said than to what was found."""


@dataclass(frozen=True, eq=False)
class Located:
    """Where the keypoints are said to be, in half crop sides from the crop's centre."""

    places: Float[Tensor, "batch keypoints 2"]
    found: Float[Tensor, "batch keypoints 2"]
    """By the heatmaps alone, whatever the detector said."""
    log_spread: Float[Tensor, "batch keypoints"]
    """Logarithm of the error to be expected: the scale of a Laplace distribution of each coordinate."""
    log_heat: Float[Tensor, "batch keypoints cells"]
    """Logarithms of heatmaps of `_MAP` x `_MAP` cells that sum to 1."""
    given: Bool[Tensor, " batch"]
    """Whether there was a picture to look at."""
    depths: Float[Tensor, "batch keypoints"]
    """How much further away than the root, at the scale of the root: half crop sides as well."""
    log_depth_spread: Float[Tensor, "batch keypoints"]
    """As `log_spread`, of the depth."""

    def corrected(
        self,
        keypoints: Float[Tensor, "batch keypoints 2"],
        confidence: Float[Tensor, "batch keypoints"],
        boxes: Float[Tensor, "batch 3"],
    ) -> tuple[Float[Tensor, "batch keypoints 2"], Float[Tensor, "batch keypoints"]]:
        """Keypoints (px of the image) where they are said to be, as confident as that is precise. Those that lie
        outside the crop, and those of frames without a picture, stay as they were given."""
        known = (self.places.abs() < _EDGE).all(-1) & self.given[:, None]
        places = boxes[:, None, :2] + boxes[:, None, 2:] * self.places
        sure = _SURE / (_SURE + self.log_spread.exp())
        return torch.where(known[..., None], places, keypoints), torch.where(known, sure, confidence)

    def measured_depths(
        self, boxes: Float[Tensor, "batch 3"]
    ) -> tuple[Float[Tensor, "batch keypoints"], Float[Tensor, "batch keypoints"]]:
        """Depths in px of the image, and how sure they are, in [0, 1]: 0 where there was no picture."""
        sure = _SURE_OF_DEPTH / (_SURE_OF_DEPTH + self.log_depth_spread.exp())
        return self.depths * boxes[:, 2:], torch.where(self.given[:, None], sure, 0.0)


class KeypointCorrector(nn.Module):
    """An hourglass over RGB, mask and the detector's heatmaps. Each keypoint's place is where its heatmap has its mean
    (soft-argmax, Sun et al. 2018), blended with where the detector put it; a map holds how deep it is there."""

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        fine, middle, coarse = _WIDTHS
        self.keypoints = keypoints
        self.picture = nn.Conv2d(4, fine, 5, stride=2, padding=2)
        self.maps = nn.Conv2d(keypoints, fine, 3, padding=1)
        self.fine = Residual(fine)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle = nn.Sequential(Residual(middle), Residual(middle))
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.Sequential(*(Residual(coarse) for _ in range(3)))
        self.summary = nn.Conv2d(coarse, _SUMMARY, 1)
        self.whole = nn.Linear(_SUMMARY * (_MAP // 4) ** 2 + 3 * keypoints, _GLOBAL)
        self.from_whole = nn.Linear(_GLOBAL, coarse)
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.back_in_middle = nn.Sequential(Residual(middle), Residual(middle))
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.back_in_fine = nn.Sequential(Residual(fine), Residual(fine))
        self.out = nn.Sequential(
            nn.GroupNorm(fine // 16, fine), nn.LeakyReLU(LEAK), nn.Conv2d(fine, 5 * keypoints, 1)
        )
        nn.init.normal_(self.from_whole.weight, std=0.01)
        self.grid: Tensor
        self.register_buffer("grid", _cells(), persistent=False)

    def forward(
        self,
        crops: UInt8[Tensor, "batch side side 3"] | None,
        masks: Bool[Tensor, "batch side side"] | None,
        keypoints: Float[Tensor, "batch keypoints 2"],
        confidence: Float[Tensor, "batch keypoints"],
        boxes: Float[Tensor, "batch 3"],
    ) -> Located:
        """`keypoints` and `boxes` in px of the image; a picture that is all black, or empty, is none."""
        seen, given = _pictures(crops, masks, keypoints)
        numbers = coordinates(keypoints, confidence, boxes)
        fine = self.picture(seen) + self.maps(heatmaps(keypoints, confidence, boxes, _MAP))
        fine = self.fine(fine)
        middle = self.middle(self.to_middle(nn.functional.leaky_relu(fine, LEAK)))
        coarse = self.coarse(self.to_coarse(nn.functional.leaky_relu(middle, LEAK)))
        summary = self.summary(nn.functional.leaky_relu(coarse, LEAK))
        summary = torch.cat([nn.functional.leaky_relu(summary, LEAK).flatten(1), numbers], 1)
        whole = self.from_whole(nn.functional.leaky_relu(self.whole(summary), LEAK))
        coarse = coarse + whole[..., None, None]
        middle = self.back_in_middle(middle + _twice(self.from_coarse(coarse)))
        fine = self.back_in_fine(fine + _twice(self.from_middle(middle)))
        heat, spread, trust, depth, depth_spread = self.out(fine).float().flatten(2).chunk(5, dim=1)
        log_heat = heat.log_softmax(-1)
        share = log_heat.exp()
        found = (share[..., None] * self.grid).sum(-2)
        offsets, shown = numbers.unflatten(1, (self.keypoints, 3)).split([2, 1], dim=-1)
        trust = torch.sigmoid((share * trust).sum(-1, keepdim=True) + _FIRST_TRUST)
        return Located(
            places=torch.where(shown > 0, torch.lerp(found, offsets.clamp(-1, 1), trust), found),
            found=found,
            log_spread=((share * spread).sum(-1) + _FIRST_LOG_SPREAD).clamp(-6, 2),
            log_heat=log_heat,
            given=given,
            depths=(share * depth).sum(-1),
            log_depth_spread=((share * depth_spread).sum(-1) + _FIRST_LOG_SPREAD).clamp(-6, 2),
        )


def _pictures(
    crops: Tensor | None, masks: Tensor | None, like: Tensor
) -> tuple[Float[Tensor, "batch 4 side side"], Bool[Tensor, " batch"]]:
    """RGB and mask at PICTURE pixels a side, around 0, and whether there is either; 0 for what is lacking."""
    count = len(like)
    given = torch.zeros(count, dtype=torch.bool, device=like.device)
    parts = []
    for image, channels in ((crops, 3), (None if masks is None else masks[..., None], 1)):
        if image is None:
            parts.append(like.new_zeros(count, channels, PICTURE, PICTURE))
            continue
        there = (image != 0).flatten(1).any(-1)
        scale = 255 if channels == 3 else 1
        values = nn.functional.adaptive_avg_pool2d(image.permute(0, 3, 1, 2).to(like) / scale, PICTURE) - 0.5
        parts.append(values * there[:, None, None, None])
        given = given | there
    return torch.cat(parts, 1).contiguous(memory_format=torch.channels_last), given


def _twice(x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c hh ww"]:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def gaussians(places: Float[Tensor, "batch keypoints 2"]) -> Float[Tensor, "batch keypoints cells"]:
    """What the heatmaps of keypoints at these places (half crop sides) should be: Gaussians of 1.2 cells."""
    apart = (_cells().to(places) - places[..., None, :]).square().sum(-1)
    heat = torch.exp(-apart / (2 * (1.2 * 2 / _MAP) ** 2))
    return heat / heat.sum(-1, keepdim=True).clamp_min(1e-6)


def _cells() -> Float[Tensor, "cells 2"]:
    """The centres of a heatmap's cells, half crop sides."""
    along = (torch.arange(_MAP) + 0.5) * 2 / _MAP - 1
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1).flatten(0, 1)
