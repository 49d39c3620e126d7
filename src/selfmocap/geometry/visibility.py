"""Visibility of a body to a camera (Tung et al. 2017, section 3.1, "Visibility"), and the mask of a body.

The paper's rule: a face is visible if the ray from the camera's centre through the face's centroid hits that face
first. A vertex is visible if one of its faces is. Visibility has no gradient.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.geometry.camera import NEAREST_DEPTH
from selfmocap.geometry.kernels import to_numpy
from selfmocap.geometry.rasterizer import MIN_RAY_NORMAL, face_vertices_mask, rasterize, unoccluded_faces

_GPU_CELLS = 128
"""Cells along a side of the grid of centroids on a GPU."""

_BODIES_IN_MEMORY = 8
"""Bodies whose pairs are in memory at a time on a GPU: about 100 MB each."""

_PAIRS_IN_MEMORY = 1 << 24
"""Pairs of a ray and a face that the ray casting holds in memory at a time."""


@torch.no_grad()
def visible_vertices(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], cull: bool = True
) -> Bool[Tensor, "*batch vertices"]:
    """Compute the vertices of visible faces (`visible_faces`). A vertex nearer than NEAREST_DEPTH is never visible."""
    visible = visible_faces(p_cam, faces, cull)
    if p_cam.is_cuda:
        count = p_cam.new_zeros(p_cam.shape[:-1])
        marked = count.index_add(-1, faces.flatten(), visible.repeat_interleave(3, dim=-1).to(count)) > 0
    else:
        by_item = to_numpy(visible.reshape(math.prod(visible.shape[:-1]), len(faces)))
        marked = torch.from_numpy(face_vertices_mask(by_item, _indices(faces), p_cam.shape[-2])).reshape(
            p_cam.shape[:-1]
        )
    return marked & (p_cam[..., 2] > NEAREST_DEPTH)


@torch.no_grad()
def visible_faces(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], cull: bool = True
) -> Bool[Tensor, "*batch faces"]:
    """Compute the visible faces by the paper's rule, exactly.

    Points are in the camera frame, metres; faces are counter-clockwise from outside. A face whose centroid is nearer
    than NEAREST_DEPTH, or behind the camera, is not visible. With `cull`, back faces take no part: several times
    faster, and equal unless the inside of a closed mesh shows where it intersects itself. Uses torch's threads."""
    if p_cam.is_cuda:
        return visible_faces_by_pairs(p_cam, faces, cull)
    visible = unoccluded_faces(to_numpy(_flatten_batch(p_cam)), _indices(faces), NEAREST_DEPTH, cull)
    return torch.from_numpy(visible).reshape(*p_cam.shape[:-2], len(faces))


@torch.no_grad()
def visible_faces_by_pairs(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], cull: bool = True
) -> Bool[Tensor, "*batch faces"]:
    """Compute `visible_faces` on a GPU.

    As on a CPU, centroids are sorted into the cells of a grid, and a triangle is compared with the centroids in its
    bounding box only; all these pairs are compared at once."""
    items = _flatten_batch(p_cam)
    visible = torch.zeros(len(items), len(faces), dtype=torch.bool, device=p_cam.device)
    for some, answer in zip(items.split(_BODIES_IN_MEMORY), visible.split(_BODIES_IN_MEMORY), strict=True):
        corners = some.double()[:, faces]
        centroid = corners.mean(-2)
        normals = torch.cross(corners.roll(-1, -2), corners.roll(1, -2), dim=-1)
        facing_away = (corners * normals).sum(-1)[..., 0]
        participating = (facing_away < 0) | (not cull)
        hit = (facing_away.abs() >= MIN_RAY_NORMAL * centroid.norm(dim=-1)) & facing_away.isfinite()
        candidate = participating & hit & (centroid[..., 2] > NEAREST_DEPTH)
        rays, depth = centroid / centroid[..., 2:], centroid[..., 2]
        triangle, other = _pairs_that_may_overlap(corners, rays, participating, candidate)
        inside = (normals.flatten(0, 1)[triangle] @ rays.flatten(0, 1)[other].unsqueeze(-1)).squeeze(-1)
        inside, facing_away = (
            inside * facing_away.flatten()[triangle].sign().unsqueeze(-1),
            facing_away.abs().flatten()[triangle],
        )
        hides = (
            (inside >= 0).all(-1)
            & (facing_away < depth.flatten()[other] * inside.sum(-1))
            & (triangle != other)
        )
        candidate.view(-1)[other[hides]] = False
        answer.copy_(candidate)
    return visible.reshape(*p_cam.shape[:-2], len(faces))


def _pairs_that_may_overlap(
    corners: Float[Tensor, "items faces 3 3"],
    rays: Float[Tensor, "items faces 3"],
    participating: Bool[Tensor, "items faces"],
    candidate: Bool[Tensor, "items faces"],
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Pair each participating triangle with each candidate whose centroid is in a cell of its bounding box.

    Returns indices into the flattened items and faces."""
    item = torch.arange(len(corners), device=corners.device)[:, None, None]
    low = torch.where(candidate.unsqueeze(-1), rays[..., :2], torch.inf).amin(1, keepdim=True)
    high = torch.where(candidate.unsqueeze(-1), rays[..., :2], -torch.inf).amax(1, keepdim=True)

    def column_and_row(positions: Tensor) -> Tensor:
        cells = (positions - low) / (high - low).clamp_min(1e-12) * _GPU_CELLS
        column, row = cells.nan_to_num(0).clamp(0, _GPU_CELLS - 1).long().split(1, dim=-1)
        return torch.cat([column, row + item * _GPU_CELLS], dim=-1)

    column, row = column_and_row(rays[..., :2])[candidate].unbind(-1)
    cell, order = (row * _GPU_CELLS + column).sort()
    by_cell = candidate.flatten().nonzero().squeeze(-1)[order]
    start = torch.searchsorted(cell, torch.arange(len(corners) * _GPU_CELLS**2 + 1, device=cell.device))

    ahead = (corners[..., 2] > 0).sum(-1)
    positions = corners[..., :2] / corners[..., 2:]
    infinity = torch.tensor(torch.inf, dtype=positions.dtype, device=positions.device)
    crossing = (ahead < 3).unsqueeze(-1)
    first = column_and_row(torch.where(crossing, -infinity, positions.amin(-2)))
    last = column_and_row(torch.where(crossing, infinity, positions.amax(-2)))
    hiding = participating & (ahead > 0)
    first, last = first[hiding], last[hiding]
    which, step = _run_indices(last[:, 1] - first[:, 1] + 1)
    base = (first[which, 1] + step) * _GPU_CELLS
    begin = start[base + first[which, 0]]
    run, step = _run_indices(start[base + last[which, 0] + 1] - begin)
    return hiding.flatten().nonzero().squeeze(-1)[which[run]], by_cell[begin[run] + step]


def _run_indices(lengths: Int[Tensor, " runs"]) -> tuple[Int[Tensor, " all"], Int[Tensor, " all"]]:
    """Return, for concatenated runs of these lengths, the run of each element and its position in the run."""
    run = torch.repeat_interleave(lengths)
    return run, torch.arange(len(run), device=run.device) - (lengths.cumsum(0) - lengths)[run]


@torch.no_grad()
def visible_faces_by_ray_casting(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Bool[Tensor, "*batch faces"]:
    """Compute `visible_faces` without culling as the paper does: every ray against every face.

    Eq. 8 and the three conditions around it, as read in the authors' release. Thousands of times slower on a CPU."""
    visible = torch.zeros(*p_cam.shape[:-2], len(faces), dtype=torch.bool, device=p_cam.device)
    for item, answer in zip(_flatten_batch(p_cam), visible.view(-1, len(faces)), strict=True):
        answer.copy_(_cast_rays(item[faces]))
    return visible


def _cast_rays(corners: Float[Tensor, "faces 3 3"]) -> Bool[Tensor, " faces"]:
    edges = corners.roll(-1, dims=1) - corners
    normal = torch.cross(edges[:, 0], -edges[:, 2], dim=-1)
    inward = torch.cross(normal[:, None], edges, dim=-1)
    centroid = corners.mean(1)
    rays = centroid / centroid.norm(dim=-1, keepdim=True)
    rays_at_once = max(1, _PAIRS_IN_MEMORY // len(corners))
    first_hit = torch.cat([_first_hit(some, corners, normal, inward) for some in rays.split(rays_at_once)])
    itself = torch.arange(len(corners), device=corners.device)
    return (first_hit == itself) & (centroid[:, 2] > NEAREST_DEPTH)


def _first_hit(
    rays: Float[Tensor, "rays 3"],
    corners: Float[Tensor, "faces 3 3"],
    normal: Float[Tensor, "faces 3"],
    inward: Float[Tensor, "faces 3 3"],
) -> Int[Tensor, " rays"]:
    """Find the first face that each ray hits, -1 for none. `inward[:, e]` is perpendicular to edge e and the normal."""
    along = rays @ normal.mT
    t = (normal * corners[:, 0]).sum(-1) / along
    hit = (along.abs() >= MIN_RAY_NORMAL) & (t >= 0)
    for edge in range(3):
        height = (rays @ inward[:, edge].mT) * t - (inward[:, edge] * corners[:, edge]).sum(-1)
        hit &= height >= 0
    t, face = torch.where(hit, t, torch.inf).min(-1)
    return torch.where(t.isfinite(), face, -1)


@torch.no_grad()
def rendered_mask(
    p_cam: Float[Tensor, "*batch vertices 3"],
    faces: Int[Tensor, "faces 3"],
    focal: Float[Tensor, "*#batch 2"],
    center: Float[Tensor, "*#batch 2"],
    height: int,
    width: int,
) -> Bool[Tensor, "*batch height width"]:
    """Compute the pixels whose centre the body covers.

    `focal` and `center` (px) are those of the image, or of a crop (`Camera.crop`). Runs on the CPU for any device."""
    batch = p_cam.shape[:-2]
    intrinsics = (
        torch.cat([focal.expand(*batch, 2), center.expand(*batch, 2)], dim=-1).reshape(-1, 4).double()
    )
    points = to_numpy(_flatten_batch(p_cam).cpu())
    face, _, _ = rasterize(points, _indices(faces), to_numpy(intrinsics.cpu()), height, width, cull=False)
    return torch.from_numpy(face >= 0).reshape(*batch, height, width).to(p_cam.device)


def _flatten_batch(p_cam: Float[Tensor, "*batch vertices 3"]) -> Float[Tensor, "items vertices 3"]:
    return p_cam.reshape(math.prod(p_cam.shape[:-2]), *p_cam.shape[-2:])


def _indices(faces: Int[Tensor, "faces 3"]) -> np.ndarray:
    return to_numpy(faces.cpu().int())
