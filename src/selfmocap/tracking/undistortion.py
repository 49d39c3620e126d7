"""Undistort observations: what a detector measures in the image of a lens, as a pinhole camera would show it."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import grid_sample

from selfmocap.geometry.camera import CROP_SIZE, from_crop, to_crop
from selfmocap.geometry.lens import Lens
from selfmocap.tracking.observations import Observations

_FRAMES_AT_ONCE = 16


def undistort_observations(observed: Observations, lens: Lens) -> Observations:
    """Convert keypoints, hands, boxes, images and flow to the lens' pinhole camera; the same without distortion.

    What the lens cannot undistort gets confidence 0. A crop keeps its middle; it is as large as the old one appears."""
    if not lens.is_distorted:
        return observed
    keypoints, visible = _undistorted(lens, observed.keypoints)
    boxes = _undistorted_boxes(lens, observed.boxes)
    hands = {}
    if observed.hand_keypoints is not None and observed.hand_confidence is not None:
        points, valid = _undistorted(lens, observed.hand_keypoints)
        confidence = observed.hand_confidence * valid.all(-1)
        hands = {
            "hand_keypoints": torch.where((confidence > 0)[..., None, None], points, 0.0),
            "hand_confidence": confidence,
        }
    undistorted = replace(
        observed,
        boxes=boxes,
        keypoints=keypoints,
        keypoint_confidence=observed.keypoint_confidence * visible,
        **hands,
    )
    parts = [
        _undistorted_images(lens, observed[rows], boxes[rows])
        for rows in torch.arange(len(observed)).split(_FRAMES_AT_ONCE)
    ]
    return replace(undistorted, **{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _undistorted(
    lens: Lens, pixels: Float[Tensor, "*batch 2"]
) -> tuple[Float[Tensor, "*batch 2"], Bool[Tensor, "*batch"]]:
    """Return the pixels, unchanged where they have no undistorted place, and where they have one."""
    found = lens.undistort(pixels)
    valid = found.isfinite().all(-1)
    return torch.where(valid[..., None], found, pixels), valid


def _undistorted_boxes(lens: Lens, boxes: Float[Tensor, "time 3"]) -> Float[Tensor, "time 3"]:
    """Return square boxes around the undistorted middle, as large as the mean distance of the undistorted edges."""
    center, half = boxes[:, None, :2], boxes[:, None, 2:]
    sides = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]).to(boxes)
    middle, _ = _undistorted(lens, center)
    edges, _ = _undistorted(lens, center + half * sides)
    distance = (edges - middle).norm(dim=-1).mean(-1, keepdim=True)
    return torch.cat([middle[:, 0], distance], dim=-1)


def _undistorted_images(
    lens: Lens, observed: Observations, boxes: Float[Tensor, "time 3"]
) -> dict[str, Tensor]:
    """Resample the images in the windows `boxes` of the undistorted image."""
    side = torch.arange(CROP_SIZE, dtype=torch.float32)
    pixels = torch.cartesian_prod(side, side).flip(-1).expand(len(boxes), -1, 2)
    image = from_crop(pixels, boxes)
    source = to_crop(lens.distort(image), observed.boxes)
    grid = ((source + 0.5) * 2 / CROP_SIZE - 1).unflatten(1, (CROP_SIZE, CROP_SIZE))

    def sampled(images: Float[Tensor, "time height width channels"], mode: str) -> Tensor:
        return grid_sample(images.permute(0, 3, 1, 2), grid, mode, align_corners=False).permute(0, 2, 3, 1)

    images: dict[str, Tensor] = {}
    if observed.crops is not None:
        images["crops"] = sampled(observed.crops.float(), "bilinear").round().to(torch.uint8)
    for name in ("masks", "mask_certain"):
        if (mask := getattr(observed, name)) is not None:
            images[name] = sampled(mask.float()[..., None], "nearest")[..., 0] > 0.5
    if observed.flow is not None and observed.flow_confidence is not None:
        flow, confidence = (
            sampled(observed.flow, "bilinear"),
            sampled(observed.flow_confidence[..., None], "bilinear"),
        )
        ends = lens.distort(image) + flow.flatten(1, 2) * (2 * observed.boxes[:, None, 2:] / CROP_SIZE)
        moved, valid = _undistorted(lens, ends)
        images["flow"] = (to_crop(moved, boxes) - pixels).unflatten(1, (CROP_SIZE, CROP_SIZE))
        images["flow_confidence"] = confidence[..., 0] * valid.unflatten(1, (CROP_SIZE, CROP_SIZE))
    return images
