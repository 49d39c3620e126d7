"""Refine 2D keypoints and estimate their relative depth from the crop, the mask and the detector's keypoints."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from selfmocap.models.backbones import LEAKY_SLOPE, ResidualBlock
from selfmocap.models.heatmaps import coordinate_features, heatmaps

CORRECTOR_IMAGE_SIZE = 64
"""Side of the images that the corrector takes, px; larger crops are averaged down to it."""
_HEATMAP_SIZE = CORRECTOR_IMAGE_SIZE // 2
_CHANNELS = (48, 96, 192)
_SUMMARY_CHANNELS, _GLOBAL_FEATURES = 48, 256
_MAX_CROP_COORDINATE = 0.94
"""Half crop sides. A coordinate beyond it means only that the keypoint lies outside the crop."""
_COORD_ERROR_SCALE, _DEPTH_ERROR_SCALE = 0.03, 0.1
"""Errors, in half crop sides, at which the confidence of a coordinate (2 px of 128) and of a depth is one half."""
_INITIAL_LOG_SCALE, _INITIAL_DETECTOR_LOGIT = -2.0, 1.0
"""Start of training: log of the error scale; logit of the detector's weight, which favours the detector."""


@dataclass(frozen=True, eq=False)
class RefinedKeypoints:
    """Keypoints refined from images, in half crop sides from the centre of the crop."""

    coords: Float[Tensor, "batch keypoints 2"]
    heatmap_coords: Float[Tensor, "batch keypoints 2"]
    """From the heatmaps only, without the detector's coordinates."""
    log_scale: Float[Tensor, "batch keypoints"]
    """Logarithm of the scale of a Laplace distribution of the error of each coordinate."""
    log_heatmaps: Float[Tensor, "batch keypoints cells"]
    """Logarithms of heatmaps of 32 x 32 cells that sum to 1."""
    has_image: Bool[Tensor, " batch"]
    """Whether the frame has a crop or a mask."""
    depths: Float[Tensor, "batch keypoints"]
    """Depth relative to the root, at the scale of the root."""
    log_depth_scale: Float[Tensor, "batch keypoints"]
    """As `log_scale`, of the depth."""

    def apply(
        self,
        keypoints: Float[Tensor, "batch keypoints 2"],
        confidence: Float[Tensor, "batch keypoints"],
        boxes: Float[Tensor, "batch 3"],
    ) -> tuple[Float[Tensor, "batch keypoints 2"], Float[Tensor, "batch keypoints"]]:
        """Replace detected keypoints (px of the image) and confidences by the refined ones.

        The confidence is c / (c + expected error). Keypoints outside the crop and frames without an image keep the
        detector's values."""
        refined = (self.coords.abs() < _MAX_CROP_COORDINATE).all(-1) & self.has_image[:, None]
        pixels = boxes[:, None, :2] + boxes[:, None, 2:] * self.coords
        refined_confidence = _COORD_ERROR_SCALE / (_COORD_ERROR_SCALE + self.log_scale.exp())
        return (
            torch.where(refined[..., None], pixels, keypoints),
            torch.where(refined, refined_confidence, confidence),
        )

    def depths_px(
        self, boxes: Float[Tensor, "batch 3"]
    ) -> tuple[Float[Tensor, "batch keypoints"], Float[Tensor, "batch keypoints"]]:
        """Return depths in px of the image and their confidences in [0, 1]: 0 for frames without an image."""
        confidence = _DEPTH_ERROR_SCALE / (_DEPTH_ERROR_SCALE + self.log_depth_scale.exp())
        return self.depths * boxes[:, 2:], torch.where(self.has_image[:, None], confidence, 0.0)


class KeypointCorrector(nn.Module):
    """An hourglass network over RGB, mask and the heatmaps of the detected keypoints.

    The coordinates of a keypoint are the mean of its heatmap (soft-argmax, Sun et al. 2018), blended with the
    detector's. Further maps, averaged with the heatmap, give its depth and the scales of the errors."""

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        fine, middle, coarse = _CHANNELS
        self.keypoints = keypoints
        self.picture = nn.Conv2d(4, fine, 5, stride=2, padding=2)
        self.maps = nn.Conv2d(keypoints, fine, 3, padding=1)
        self.fine = ResidualBlock(fine)
        self.to_middle = nn.Conv2d(fine, middle, 3, stride=2, padding=1)
        self.middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.to_coarse = nn.Conv2d(middle, coarse, 3, stride=2, padding=1)
        self.coarse = nn.Sequential(*(ResidualBlock(coarse) for _ in range(3)))
        self.summary = nn.Conv2d(coarse, _SUMMARY_CHANNELS, 1)
        self.whole = nn.Linear(
            _SUMMARY_CHANNELS * (_HEATMAP_SIZE // 4) ** 2 + 3 * keypoints, _GLOBAL_FEATURES
        )
        self.from_whole = nn.Linear(_GLOBAL_FEATURES, coarse)
        self.from_coarse = nn.Conv2d(coarse, middle, 1)
        self.back_in_middle = nn.Sequential(ResidualBlock(middle), ResidualBlock(middle))
        self.from_middle = nn.Conv2d(middle, fine, 1)
        self.back_in_fine = nn.Sequential(ResidualBlock(fine), ResidualBlock(fine))
        self.out = nn.Sequential(
            nn.GroupNorm(fine // 16, fine), nn.LeakyReLU(LEAKY_SLOPE), nn.Conv2d(fine, 5 * keypoints, 1)
        )
        nn.init.normal_(self.from_whole.weight, std=0.01)
        self.grid: Tensor
        self.register_buffer("grid", _cell_centres(), persistent=False)

    def forward(
        self,
        crops: UInt8[Tensor, "batch side side 3"] | None,
        masks: Bool[Tensor, "batch side side"] | None,
        keypoints: Float[Tensor, "batch keypoints 2"],
        confidence: Float[Tensor, "batch keypoints"],
        boxes: Float[Tensor, "batch 3"],
    ) -> RefinedKeypoints:
        """Refine keypoints; they and `boxes` are in px of the image. Black crops and empty masks count as missing."""
        images, has_image = _prepare_images(crops, masks, keypoints)
        detected = coordinate_features(keypoints, confidence, boxes)
        fine = self.picture(images) + self.maps(heatmaps(keypoints, confidence, boxes, _HEATMAP_SIZE))
        fine = self.fine(fine)
        middle = self.middle(self.to_middle(nn.functional.leaky_relu(fine, LEAKY_SLOPE)))
        coarse = self.coarse(self.to_coarse(nn.functional.leaky_relu(middle, LEAKY_SLOPE)))
        summary = self.summary(nn.functional.leaky_relu(coarse, LEAKY_SLOPE))
        summary = torch.cat([nn.functional.leaky_relu(summary, LEAKY_SLOPE).flatten(1), detected], 1)
        whole = self.from_whole(nn.functional.leaky_relu(self.whole(summary), LEAKY_SLOPE))
        coarse = coarse + whole[..., None, None]
        middle = self.back_in_middle(middle + _upsample(self.from_coarse(coarse)))
        fine = self.back_in_fine(fine + _upsample(self.from_middle(middle)))
        logits, scale, blend, depth, depth_scale = self.out(fine).float().flatten(2).chunk(5, dim=1)
        log_heatmaps = logits.log_softmax(-1)
        heat = log_heatmaps.exp()
        heatmap_coords = (heat[..., None] * self.grid).sum(-2)
        offsets, peaks = detected.unflatten(1, (self.keypoints, 3)).split([2, 1], dim=-1)
        blend = torch.sigmoid((heat * blend).sum(-1, keepdim=True) + _INITIAL_DETECTOR_LOGIT)
        coords = torch.lerp(heatmap_coords, offsets.clamp(-1, 1), blend)
        return RefinedKeypoints(
            coords=torch.where(peaks > 0, coords, heatmap_coords),
            heatmap_coords=heatmap_coords,
            log_scale=((heat * scale).sum(-1) + _INITIAL_LOG_SCALE).clamp(-6, 2),
            log_heatmaps=log_heatmaps,
            has_image=has_image,
            depths=(heat * depth).sum(-1),
            log_depth_scale=((heat * depth_scale).sum(-1) + _INITIAL_LOG_SCALE).clamp(-6, 2),
        )


def _prepare_images(
    crops: Tensor | None, masks: Tensor | None, like: Tensor
) -> tuple[Float[Tensor, "batch 4 side side"], Bool[Tensor, " batch"]]:
    """Stack RGB and mask at 64 x 64 px in [-0.5, 0.5], 0 for a missing one; also return whether there is either."""
    count = len(like)
    has_image = torch.zeros(count, dtype=torch.bool, device=like.device)
    planes = []
    for image, channels in ((crops, 3), (None if masks is None else masks[..., None], 1)):
        if image is None:
            planes.append(like.new_zeros(count, channels, CORRECTOR_IMAGE_SIZE, CORRECTOR_IMAGE_SIZE))
            continue
        present = (image != 0).flatten(1).any(-1)
        scale = 255 if channels == 3 else 1
        values = (
            nn.functional.adaptive_avg_pool2d(
                image.permute(0, 3, 1, 2).to(like) / scale, CORRECTOR_IMAGE_SIZE
            )
            - 0.5
        )
        planes.append(values * present[:, None, None, None])
        has_image = has_image | present
    return torch.cat(planes, 1).contiguous(memory_format=torch.channels_last), has_image


def _upsample(x: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c hh ww"]:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")


def target_heatmaps(coords: Float[Tensor, "batch keypoints 2"]) -> Float[Tensor, "batch keypoints cells"]:
    """Compute the target heatmaps of keypoints (half crop sides): Gaussians of 1.2 cells that sum to 1."""
    squared = (_cell_centres().to(coords) - coords[..., None, :]).square().sum(-1)
    heat = torch.exp(-squared / (2 * (1.2 * 2 / _HEATMAP_SIZE) ** 2))
    return heat / heat.sum(-1, keepdim=True).clamp_min(1e-6)


def _cell_centres() -> Float[Tensor, "cells 2"]:
    """Compute the centres of the cells of a heatmap, half crop sides."""
    along = (torch.arange(_HEATMAP_SIZE) + 0.5) * 2 / _HEATMAP_SIZE - 1
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1).flatten(0, 1)
