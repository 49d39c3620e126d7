"""The forward model (Tung et al. 2017, section 3.1): from a body, its motion and a camera to what is seen."""

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
    """What the camera sees of the body, in pixels of the crops that `boxes` (centre x, centre y, half side; px of the
    image) cut; differentiable in parameters and camera, visibility excepted.

    The axis before the last of `boxes` is time: a row's flow goes to the row after it where `has_next` says so. By
    default every row but the last has a next; see `consecutive` for frames with gaps."""
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
    """A window moves all its pixels alike, so between two frames that it cuts only its scale remains."""
    moved = torch.zeros_like(pixels)
    moved[..., :-1, :, :] = pixels.diff(dim=-3)
    return torch.where(has_next[..., None, None], moved * CROP_SIZE / (2 * boxes[..., None, 2:]), 0.0)


def consecutive(frame_index: Int[Tensor, "*batch time"]) -> Bool[Tensor, "*batch time"]:
    """Which rows are followed by the next frame of the video."""
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
    """The body drawn into the crops that `boxes` cut, `size` pixels a side; for overlays and overlap."""
    p_cam = camera.to_camera(body.pose(parameters).vertices)
    crop = camera.crop(boxes, size)
    return rendered_mask(
        p_cam.expand(*boxes.shape[:-1], *p_cam.shape[-2:]), body.faces, crop.focal, crop.center, size, size
    )
