"""The differentiable forward model: project a moving body into its crops (Tung et al. 2017, section 3.1)."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import CROP_SIZE, Camera, project, to_crop
from selfmocap.geometry.visibility import rendered_mask, visible_vertices
from selfmocap.losses.projection import Projection


def reproject(
    body: Body,
    parameters: BodyParameters,
    camera: Camera,
    boxes: Float[Tensor, "*batch time 3"],
    has_next: Bool[Tensor, "*#batch time"] | None = None,
    keypoints: str = DEFAULT_KEYPOINTS.name,
) -> Projection:
    """Project the body into the crops of `boxes` (centre x, centre y, half side; px of the image).

    Differentiable in the parameters and the camera, except for visibility. The axis before the last of `boxes` is
    time. A row has flow to the next row if `has_next` is true: by default every row but the last; see
    `has_next_frame` for frames with gaps."""
    vertices_world = body.pose(parameters).vertices
    p_cam = camera.to_camera(vertices_world)
    p_cam = p_cam.expand(*torch.broadcast_shapes(p_cam.shape[:-2], boxes.shape[:-1]), *p_cam.shape[-2:])
    pixels = project(p_cam, camera.focal, camera.center)
    if has_next is None:
        has_next = torch.arange(boxes.shape[-2], device=boxes.device) < boxes.shape[-2] - 1
    has_next = has_next.expand(p_cam.shape[:-2])
    return Projection(
        keypoint_set=keypoints,
        keypoints=to_crop(camera.project(body.keypoints(vertices_world, keypoints)), boxes),
        vertices=to_crop(pixels, boxes),
        visible=visible_vertices(p_cam, body.faces),
        flow=_flow(pixels, boxes, has_next),
        has_next=has_next,
    )


def _flow(
    pixels: Float[Tensor, "*batch time vertices 2"],
    boxes: Float[Tensor, "*#batch time 3"],
    has_next: Bool[Tensor, "*batch time"],
) -> Float[Tensor, "*batch time vertices 2"]:
    """Compute the flow; one box crops both frames, so its centre cancels and only its scale remains."""
    displacement = torch.zeros_like(pixels)
    displacement[..., :-1, :, :] = pixels.diff(dim=-3)
    return torch.where(has_next[..., None, None], displacement * CROP_SIZE / (2 * boxes[..., None, 2:]), 0.0)


def has_next_frame(frame_index: Int[Tensor, "*batch time"]) -> Bool[Tensor, "*batch time"]:
    """Return whether each row is followed by the next frame of the video."""
    follows = torch.zeros_like(frame_index, dtype=torch.bool)
    follows[..., :-1] = frame_index.diff(dim=-1) == 1
    return follows


@torch.no_grad()
def body_mask(
    body: Body,
    parameters: BodyParameters,
    camera: Camera,
    boxes: Float[Tensor, "*batch 3"],
    size: int = CROP_SIZE,
) -> Bool[Tensor, "*batch size size"]:
    """Render the mask of the body in the crops of `boxes`, `size` pixels a side."""
    p_cam = camera.to_camera(body.pose(parameters).vertices)
    crop = camera.crop(boxes, size)
    return rendered_mask(
        p_cam.expand(*boxes.shape[:-1], *p_cam.shape[-2:]), body.faces, crop.focal, crop.center, size, size
    )
