"""The three losses of self-supervision (Tung et al. 2017, section 3.1): keypoints, motion, segmentation.

Pure functions, unreduced: the caller weighs the terms and takes the mean. Pixels are those of the crop, the centre of
the top left one is (0, 0).
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
"""px of the 128 px crop. Errors well below count by their square, errors well above by their length."""


def keypoint_loss(
    estimate: Float[Tensor, "*batch keypoints 2"], seen: Float[Tensor, "*batch keypoints 2"]
) -> Float[Tensor, "*batch keypoints"]:
    """Squared distance (Eq. 4), px^2, >= 0."""
    return (estimate - seen).square().sum(-1)


def robust_keypoint_loss(
    estimate: Float[Tensor, "*batch keypoints 2"],
    seen: Float[Tensor, "*batch keypoints 2"],
    confidence: Float[Tensor, "*batch keypoints"],
    scale: float = KEYPOINT_SCALE,
) -> Float[Tensor, "*batch keypoints"]:
    """Charbonnier's loss of the distance, times the confidence: c s (sqrt(1 + d^2 / s^2) - 1), px, >= 0.

    For detected keypoints, with the detector's visibility (not occluded) times presence (inside the image) as the
    confidence: a detector's outliers pull with bounded force, and nothing is cut off at a threshold."""
    squared = keypoint_loss(estimate, seen) / scale**2
    # sqrt(1 + x) - 1, without its cancellation for small x.
    return confidence * scale * squared / ((1 + squared).sqrt() + 1)


def motion_loss(
    vertices: Float[Tensor, "*batch vertices 2"],
    vertex_flow: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    flow: Float[Tensor, "*batch height width 2"],
    confidence: Float[Tensor, "*batch height width"],
) -> Float[Tensor, "*batch"]:
    """|u - u'| + |v - v'| between each visible vertex' flow and the measured flow where the vertex is, weighted by the
    flow's confidence there (0 outside the crop), summed and divided by the number of visible vertices; px, >= 0.

    No gradient flows through where the flow is sampled: at the body's outline it pulls vertices off the body and costs
    accuracy in 3D. The paper's form is `motion_loss_through_position`."""
    return motion_loss_through_position(vertices.detach(), vertex_flow, visible, flow, confidence)


def motion_loss_through_position(
    vertices: Float[Tensor, "*batch vertices 2"],
    vertex_flow: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    flow: Float[Tensor, "*batch height width 2"],
    confidence: Float[Tensor, "*batch height width"],
) -> Float[Tensor, "*batch"]:
    """The motion loss as the paper has it: differentiable also in where the bilinear measured flow is sampled."""
    weight = bilinear(confidence.unsqueeze(-1), vertices.detach()).squeeze(-1) * visible
    error = (vertex_flow - bilinear(flow, vertices)).abs().sum(-1)
    return (weight * error).sum(-1) / visible.sum(-1).clamp_min(1)


def bilinear(
    images: Float[Tensor, "*batch height width channels"], pixels: Float[Tensor, "*batch points 2"]
) -> Float[Tensor, "*batch points channels"]:
    """Images at points between their pixels' centres; beyond the image it fades to 0 within a pixel."""
    height, width, channels = images.shape[-3:]
    places = 2 * pixels / pixels.new_tensor([max(width - 1, 1), max(height - 1, 1)]) - 1
    planes = images.reshape(-1, height, width, channels).movedim(-1, 1)
    sampled = F.grid_sample(planes, places.reshape(len(planes), 1, -1, 2), align_corners=True)
    return sampled.squeeze(2).mT.reshape(*pixels.shape[:-1], channels)


def segmentation_loss(
    vertices: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    masks: Bool[Tensor, "*batch height width"],
    certain: Bool[Tensor, "*batch height width"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Eq. 5, each sum divided by its number of terms: (over-coverage, under-coverage), px^2 of the mask, >= 0.

    Over-coverage: from each visible vertex to the nearest pixel of the mask. Under-coverage: from each pixel of the
    mask to the nearest visible vertex. Vertices are in pixels of the mask (see `halved`). Where the mask is uncertain
    (beyond its border: where its border is) a vertex is not judged, and a pixel need not be covered but may be the
    person. An empty mask, or a body that is not seen at all, gives 0 with zero gradient."""
    demanded = masks & certain
    possible = (demanded | ~certain) & demanded.any(-1).any(-1)[..., None, None]
    judged = visible & _at(certain, vertices)
    over = squared_distance_to_mask(vertices, judged, possible)
    under = squared_distance_to_nearest(
        pixel_centres(masks).to(vertices), vertices, demanded.flatten(-2), visible
    )
    return _mean_over(over, judged), _mean_over(under, demanded.flatten(-2))


def _at(masks: Bool[Tensor, "*batch height width"], points: Tensor) -> Bool[Tensor, "*batch points"]:
    """The pixels nearest to points."""
    height, width = masks.shape[-2:]
    column = points[..., 0].detach().round().clamp(0, width - 1).long()
    row = points[..., 1].detach().round().clamp(0, height - 1).long()
    return masks.flatten(-2).gather(-1, row * width + column)


def _mean_over(
    values: Float[Tensor, "*batch n"], chosen: Bool[Tensor, "*batch n"]
) -> Float[Tensor, "*batch"]:
    return values.sum(-1) / chosen.sum(-1).clamp_min(1)


def outline_loss(
    vertices: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    others: Float[Tensor, "*batch others 2"],
    others_visible: Bool[Tensor, "*batch others"],
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
    """Eq. 5 between two bodies in the place of a body and a mask: both terms as in `segmentation_loss`, px^2."""
    over = squared_distance_to_nearest(vertices, others, visible, others_visible)
    under = squared_distance_to_nearest(others, vertices, others_visible, visible)
    return _mean_over(over, visible), _mean_over(under, others_visible)


def halved(
    vertices: Float[Tensor, "*batch vertices 2"],
) -> Float[Tensor, "*batch vertices 2"]:
    """Crop pixels as pixels of the crop at half its resolution."""
    return (vertices + 0.5) / 2 - 0.5


def halved_mask(masks: Bool[Tensor, "*batch height width"]) -> Bool[Tensor, "*batch half_height half_width"]:
    """Masks at half their resolution, where at least two of the four pixels are set."""
    whole = masks.reshape(-1, 1, *masks.shape[-2:]).float()
    return (F.avg_pool2d(whole, 2) >= 0.5).reshape(
        *masks.shape[:-2], masks.shape[-2] // 2, masks.shape[-1] // 2
    )


def soft_silhouette(
    vertices: Float[Tensor, "*batch vertices 2"],
    visible: Bool[Tensor, "*batch vertices"],
    height: int,
    width: int,
) -> Float[Tensor, "*batch height width"]:
    """exp(-d^2), in (0, 1], where d is a pixel's distance in px to the nearest visible vertex; 0 where none is visible.
    Differentiable, and falling with distance, unlike the mask of the printed Eq. 7."""
    everywhere = visible.new_ones(*visible.shape[:-1], height, width)
    pixels = pixel_centres(everywhere).to(vertices)
    squared = squared_distance_to_nearest(pixels, vertices, everywhere.flatten(-2), visible)
    return ((-squared).exp() * visible.any(-1, keepdim=True)).unflatten(-1, (height, width))


def overlap(
    silhouettes: Float[Tensor, "*batch height width"], masks: Bool[Tensor, "*batch height width"]
) -> Float[Tensor, "*batch"]:
    """Intersection over union, in [0, 1], of masks that may be soft; 1 where both are empty."""
    both = torch.where(masks, silhouettes, 0.0).sum((-2, -1))
    either = torch.where(masks, 1.0, silhouettes).sum((-2, -1))
    return torch.where(either > 0, both / torch.where(either > 0, either, 1.0), 1.0)


@dataclass(frozen=True, eq=False)
class Difference:
    """The losses between two accounts of what is seen, unreduced; where one lacks an image, 0."""

    keypoints: Float[Tensor, "*batch keypoints"]
    """`robust_keypoint_loss`, px."""
    motion: Float[Tensor, "*batch"]
    """`motion_loss`, px."""
    over: Float[Tensor, "*batch"]
    """Over-coverage at half resolution, px^2 of the halved crop."""
    under: Float[Tensor, "*batch"]
    """Under-coverage, likewise."""


def compare(estimate: Projection, seen: Observations | Projection) -> Difference:
    """The losses of a projection against what was observed, or against another projection: zero, with zero gradient,
    against itself. A frame without a next one has no motion loss.

    Raises ValueError if the two hold different keypoints."""
    if estimate.keypoint_set != seen.keypoint_set:
        raise ValueError(
            f"cannot compare {estimate.keypoint_set} with {seen.keypoint_set}; observe {seen.keypoint_set}"
        )
    return (
        _from_projection(estimate, seen)
        if isinstance(seen, Projection)
        else _from_observations(estimate, seen)
    )


def _from_projection(estimate: Projection, seen: Projection) -> Difference:
    both = estimate.visible & seen.visible & (estimate.has_next & seen.has_next).unsqueeze(-1)
    apart = (estimate.flow - seen.flow).abs().sum(-1)
    over, under = outline_loss(
        halved(estimate.vertices), estimate.visible, halved(seen.vertices), seen.visible
    )
    everything = torch.ones_like(seen.keypoints[..., 0])
    return Difference(
        keypoints=robust_keypoint_loss(estimate.keypoints, seen.keypoints, everything),
        motion=torch.where(both, apart, 0.0).sum(-1) / estimate.visible.sum(-1).clamp_min(1),
        over=over,
        under=under,
    )


def _from_observations(estimate: Projection, seen: Observations) -> Difference:
    nothing = torch.zeros_like(estimate.vertices[..., 0, 0])
    motion = over = under = nothing
    if seen.flow is not None:
        confidence = (
            torch.ones_like(seen.flow[..., 0]) if seen.flow_confidence is None else seen.flow_confidence
        )
        confidence = confidence * estimate.has_next[..., None, None]
        motion = motion_loss(estimate.vertices, estimate.flow, estimate.visible, seen.flow, confidence)
    if seen.masks is not None:
        masks = halved_mask(seen.masks)
        certain = torch.ones_like(masks) if seen.mask_certain is None else ~halved_mask(~seen.mask_certain)
        over, under = segmentation_loss(halved(estimate.vertices), estimate.visible, masks, certain)
    keypoints = to_crop(seen.keypoints, seen.boxes)
    return Difference(
        keypoints=robust_keypoint_loss(estimate.keypoints, keypoints, seen.keypoint_confidence),
        motion=motion,
        over=over,
        under=under,
    )
