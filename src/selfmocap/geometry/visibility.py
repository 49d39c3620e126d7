"""Which part of a body a camera sees (Tung et al. 2017, section 3.1, "Visibility"), and the mask that it leaves.

The paper's rule: a face is visible if the ray from the camera's centre through the face's centroid hits that face
first; a vertex is visible if one of its faces is. No gradient flows through it.
"""

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.geometry.camera import NEAREST_DEPTH
from selfmocap.geometry.kernels import to_numpy
from selfmocap.geometry.rasterizer import GRAZING, rasterize, unhidden_faces, vertices_of

_CELLS = 128
"""Cells a side of the grid of centroids on a GPU."""

_ITEMS = 8
"""Bodies whose pairs are in memory at a time on a GPU: about 100 MB each."""

_RAYS_TIMES_FACES = 1 << 24
"""Pairs that the ray casting holds in memory at a time."""


@torch.no_grad()
def visible_vertices(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], cull: bool = True
) -> Bool[Tensor, "*batch vertices"]:
    """Vertices of visible faces; see `visible_faces`. A vertex nearer than NEAREST_DEPTH is never visible."""
    seen = visible_faces(p_cam, faces, cull)
    if p_cam.is_cuda:
        count = p_cam.new_zeros(p_cam.shape[:-1])
        marked = count.index_add(-1, faces.flatten(), seen.repeat_interleave(3, dim=-1).to(count)) > 0
    else:
        by_item = to_numpy(seen.reshape(math.prod(seen.shape[:-1]), len(faces)))
        marked = torch.from_numpy(vertices_of(by_item, _indices(faces), p_cam.shape[-2])).reshape(
            p_cam.shape[:-1]
        )
    return marked & (p_cam[..., 2] > NEAREST_DEPTH)


@torch.no_grad()
def visible_faces(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], cull: bool = True
) -> Bool[Tensor, "*batch faces"]:
    """The paper's rule, exactly. Points are in the camera frame, metres; faces are counter-clockwise from outside. A
    face whose centroid is nearer than NEAREST_DEPTH, or behind the camera, is not visible.

    With `cull`, faces seen from behind take no part: several times faster, and the same answer unless the inside of a
    closed mesh shows, where it cuts through itself. On a CPU in as many threads as torch uses."""
    if p_cam.is_cuda:
        return visible_faces_by_pairs(p_cam, faces, cull)
    seen = unhidden_faces(to_numpy(_in_a_row(p_cam)), _indices(faces), NEAREST_DEPTH, cull)
    return torch.from_numpy(seen).reshape(*p_cam.shape[:-2], len(faces))


@torch.no_grad()
def visible_faces_by_pairs(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"], cull: bool = True
) -> Bool[Tensor, "*batch faces"]:
    """`visible_faces` for a GPU: as on a CPU, centroids are put into the cells of a grid, and every triangle is tested
    against those in its bounding box alone, but all these pairs at once."""
    items = _in_a_row(p_cam)
    seen = torch.zeros(len(items), len(faces), dtype=torch.bool, device=p_cam.device)
    for some, answer in zip(items.split(_ITEMS), seen.split(_ITEMS), strict=True):
        corners = some.double()[:, faces]
        centroid = corners.mean(-2)
        normals = torch.cross(corners.roll(-1, -2), corners.roll(1, -2), dim=-1)
        away = (corners * normals).sum(-1)[..., 0]
        taking_part = (away < 0) | (not cull)
        hit = (away.abs() >= GRAZING * centroid.norm(dim=-1)) & away.isfinite()
        candidate = taking_part & hit & (centroid[..., 2] > NEAREST_DEPTH)
        rays, depth = centroid / centroid[..., 2:], centroid[..., 2]
        triangle, other = _pairs_that_may_overlap(corners, rays, taking_part, candidate)
        inside = (normals.flatten(0, 1)[triangle] @ rays.flatten(0, 1)[other].unsqueeze(-1)).squeeze(-1)
        inside, away = inside * away.flatten()[triangle].sign().unsqueeze(-1), away.abs().flatten()[triangle]
        hides = (inside >= 0).all(-1) & (away < depth.flatten()[other] * inside.sum(-1)) & (triangle != other)
        candidate.view(-1)[other[hides]] = False
        answer.copy_(candidate)
    return seen.reshape(*p_cam.shape[:-2], len(faces))


def _pairs_that_may_overlap(
    corners: Float[Tensor, "items faces 3 3"],
    rays: Float[Tensor, "items faces 3"],
    taking_part: Bool[Tensor, "items faces"],
    candidate: Bool[Tensor, "items faces"],
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Each triangle that takes part, with each candidate whose centroid is in a cell that its bounding box touches:
    places in the flattened items and faces."""
    item = torch.arange(len(corners), device=corners.device)[:, None, None]
    low = torch.where(candidate.unsqueeze(-1), rays[..., :2], torch.inf).amin(1, keepdim=True)
    high = torch.where(candidate.unsqueeze(-1), rays[..., :2], -torch.inf).amax(1, keepdim=True)

    def column_and_row(places: Tensor) -> Tensor:
        cells = (places - low) / (high - low).clamp_min(1e-12) * _CELLS
        column, row = cells.nan_to_num(0).clamp(0, _CELLS - 1).long().split(1, dim=-1)
        return torch.cat([column, row + item * _CELLS], dim=-1)

    column, row = column_and_row(rays[..., :2])[candidate].unbind(-1)
    cell, order = (row * _CELLS + column).sort()
    by_cell = candidate.flatten().nonzero().squeeze(-1)[order]
    start = torch.searchsorted(cell, torch.arange(len(corners) * _CELLS**2 + 1, device=cell.device))

    ahead = (corners[..., 2] > 0).sum(-1)
    places = corners[..., :2] / corners[..., 2:]
    whole = torch.tensor(torch.inf, dtype=places.dtype, device=places.device)
    crossing = (ahead < 3).unsqueeze(-1)
    first = column_and_row(torch.where(crossing, -whole, places.amin(-2)))
    last = column_and_row(torch.where(crossing, whole, places.amax(-2)))
    hiding = taking_part & (ahead > 0)
    first, last = first[hiding], last[hiding]
    which, step = _runs(last[:, 1] - first[:, 1] + 1)
    base = (first[which, 1] + step) * _CELLS
    begin = start[base + first[which, 0]]
    run, step = _runs(start[base + last[which, 0] + 1] - begin)
    return hiding.flatten().nonzero().squeeze(-1)[which[run]], by_cell[begin[run] + step]


def _runs(lengths: Int[Tensor, " runs"]) -> tuple[Int[Tensor, " all"], Int[Tensor, " all"]]:
    """Runs of these lengths one after the other: to which run each element belongs, and its place in it."""
    run = torch.repeat_interleave(lengths)
    return run, torch.arange(len(run), device=run.device) - (lengths.cumsum(0) - lengths)[run]


@torch.no_grad()
def visible_faces_by_ray_casting(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Bool[Tensor, "*batch faces"]:
    """`visible_faces` without culling, the way the paper does it: every ray against every face (Eq. 8 and the three
    conditions around it, as read in the authors' release). Thousands of times slower on a CPU."""
    seen = torch.zeros(*p_cam.shape[:-2], len(faces), dtype=torch.bool, device=p_cam.device)
    for item, answer in zip(_in_a_row(p_cam), seen.view(-1, len(faces)), strict=True):
        answer.copy_(_cast_rays(item[faces]))
    return seen


def _cast_rays(corners: Float[Tensor, "faces 3 3"]) -> Bool[Tensor, " faces"]:
    edges = corners.roll(-1, dims=1) - corners
    normal = torch.cross(edges[:, 0], -edges[:, 2], dim=-1)
    inward = torch.cross(normal[:, None], edges, dim=-1)
    centroid = corners.mean(1)
    rays = centroid / centroid.norm(dim=-1, keepdim=True)
    rays_at_once = max(1, _RAYS_TIMES_FACES // len(corners))
    first_hit = torch.cat([_first_hit(some, corners, normal, inward) for some in rays.split(rays_at_once)])
    itself = torch.arange(len(corners), device=corners.device)
    return (first_hit == itself) & (centroid[:, 2] > NEAREST_DEPTH)


def _first_hit(
    rays: Float[Tensor, "rays 3"],
    corners: Float[Tensor, "faces 3 3"],
    normal: Float[Tensor, "faces 3"],
    inward: Float[Tensor, "faces 3 3"],
) -> Int[Tensor, " rays"]:
    """The face that each ray hits first, -1 for none. `inward[:, e]` is perpendicular to edge e and the normal."""
    along = rays @ normal.mT
    t = (normal * corners[:, 0]).sum(-1) / along
    hit = (along.abs() >= GRAZING) & (t >= 0)
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
    """Pixels whose centre the body covers. `focal` and `center` (px) are those of the image, or of a crop of it (see
    `Camera.crop`). Drawn on the CPU, whatever the device of the points."""
    batch = p_cam.shape[:-2]
    intrinsics = (
        torch.cat([focal.expand(*batch, 2), center.expand(*batch, 2)], dim=-1).reshape(-1, 4).double()
    )
    points = to_numpy(_in_a_row(p_cam).cpu())
    face, _, _ = rasterize(points, _indices(faces), to_numpy(intrinsics.cpu()), height, width, cull=False)
    return torch.from_numpy(face >= 0).reshape(*batch, height, width).to(p_cam.device)


def _in_a_row(p_cam: Float[Tensor, "*batch vertices 3"]) -> Float[Tensor, "items vertices 3"]:
    return p_cam.reshape(math.prod(p_cam.shape[:-2]), *p_cam.shape[-2:])


def _indices(faces: Int[Tensor, "faces 3"]) -> np.ndarray:
    return to_numpy(faces.cpu().int())
