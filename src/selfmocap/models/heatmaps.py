"""Encode keypoints as network inputs: heatmaps, coordinates, depths, viewing angles."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.geometry.camera import CROP_SIZE, to_crop
from selfmocap.tracking.confidence import network_amplitude

HEATMAP_SIGMA = 1.75
"""Standard deviation of a heatmap peak, px of the 128 px crop (the authors' release of Tung et al. 2017)."""


def heatmaps(
    keypoints: Float[Tensor, "batch keypoints 2"],
    confidence: Float[Tensor, "batch keypoints"],
    box: Float[Tensor, "batch 3"],
    size: int,
) -> Float[Tensor, "batch keypoints size size"]:
    """Draw a Gaussian for each keypoint (px of the image) in the crop of `box`, `size` pixels a side.

    The peak is the `network_amplitude`. A keypoint that is missing or far outside the crop gives a map of zeros."""
    sigma = HEATMAP_SIGMA * size / CROP_SIZE
    grid = torch.arange(size, device=keypoints.device, dtype=keypoints.dtype)
    along = torch.exp(-((to_crop(keypoints, box, size)[..., None] - grid) ** 2) / (2 * sigma**2))
    columns, rows = along.unbind(-2)
    return (network_amplitude(confidence)[..., None] * rows)[..., :, None] * columns[..., None, :]


def coordinate_features(
    keypoints: Float[Tensor, "batch keypoints 2"],
    confidence: Float[Tensor, "batch keypoints"],
    box: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch 3*keypoints"]:
    """Compute keypoint offsets from the centre of the crop (half crop sides, at most 3) and amplitudes.

    A missing keypoint gives zeros."""
    peaks = network_amplitude(confidence).unsqueeze(-1)
    offsets = ((keypoints - box[:, None, :2]) / box[:, None, 2:]).clamp(-3, 3)
    return torch.cat([torch.where(peaks > 0, offsets, 0.0), peaks], dim=-1).flatten(1)


def depth_features(
    depths: Float[Tensor, "batch keypoints"],
    confidence: Float[Tensor, "batch keypoints"],
    box: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch 2*keypoints"]:
    """Compute keypoint depths (from px of the image to half crop sides, at most 3) and their confidences.

    A keypoint with confidence 0 has depth 0."""
    offsets = torch.where(confidence > 0, (depths / box[:, 2:]).clamp(-3, 3), 0.0)
    return torch.stack([offsets, confidence], dim=-1).flatten(1)


def view_angles(
    box: Float[Tensor, "batch 3"], focal: Float[Tensor, "batch 2"], center: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch 3"]:
    """Compute the direction of the centre of the crop and its half width, as tangents of angles."""
    return torch.cat([(box[:, :2] - center) / focal, box[:, 2:] / focal.mean(-1, keepdim=True)], dim=-1)
