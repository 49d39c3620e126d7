"""Exact truth of a rendered scene: visible keypoints; parts, depth and motion of every pixel."""

from typing import NamedTuple

import numpy as np
import torch

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import CROP_SIZE, to_crop
from selfmocap.geometry.rasterizer import rasterize
from selfmocap.synthetic.figure import BODY_FACE, SKIRT_FACE, FigureMesh
from selfmocap.synthetic.scene import Scene

_MAX_DEPTH_BENEATH = {
    "hip": 0.17, "pelvis": 0.17, "spine": 0.17, "shoulder": 0.12, "collar": 0.12, "neck": 0.12, "head": 0.14,
    "knee": 0.11, "ankle": 0.09, "eye": 0.05, "ear": 0.09, "nose": 0.05, "thorax": 0.14,
}  # fmt: skip
"""Depth, metres, at which a keypoint may lie beneath the surface and still be visible; 8 cm for others."""

_SAME_SURFACE_DISTANCE = 0.03
"""Largest difference of two depths of one surface, metres."""


def max_depth_beneath(names: tuple[str, ...]) -> np.ndarray:
    """Return the depth, metres, at which each keypoint may lie beneath the visible surface."""
    return np.array([
        next((depth for part, depth in _MAX_DEPTH_BENEATH.items() if part in name), 0.08) for name in names
    ])  # fmt: skip


def unoccluded_keypoints(
    pixels: np.ndarray, own_depth: np.ndarray, names: tuple[str, ...], depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Test (images, keypoints) whether each keypoint lies in its image, and whether nothing but the person's own flesh
    and clothes is in front of it (true for those outside).

    pixels: (images, keypoints, 2). own_depth: (images, keypoints) of the keypoints, metres. depth: (images, height,
    width) nearest depths, metres."""
    height, width = depth.shape[1:]
    column, row = np.rint(pixels).clip(-1e6, 1e6).astype(int).transpose(2, 0, 1)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    image = np.arange(len(depth))[:, None]
    nearest = depth[image, row.clip(0, height - 1), column.clip(0, width - 1)]
    return within, ~within | (nearest > own_depth - max_depth_beneath(names))


def visible_keypoints(scene: Scene, boxes: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Apply `unoccluded_keypoints` to the default set in the crops of `boxes`, with the nearest depths (clips * frames,
    side, side). Returns (clips, frames, keypoints) bool; a keypoint outside its crop counts as visible."""
    pixels = to_crop(scene.keypoints.double(), torch.from_numpy(boxes)).flatten(0, 1).numpy()
    assert depth.shape[1:] == (CROP_SIZE, CROP_SIZE)
    own = scene.keypoints_cam[..., 2].flatten(0, 1).numpy()
    _, unoccluded = unoccluded_keypoints(pixels, own, DEFAULT_KEYPOINTS.names, depth)
    return unoccluded.reshape(boxes.shape[:2] + unoccluded.shape[1:])


# ---- every pixel ----------------------------------------------------------------------------------------------


class RayHits(NamedTuple):
    """Hits of the rays through the centres of an image's pixels; see `geometry.rasterizer.rasterize`."""

    face: np.ndarray
    depth: np.ndarray
    barycentric: np.ndarray


def cast_rays(vertices: np.ndarray, lens: np.ndarray, figure: FigureMesh, size: tuple[int, int]) -> RayHits:
    """Find the hits of images of `size` (height, width) with dressed `vertices` (images, 3, vertices) and `lens`
    (images, 4)."""
    return RayHits(*rasterize(vertices.swapaxes(1, 2), figure.faces, lens, *size, cull=True))


def person_pixels(face: np.ndarray, figure: FigureMesh) -> np.ndarray:
    """Test whether each hit face belongs to the person, clothes included."""
    kind = figure.face_kind[face]
    return (face >= 0) & ((kind == BODY_FACE) | (kind == SKIRT_FACE))


def part_pixels(face: np.ndarray, figure: FigureMesh) -> np.ndarray:
    """Return uint8: 0 without a person, k on the part that joint k - 1 moves."""
    return np.where(face >= 0, figure.face_part[face], 0).astype(np.uint8)


def forward_flow(
    hits: RayHits,
    next_hits: RayHits,
    next_vertices: np.ndarray,
    lens: np.ndarray,
    figure: FigureMesh,
    background_to_next: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the flow (height, width, 2) float32 px of the surface at each pixel to the next image, and whether it is
    visible there.

    here, there: the hits of both images through the same `lens` (4,). vertices_there: (3, vertices). to_there: (3, 3),
    pixels of the background to their pixels in the next image."""
    height, width = hits.face.shape
    row, column = np.mgrid[:height, :width].astype(float)
    x, y, w = np.tensordot(background_to_next, np.stack([column, row, np.ones_like(row)]), axes=1)
    landing, depth = (
        np.stack([x, y], axis=-1) / np.maximum(w, 1e-6)[..., None],
        np.full(hits.face.shape, np.inf),
    )
    hit = hits.face >= 0
    corners = next_vertices.T[figure.faces[hits.face[hit]]].astype(float)
    point = (corners * hits.barycentric[hit][..., None]).sum(-2)
    depth[hit] = point[:, 2]
    landing[hit] = point[:, :2] / point[:, 2:] * lens[:2] + lens[2:]
    return (landing - np.stack([column, row], axis=-1)).astype(np.float32), _lands_on_nearest(
        landing, depth, next_hits.depth
    )


def _lands_on_nearest(landing: np.ndarray, depth: np.ndarray, next_depth: np.ndarray) -> np.ndarray:
    """Test whether a surface that lands at a pixel with a depth (infinite: the background) is the nearest there."""
    height, width = next_depth.shape
    column, row = np.rint(landing.clip(-1e6, 1e6)).astype(int).transpose(2, 0, 1)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    nearest = next_depth[row.clip(0, height - 1), column.clip(0, width - 1)]
    background = np.isinf(depth)
    same = (
        np.abs(np.where(background, 0.0, nearest - np.where(background, 0.0, depth))) < _SAME_SURFACE_DISTANCE
    )
    return within & np.where(background, np.isinf(nearest), same)
