"""Rotation forms that a network can predict, next to what `roma` offers; any batch shape."""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.geometry.tensors import in_parts, safe_normalize


def matrix_from_6d(columns: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation whose first two columns are the Gram-Schmidt form of two 3-vectors, (x1 y1 z1 x2 y2 z2)
    (Zhou et al., CVPR 2019). Vectors that are zero or parallel give a finite matrix and gradient."""
    first = safe_normalize(columns[..., :3])
    second = columns[..., 3:]
    second = safe_normalize(second - (first * second).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.cross(first, second, dim=-1)], dim=-1)


def matrix_to_6d(R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """The first two columns of a rotation, one after the other."""
    return torch.cat([R[..., :, 0], R[..., :, 1]], dim=-1)


def matrix_from_euler(
    sin: Float[Tensor, "*batch 3"], cos: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """R = Rz Ry Rx from the sines and cosines of the angles about x, y, z (Tung et al. 2017, section 3;
    the product's order is that of the authors' release). Each (sin, cos) pair is normalised first."""
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
    """(sin, cos) of the angles about x, y, z with R = Rz Ry Rx; the middle angle lies in [-90, 90] degrees."""
    angle = torch.stack(
        [
            torch.atan2(R[..., 2, 1], R[..., 2, 2]),
            torch.asin((-R[..., 2, 0]).clamp(-1, 1)),
            torch.atan2(R[..., 1, 0], R[..., 0, 0]),
        ],
        dim=-1,
    )
    return angle.sin(), angle.cos()


def matrix_from_axis_times_angle(axis_and_angle: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """The paper's joint rotation: the first three numbers, normalised, are the axis, the fourth is the signed,
    unbounded angle in radians (Tung et al. 2017, section 3)."""
    return roma.rotvec_to_rotmat(safe_normalize(axis_and_angle[..., :3]) * axis_and_angle[..., 3:])


def interpolate(
    R_a: Float[Tensor, "*#batch 3 3"],
    R_b: Float[Tensor, "*#batch 3 3"],
    share: Float[Tensor, "*#batch"] | float,
) -> Float[Tensor, "*batch 3 3"]:
    """The rotation on the shortest arc from a (share 0) to b (share 1)."""
    share = torch.as_tensor(share, dtype=R_a.dtype, device=R_a.device)
    return R_a @ roma.rotvec_to_rotmat(share[..., None] * roma.rotmat_to_rotvec(R_a.mT @ R_b))


def continuous_quaternions(R: Float[Tensor, "time *batch 3 3"]) -> Float[Tensor, "time *batch 4"]:
    """Unit quaternions (x, y, z, w), each in the hemisphere of the one a frame before."""
    quaternions = in_parts(roma.rotmat_to_unitquat, R)
    turned = (quaternions[1:] * quaternions[:-1]).sum(-1) < 0
    sign = 1 - 2 * (turned.cumsum(0) % 2)
    return torch.cat([quaternions[:1], quaternions[1:] * sign[..., None]])
