"""Which part of a body a camera sees (Tung et al. 2017, section 3.1, "Visibility"), and the mask that it leaves.

The paper's rule: a face is visible if the ray from the camera's centre through the face's centroid hits that face
first; a vertex is visible if one of its faces is. No gradient flows through it.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.camera import NEAREST_DEPTH
from selfmocap.kernels import to_numpy
from selfmocap.raster import rasterize, unhidden_faces, vertices_of

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
        marked = vertices_of(
            to_numpy(seen.reshape(math.prod(seen.shape[:-1]), len(faces))), _indices(faces), p_cam.shape[-2]
        )
        marked = torch.from_numpy(marked).reshape(p_cam.shape[:-1])
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
        return visible_faces_by_ray_casting(p_cam, faces)
    seen = unhidden_faces(
        to_numpy(p_cam).reshape(-1, *p_cam.shape[-2:]), _indices(faces), NEAREST_DEPTH, cull
    )
    return torch.from_numpy(seen).reshape(*p_cam.shape[:-2], len(faces))


@torch.no_grad()
def visible_faces_by_ray_casting(
    p_cam: Float[Tensor, "*batch vertices 3"], faces: Int[Tensor, "faces 3"]
) -> Bool[Tensor, "*batch faces"]:
    """`visible_faces` without culling, the way the paper does it: every ray against every face (Eq. 8 and the three
    conditions around it, as read in the authors' release). Two thousand times slower on a CPU."""
    items = p_cam.reshape(math.prod(p_cam.shape[:-2]), *p_cam.shape[-2:])
    seen = [_cast_rays(item[faces]) for item in items]
    return (
        torch.stack(seen).reshape(*p_cam.shape[:-2], len(faces))
        if seen
        else faces.new_zeros((*p_cam.shape[:-2], len(faces)), dtype=torch.bool)
    )


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
    hit = (along.abs() >= 1e-8) & (t >= 0)
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
    points = to_numpy(p_cam.cpu()).reshape(-1, *p_cam.shape[-2:])
    face, _, _ = rasterize(points, _indices(faces), to_numpy(intrinsics.cpu()), height, width, cull=False)
    return torch.from_numpy(face >= 0).reshape(*batch, height, width).to(p_cam.device)


def _indices(faces: Int[Tensor, "faces 3"]):
    return to_numpy(faces.cpu().int())
