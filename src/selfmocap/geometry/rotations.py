"""Rotation representations that a network can predict, and interpolation, beside those of `roma`; any batch shape."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.tensors import map_chunked, safe_normalize

R_YUP_ZUP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
"""From a right-handed world with z up to one with y up; x stays, y (away from the viewer) becomes -z."""

R_ZUP_YUP = R_YUP_ZUP.T.contiguous()
"""The inverse of R_YUP_ZUP."""


def matrix_from_6d(columns: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Compute rotations from two 3-vectors (x1 y1 z1 x2 y2 z2) by Gram-Schmidt (Zhou et al., CVPR 2019).

    The vectors become the first two columns. Zero or parallel vectors give a finite matrix and a finite gradient, which
    `roma.special_gramschmidt` does not."""
    first = safe_normalize(columns[..., :3])
    second = columns[..., 3:]
    second = safe_normalize(second - (first * second).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1)


def matrix_to_6d(R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """Return the first two columns of a rotation, one after the other."""
    return torch.cat([R[..., :, 0], R[..., :, 1]], dim=-1)


def matrix_from_euler(
    sin: Float[Tensor, "*batch 3"], cos: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """Compute R = Rz Ry Rx from the sines and cosines of the angles about x, y, z (Tung et al. 2017, section 3).

    The order of the product is that of the authors' release. Each (sin, cos) pair is normalised first."""
    pair = safe_normalize(torch.stack([sin, cos], dim=-1))
    (sx, sy, sz), (cx, cy, cz) = pair[..., 0].unbind(-1), pair[..., 1].unbind(-1)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_euler(
    R: Float[Tensor, "*batch 3 3"],
) -> tuple[Float[Tensor, "*batch 3"], Float[Tensor, "*batch 3"]]:
    """Compute (sin, cos) of the angles about x, y, z of R = Rz Ry Rx; the middle angle lies in [-90, 90] degrees."""
    sin_y = (-R[..., 2, 0]).clamp(-1, 1)
    inside = sin_y.abs() < 1  # At 1 the derivative of asin is infinite.
    angle = torch.stack(
        [
            torch.atan2(R[..., 2, 1], R[..., 2, 2]),
            torch.where(inside, torch.asin(torch.where(inside, sin_y, 0.0)), sin_y * (math.pi / 2)),
            torch.atan2(R[..., 1, 0], R[..., 0, 0]),
        ],
        dim=-1,
    )
    return angle.sin(), angle.cos()


def matrix_from_axis_times_angle(axis_and_angle: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Compute the rotation by a signed, unbounded angle (the fourth number, radians) about an axis (the first three).

    The axis is normalised (Tung et al. 2017, section 3)."""
    return roma.rotvec_to_rotmat(safe_normalize(axis_and_angle[..., :3]) * axis_and_angle[..., 3:])


def shortest_arc(a: Float[Tensor, "*#batch 3"], b: Float[Tensor, "*#batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Compute the rotation by the smallest angle that turns the direction of a to that of b.

    It is the identity for opposite directions, whose axis is undetermined."""
    normal = torch.linalg.cross(a, b)
    angle = torch.atan2(normal.norm(dim=-1), (a * b).sum(-1))
    return roma.rotvec_to_rotmat(safe_normalize(normal) * angle[..., None])


def interpolate(
    R_a: Float[Tensor, "*#batch 3 3"],
    R_b: Float[Tensor, "*#batch 3 3"],
    fraction: Float[Tensor, "*#batch"] | float,
) -> Float[Tensor, "*batch 3 3"]:
    """Compute the rotation on the shortest arc from a (fraction 0) to b (fraction 1).

    `roma.rotmat_slerp` takes one list of fractions for all rotations; this takes one for each."""
    fraction = torch.as_tensor(fraction, dtype=R_a.dtype, device=R_a.device)
    return R_a @ roma.rotvec_to_rotmat(fraction[..., None] * roma.rotmat_to_rotvec(R_a.mT @ R_b))


def interpolate_frames(
    R: Float[Tensor, "time *joints 3 3"],
    p: Float[Tensor, "time 3"],
    before: Int[Tensor, " moments"],
    after: Int[Tensor, " moments"],
    fraction: Float[Tensor, " moments"],
) -> tuple[Float[Tensor, "moments *joints 3 3"], Float[Tensor, "moments 3"]]:
    """Interpolate a motion between its frames `before` (fraction 0) and `after` (fraction 1).

    Rotations follow the shortest arc, positions a straight line."""
    by_rotation = fraction.reshape(-1, *[1] * (R.ndim - 3))
    rotations = map_chunked(lambda a, b, f: interpolate(R[a], R[b], f), before, after, by_rotation)
    return rotations, torch.lerp(p[before], p[after], fraction[:, None].to(p))


def continuous_quaternions(R: Float[Tensor, "time *batch 3 3"]) -> Float[Tensor, "time *batch 4"]:
    """Compute unit quaternions (x, y, z, w), each in the hemisphere of the one a frame before."""
    quaternions = map_chunked(roma.rotmat_to_unitquat, R)
    turned = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0
    sign = 1 - 2 * (turned.cumsum(0) % 2)
    return torch.cat([quaternions[:1], quaternions[1:] * sign[..., None]])
