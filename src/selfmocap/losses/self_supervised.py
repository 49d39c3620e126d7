"""The three self-supervised losses: keypoints, motion, segmentation (Tung et al. 2017, section 3.1).

The functions return unreduced values; the caller weights and averages them. Pixels are those of the crop; the centre
of the top left one is (0, 0).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.geometry.camera import to_crop
from selfmocap.geometry.nearest import (
    pixel_centres,
    squared_distance_to_mask,
    squared_distance_to_nearest,
)
from selfmocap.losses.projection import Projection
from selfmocap.tracking.observations import Observations

KEYPOINT_SCALE = 2.0
"""Scale s of `robust_keypoint_loss`, px of the 128 px crop: quadratic for errors below it, linear above."""


def keypoint_loss(
    estimate: Float[Tensor, "*batch keypoints 2"], observed: Float[Tensor, "*batch keypoints 2"]
) -> Float[Tensor, "*batch keypoints"]:
    """Compute the squared distance (Eq. 4), px^2, >= 0."""
    return (estimate - observed).square().sum(-1)


def robust_keypoint_loss(
    estimate: Float[Tensor, "*batch keypoints 2"],
    observed: Float[Tensor, "*batch keypoints 2"],
    confidence: Float[Tensor, "*batch keypoints"],
    scale: float = KEYPOINT_SCALE,
) -> Float[Tensor, "*batch keypoints"]:
    """Compute Charbonnier's loss of the distance, times the confidence: c s (sqrt(1 + d^2 / s^2) - 1), px, >= 0.

    For detected keypoints. The gradient of an outlier is bounded, without a threshold."""
    squared = keypoint_loss(estimate, observed) / scale**2
    # sqrt(1 + x) - 1 without cancellation for small x.
    return confidence * scale * squared / ((1 + squared).sqrt() + 1)


def motion_loss(
    vertices: Float[Tensor, "*batch vertices 2"],
    vertex_flow: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    flow: Float[Tensor, "*batch height width 2"],
    confidence: Float[Tensor, "*batch height width"],
) -> Float[Tensor, "*batch"]:
    """Compute the L1 distance of the flow of visible vertices from the measured flow at their positions, px, >= 0.

    Each vertex is weighted by the confidence of the flow there (0 outside the crop); the sum is divided by the number
    of visible vertices. The sampling position has no gradient: at the outline of the body it would pull vertices off
    the body, which costs accuracy in 3D. The paper's form is `motion_loss_through_position`."""
    return motion_loss_through_position(vertices.detach(), vertex_flow, visible, flow, confidence)


def motion_loss_through_position(
    vertices: Float[Tensor, "*batch vertices 2"],
    vertex_flow: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    flow: Float[Tensor, "*batch height width 2"],
    confidence: Float[Tensor, "*batch height width"],
) -> Float[Tensor, "*batch"]:
    """Compute the motion loss of the paper: differentiable also in the position at which the flow is sampled."""
    weight = sample_bilinear(confidence.unsqueeze(-1), vertices.detach()).squeeze(-1) * visible
    error = (vertex_flow - sample_bilinear(flow, vertices)).abs().sum(-1)
    return (weight * error).sum(-1) / visible.sum(-1).clamp_min(1)


def sample_bilinear(
    images: Float[Tensor, "*batch height width channels"], pixels: Float[Tensor, "*batch points 2"]
) -> Float[Tensor, "*batch points channels"]:
    """Sample images at points, bilinearly; outside the image the values fade to 0 within a pixel."""
    height, width, channels = images.shape[-3:]
    normalised = 2 * pixels / pixels.new_tensor([max(width - 1, 1), max(height - 1, 1)]) - 1
    planes = images.reshape(-1, height, width, channels).movedim(-1, 1)
    sampled = F.grid_sample(planes, normalised.reshape(len(planes), 1, -1, 2), align_corners=True)
    return sampled.squeeze(2).mT.reshape(*pixels.shape[:-1], channels)


def segmentation_loss(
    vertices: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    masks: Bool[Tensor, "*batch height width"],
    certain: Bool[Tensor, "*batch height width"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Compute Eq. 5, each sum divided by its number of terms: (over-coverage, under-coverage), px^2, >= 0.

    Over-coverage: from each visible vertex to the nearest pixel of the mask. Under-coverage: from each pixel of the
    mask to the nearest visible vertex. Vertices are in px of the mask (see `halve_points`). Vertices on uncertain
    pixels do not count (outside the mask the nearest pixel decides); uncertain pixels need no vertex but may be the
    nearest pixel. An empty mask or an invisible body gives 0 with zero gradient."""
    required = masks & certain
    possible = (required | ~certain) & required.any(-1).any(-1)[..., None, None]
    counted = visible & _at(certain, vertices)
    over = squared_distance_to_mask(vertices, counted, possible)
    under = squared_distance_to_nearest(
        pixel_centres(masks).to(vertices), vertices, required.flatten(-2), visible
    )
    return _mean_over(over, counted), _mean_over(under, required.flatten(-2))


def _at(masks: Bool[Tensor, "*batch height width"], points: Tensor) -> Bool[Tensor, "*batch points"]:
    """Sample masks at the pixels nearest to points."""
    height, width = masks.shape[-2:]
    column = points[..., 0].detach().round().clamp(0, width - 1).long()
    row = points[..., 1].detach().round().clamp(0, height - 1).long()
    return masks.flatten(-2).gather(-1, row * width + column)


def _mean_over(
    values: Float[Tensor, "*batch n"], chosen: Bool[Tensor, "*batch n"]
) -> Float[Tensor, "*batch"]:
    return values.sum(-1) / chosen.sum(-1).clamp_min(1)


def halve_points(
    vertices: Float[Tensor, "*batch vertices 2"],
) -> Float[Tensor, "*batch vertices 2"]:
    """Convert crop pixels to pixels of the crop at half resolution."""
    return (vertices + 0.5) / 2 - 0.5


def halve_mask(masks: Bool[Tensor, "*batch height width"]) -> Bool[Tensor, "*batch half_height half_width"]:
    """Halve the resolution of masks; a pixel is set if at least two of its four pixels are."""
    planes = masks.reshape(-1, 1, *masks.shape[-2:]).float()
    return (F.avg_pool2d(planes, 2) >= 0.5).reshape(
        *masks.shape[:-2], masks.shape[-2] // 2, masks.shape[-1] // 2
    )


def intersection_over_union(
    silhouettes: Float[Tensor, "*batch height width"], masks: Bool[Tensor, "*batch height width"]
) -> Float[Tensor, "*batch"]:
    """Compute the intersection over union, in [0, 1]; the first masks may be soft. 1 if both are empty."""
    both = torch.where(masks, silhouettes, 0.0).sum((-2, -1))
    either = torch.where(masks, 1.0, silhouettes).sum((-2, -1))
    return torch.where(either > 0, both / torch.where(either > 0, either, 1.0), 1.0)


@dataclass(frozen=True, eq=False)
class SelfSupervisedLosses:
    """Losses between a projection and observations, unreduced; 0 for images that were not observed."""

    keypoints: Float[Tensor, "*batch keypoints"]
    """`robust_keypoint_loss`, px."""
    motion: Float[Tensor, "*batch"]
    """`motion_loss`, px."""
    over: Float[Tensor, "*batch"]
    """Over-coverage at half resolution, px^2 of the halved crop."""
    under: Float[Tensor, "*batch"]
    """Under-coverage at half resolution, px^2 of the halved crop."""


def compare(estimate: Projection, observed: Observations) -> SelfSupervisedLosses:
    """Compute the losses between a projection and observations. A frame without a next one has no motion loss.

    Raises ValueError if the two have different keypoint sets."""
    if estimate.keypoint_set != observed.keypoint_set:
        raise ValueError(
            f"cannot compare keypoints of {estimate.keypoint_set} with {observed.keypoint_set}: project "
            f"{observed.keypoint_set}"
        )
    motion = over = under = torch.zeros_like(estimate.vertices[..., 0, 0])
    if observed.flow is not None:
        confidence = (
            torch.ones_like(observed.flow[..., 0])
            if observed.flow_confidence is None
            else observed.flow_confidence
        )
        confidence = confidence * estimate.has_next[..., None, None]
        motion = motion_loss(estimate.vertices, estimate.flow, estimate.visible, observed.flow, confidence)
    if observed.masks is not None:
        masks = halve_mask(observed.masks)
        certain = (
            torch.ones_like(masks) if observed.mask_certain is None else ~halve_mask(~observed.mask_certain)
        )
        over, under = segmentation_loss(halve_points(estimate.vertices), estimate.visible, masks, certain)
    keypoints = to_crop(observed.keypoints, observed.boxes)
    return SelfSupervisedLosses(
        keypoints=robust_keypoint_loss(estimate.keypoints, keypoints, observed.keypoint_confidence),
        motion=motion,
        over=over,
        under=under,
    )
