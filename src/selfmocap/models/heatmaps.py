"""Keypoints as a network sees them."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.geometry.camera import CROP_SIZE, to_crop

SIGMA = 1.75
"""Standard deviation of a heatmap, px of the 128 px crop (Tung et al. 2017, the authors' release)."""
SEEN = 0.05
"""Keypoints below this confidence are missing."""


def amplitude(confidence: Float[Tensor, "*batch keypoints"]) -> Float[Tensor, "*batch keypoints"]:
    """How strongly a keypoint is shown: 0 where it is missing, else 0.3 + 0.7 confidence."""
    return torch.where(confidence < SEEN, 0.0, 0.3 + 0.7 * confidence)


def heatmaps(
    keypoints: Float[Tensor, "batch keypoints 2"],
    confidence: Float[Tensor, "batch keypoints"],
    box: Float[Tensor, "batch 3"],
    size: int,
) -> Float[Tensor, "batch keypoints size size"]:
    """A Gaussian for each keypoint (px of the image) in the crop that `box` cuts, sampled at `size` pixels a side;
    its peak is the `amplitude`. A keypoint that is missing or far outside gives a map of zeros."""
    sigma = SIGMA * size / CROP_SIZE
    grid = torch.arange(size, device=keypoints.device, dtype=keypoints.dtype)
    along = torch.exp(-((to_crop(keypoints, box, size)[..., None] - grid) ** 2) / (2 * sigma**2))
    columns, rows = along.unbind(-2)
    return (amplitude(confidence)[..., None] * rows)[..., :, None] * columns[..., None, :]


def coordinates(
    keypoints: Float[Tensor, "batch keypoints 2"],
    confidence: Float[Tensor, "batch keypoints"],
    box: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch 3*keypoints"]:
    """Keypoints in half crop sides from the crop's centre and their amplitudes; zeros for a missing one."""
    shown = amplitude(confidence).unsqueeze(-1)
    offsets = ((keypoints - box[:, None, :2]) / box[:, None, 2:]).clamp(-3, 3)
    return torch.cat([torch.where(shown > 0, offsets, 0.0), shown], dim=-1).flatten(1)


def depth_coordinates(
    depths: Float[Tensor, "batch keypoints"],
    confidence: Float[Tensor, "batch keypoints"],
    box: Float[Tensor, "batch 3"],
) -> Float[Tensor, "batch 2*keypoints"]:
    """Depths (px of the image) in half crop sides and their confidences; zeros for one of which nothing is known."""
    offsets = torch.where(confidence > 0, (depths / box[:, 2:]).clamp(-3, 3), 0.0)
    return torch.stack([offsets, confidence], dim=-1).flatten(1)


def view_angles(
    box: Float[Tensor, "batch 3"], focal: Float[Tensor, "batch 2"], center: Float[Tensor, "batch 2"]
) -> Float[Tensor, "batch 3"]:
    """Where the crop lies in the field of view, and how wide it is: tangents of angles."""
    return torch.cat([(box[:, :2] - center) / focal, box[:, 2:] / focal.mean(-1, keepdim=True)], dim=-1)
