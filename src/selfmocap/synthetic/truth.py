"""What is exactly true of a drawn scene: which keypoints can be seen; parts, depth and motion of every pixel."""

from typing import NamedTuple

import numpy as np
import torch

from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import CROP_SIZE, to_crop
from selfmocap.geometry.rasterizer import rasterize
from selfmocap.synthetic.figure import BODY, SKIRT, Figure
from selfmocap.synthetic.scene import Scene

_DEEP = {
    "hip": 0.17, "pelvis": 0.17, "spine": 0.17, "shoulder": 0.12, "collar": 0.12, "neck": 0.12, "head": 0.14,
    "knee": 0.11, "ankle": 0.09, "eye": 0.05, "ear": 0.09, "nose": 0.05, "thorax": 0.14,
}  # fmt: skip
"""Metres that a keypoint may lie beneath the surface and still be seen; 8 cm where nothing is said."""

_SAME = 0.03
"""Metres within which two depths are of one surface."""


def depth_beneath(names: tuple[str, ...]) -> np.ndarray:
    """For each keypoint how deep it may lie beneath what is seen of it, metres."""
    return np.array([
        next((depth for part, depth in _DEEP.items() if part in name), 0.08) for name in names
    ])  # fmt: skip


def seen_keypoints(
    pixels: np.ndarray, own_depth: np.ndarray, names: tuple[str, ...], depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(pictures, keypoints) bool: whether a keypoint lies in its picture, and whether nothing but the person's own
    flesh and clothes is before it (true for those outside).

    pixels: (pictures, keypoints, 2). own_depth: (pictures, keypoints) of the keypoints, metres. depth: (pictures,
    height, width) nearest depths, metres."""
    height, width = depth.shape[1:]
    column, row = np.rint(pixels).clip(-1e6, 1e6).astype(int).transpose(2, 0, 1)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    picture = np.arange(len(depth))[:, None]
    nearest = depth[picture, row.clip(0, height - 1), column.clip(0, width - 1)]
    return within, ~within | (nearest > own_depth - depth_beneath(names))


def visible_keypoints(scene: Scene, boxes: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(clips, frames, keypoints) bool: `seen_keypoints` of the default set in the crops that `boxes` cut, whose nearest
    depths (clips * frames, side, side) are given. A keypoint outside its crop counts as seen."""
    pixels = to_crop(scene.keypoints.double(), torch.from_numpy(boxes)).flatten(0, 1).numpy()
    assert depth.shape[1:] == (CROP_SIZE, CROP_SIZE)
    own = scene.keypoints_cam[..., 2].flatten(0, 1).numpy()
    _, seen = seen_keypoints(pixels, own, DEFAULT_KEYPOINTS.names, depth)
    return seen.reshape(boxes.shape[:2] + seen.shape[1:])


# ---- every pixel ----------------------------------------------------------------------------------------------


class Hits(NamedTuple):
    """What the rays through the centres of a picture's pixels hit; see `raster.rasterize`."""

    face: np.ndarray
    depth: np.ndarray
    barycentric: np.ndarray


def hits(vertices: np.ndarray, lens: np.ndarray, figure: Figure, size: tuple[int, int]) -> Hits:
    """Of pictures of `size` (height, width) with dressed `vertices` (pictures, 3, vertices), `lens` (pictures, 4)."""
    return Hits(*rasterize(vertices.swapaxes(1, 2), figure.faces, lens, *size, cull=True))


def person_pixels(face: np.ndarray, figure: Figure) -> np.ndarray:
    """Whether each hit face belongs to the person, clothes included."""
    kind = figure.kind[face]
    return (face >= 0) & ((kind == BODY) | (kind == SKIRT))


def part_pixels(face: np.ndarray, figure: Figure) -> np.ndarray:
    """uint8: 0 where there is no person, k on the part that joint k - 1 moves."""
    return np.where(face >= 0, figure.parts[face], 0).astype(np.uint8)


def forward_flow(
    here: Hits,
    there: Hits,
    vertices_there: np.ndarray,
    lens: np.ndarray,
    figure: Figure,
    to_there: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """(height, width, 2) float32 px: where the surface at each pixel goes by the next picture; and bool: whether it can
    be seen there.

    here, there: the hits of both pictures, one each, through the same `lens` (4,). vertices_there: (3, vertices).
    to_there: (3, 3), pixels of the background to their pixels in the next picture."""
    height, width = here.face.shape
    row, column = np.mgrid[:height, :width].astype(float)
    x, y, w = np.tensordot(to_there, np.stack([column, row, np.ones_like(row)]), axes=1)
    landing, depth = (
        np.stack([x, y], axis=-1) / np.maximum(w, 1e-6)[..., None],
        np.full(here.face.shape, np.inf),
    )
    hit = here.face >= 0
    corners = vertices_there.T[figure.faces[here.face[hit]]].astype(float)
    point = (corners * here.barycentric[hit][..., None]).sum(-2)
    depth[hit] = point[:, 2]
    landing[hit] = point[:, :2] / point[:, 2:] * lens[:2] + lens[2:]
    return (landing - np.stack([column, row], axis=-1)).astype(np.float32), _arrives(
        landing, depth, there.depth
    )


def _arrives(landing: np.ndarray, depth: np.ndarray, depth_there: np.ndarray) -> np.ndarray:
    """Whether a surface that lands at some pixel with some depth (infinite: the background) is the nearest there."""
    height, width = depth_there.shape
    column, row = np.rint(landing.clip(-1e6, 1e6)).astype(int).transpose(2, 0, 1)
    within = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    nearest = depth_there[row.clip(0, height - 1), column.clip(0, width - 1)]
    background = np.isinf(depth)
    same = np.abs(np.where(background, 0.0, nearest - np.where(background, 0.0, depth))) < _SAME
    return within & np.where(background, np.isinf(nearest), same)
