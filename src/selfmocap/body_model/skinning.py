"""Forward kinematics and linear blend skinning (Loper et al. 2015) with their gradients, as torch operators.

On a CPU they are kernels that process a block of vertices at a time, so that the 12 numbers that transform each vertex
stay in the cache. On other devices, and as twins of the kernels in tests, they are written in torch. On a CPU they are
differentiable once.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.skeleton import ALL_JOINT_PARENTS
from selfmocap.geometry.kernels import njit_cached, parallel_for, to_numpy

_PARENTS = np.array(ALL_JOINT_PARENTS)

_BLOCK = 256
"""Number of vertices whose blended transforms and weights fit into a core's first cache."""

_MIN_CHAINS, _MIN_VERTICES = 2048, 1 << 18
"""Minimum number of bodies, or of vertices of all bodies, for each thread: beside torch's own threads, which spin while
they wait, starting one costs a millisecond."""

_vectorised = partial(njit_cached, reassociate=True)


def forward_kinematics(
    R_parent_joint: Float[Tensor, "*#batch joints 3 3"],
    rest_joints: Float[Tensor, "*#batch joints 3"],
    p_world_root: Float[Tensor, "*#batch 3"],
) -> tuple[Float[Tensor, "*batch joints 3 3"], Float[Tensor, "*batch joints 3"]]:
    """Compute `R_world_joint` and `p_world_joint` (metres) along the kinematic tree."""
    if R_parent_joint.device.type != "cpu":
        return forward_kinematics_by_joint(R_parent_joint, rest_joints, p_world_root)
    joints = R_parent_joint.shape[-3]
    batch = torch.broadcast_shapes(R_parent_joint.shape[:-3], rest_joints.shape[:-2], p_world_root.shape[:-1])
    R_world, p_world = torch.ops.selfmocap.chain(
        R_parent_joint.expand(*batch, joints, 3, 3).reshape(-1, joints, 3, 3),
        rest_joints.expand(*batch, joints, 3).reshape(-1, joints, 3),
        p_world_root.expand(*batch, 3).reshape(-1, 3),
    )
    return R_world.view(*batch, joints, 3, 3), p_world.view(*batch, joints, 3)


def forward_kinematics_by_joint(
    R_parent_joint: Float[Tensor, "*#batch joints 3 3"],
    rest_joints: Float[Tensor, "*#batch joints 3"],
    p_world_root: Float[Tensor, "*#batch 3"],
) -> tuple[Float[Tensor, "*batch joints 3 3"], Float[Tensor, "*batch joints 3"]]:
    """Compute `forward_kinematics` joint by joint in torch."""
    parents = ALL_JOINT_PARENTS[1 : R_parent_joint.shape[-3]]
    bones = rest_joints[..., 1:, :] - rest_joints[..., list(parents), :]
    R_world, p_world = [R_parent_joint[..., 0, :, :]], [p_world_root]
    for joint, parent in enumerate(parents, start=1):
        R_world.append(R_world[parent] @ R_parent_joint[..., joint, :, :])
        p_world.append(p_world[parent] + (R_world[parent] @ bones[..., joint - 1, :, None]).squeeze(-1))
    return torch.stack(R_world, dim=-3), torch.stack(torch.broadcast_tensors(*p_world), dim=-2)


def linear_blend_skinning(
    transforms: Float[Tensor, "batch joints 12"],
    weights: Float[Tensor, "joints vertices"],
    rest: Float[Tensor, "batch 3 vertices"],
) -> Float[Tensor, "batch 3 vertices"]:
    """Move each vertex by the weighted mean of the joints' affine transforms; one row per axis, metres.

    A transform is the three columns of its matrix followed by its translation. `weights` gets no gradient."""
    on_cpu = rest.device.type == "cpu"
    return (
        torch.ops.selfmocap.skin(transforms, weights, rest)
        if on_cpu
        else linear_blend_skinning_by_axis(transforms, weights, rest)
    )


def linear_blend_skinning_by_axis(
    transforms: Float[Tensor, "batch joints 12"],
    weights: Float[Tensor, "joints vertices"],
    rest: Float[Tensor, "batch 3 vertices"],
) -> Float[Tensor, "batch 3 vertices"]:
    """Compute `linear_blend_skinning` in torch."""
    blended = (transforms.mT.flatten(0, 1) @ weights).view(len(transforms), 4, 3, weights.shape[1])
    *columns, vertices = blended.unbind(1)
    for column, coordinate in zip(columns, rest.unbind(1), strict=True):
        vertices = torch.addcmul(vertices, column, coordinate.unsqueeze(1))
    return vertices


# ---- operators ------------------------------------------------------------------------------------------------


def _chain(R_parent_joint: Tensor, rest_joints: Tensor, p_world_root: Tensor) -> tuple[Tensor, Tensor]:
    R_world, p_world = _chain_shapes(R_parent_joint, rest_joints, p_world_root)
    arrays = (to_numpy(x) for x in (R_parent_joint, rest_joints, p_world_root, R_world, p_world))
    parallel_for(_fk_forward, len(R_world), _PARENTS, *arrays, min_per_thread=_MIN_CHAINS)
    return R_world, p_world


def _chain_gradient(
    R_parent_joint: Tensor, rest_joints: Tensor, R_world: Tensor, grad_R_world: Tensor, grad_p_world: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    grad_R, grad_p = (x.clone(memory_format=torch.contiguous_format) for x in (grad_R_world, grad_p_world))
    grad_joints = torch.zeros_like(grad_p)
    arrays = (to_numpy(x) for x in (R_parent_joint, rest_joints, R_world, grad_R, grad_p, grad_joints))
    parallel_for(_fk_backward, len(R_world), _PARENTS, *arrays, min_per_thread=_MIN_CHAINS)
    return grad_R, grad_joints, grad_p[:, 0].clone()


def _skin(transforms: Tensor, weights: Tensor, rest: Tensor) -> Tensor:
    vertices = rest.new_empty(rest.shape)
    arrays = (to_numpy(x) for x in (transforms, weights, rest, vertices))
    parallel_for(_lbs_forward, len(rest), *arrays, min_per_thread=_min_bodies(rest))
    return vertices


def _skin_gradient(
    transforms: Tensor, weights: Tensor, rest: Tensor, grad_vertices: Tensor
) -> tuple[Tensor, Tensor]:
    grad_transforms, grad_rest = transforms.new_zeros(transforms.shape), rest.new_empty(rest.shape)
    arrays = (to_numpy(x) for x in (transforms, weights, rest, grad_transforms, grad_rest))
    # The gradient of (V, 3) is strided: the kernel reads it as it is instead of copying it to one row per axis.
    parallel_for(
        _lbs_backward, len(rest), grad_vertices.detach().numpy(), *arrays, min_per_thread=_min_bodies(rest)
    )
    return grad_transforms, grad_rest


def _min_bodies(rest: Tensor) -> int:
    return 1 + _MIN_VERTICES // max(rest.shape[2], 1)


def _chain_shapes(R_parent_joint: Tensor, rest_joints: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    return R_parent_joint.new_empty(R_parent_joint.shape), rest_joints.new_empty(rest_joints.shape)


def _chain_gradient_shapes(
    R_parent_joint: Tensor, rest_joints: Tensor, *_: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    root = rest_joints.new_empty(len(rest_joints), 3)
    return R_parent_joint.new_empty(R_parent_joint.shape), rest_joints.new_empty(rest_joints.shape), root


def _skin_shapes(_transforms: Tensor, _weights: Tensor, rest: Tensor) -> Tensor:
    return rest.new_empty(rest.shape)


def _skin_gradient_shapes(transforms: Tensor, _: Tensor, rest: Tensor, _to: Tensor) -> tuple[Tensor, Tensor]:
    return transforms.new_empty(transforms.shape), rest.new_empty(rest.shape)


def _save_chain(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], output[0])


def _save_skin(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _chain_backward(ctx: Any, grad_R_world: Tensor, grad_p_world: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.selfmocap.chain_gradient(*ctx.saved_tensors, grad_R_world, grad_p_world)


def _skin_backward(ctx: Any, grad_vertices: Tensor) -> tuple[Tensor, None, Tensor]:
    grad_transforms, grad_rest = torch.ops.selfmocap.skin_gradient(*ctx.saved_tensors, grad_vertices)
    return grad_transforms, None, grad_rest


def _refuse_second_derivative(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError(
        "expected at most first derivatives of a body on a CPU, found a second one; use the functions `..._by_axis`"
    )


# `torch.library.custom_op` would import torch's compiler at its first call, which takes seconds.
_LIBRARY = torch.library.Library("selfmocap", "DEF")


def _define(
    schema: str, on_cpu: Callable, shapes: Callable, backward: Callable, keep: Callable | None = None
) -> None:
    name = _LIBRARY.define(schema)
    _LIBRARY.impl(name, on_cpu, "CPU")
    torch.library.register_fake(f"selfmocap::{name}", shapes, lib=_LIBRARY)
    torch.library.register_autograd(f"selfmocap::{name}", backward, setup_context=keep, lib=_LIBRARY)


_define(
    "chain(Tensor R, Tensor rest, Tensor root) -> (Tensor, Tensor)",
    _chain,
    _chain_shapes,
    _chain_backward,
    _save_chain,
)
_define(
    "chain_gradient(Tensor R, Tensor rest, Tensor R_world, Tensor grad_R, Tensor grad_p) -> (Tensor, Tensor, Tensor)",
    _chain_gradient,
    _chain_gradient_shapes,
    _refuse_second_derivative,
)
_define(
    "skin(Tensor transforms, Tensor weights, Tensor rest) -> Tensor",
    _skin,
    _skin_shapes,
    _skin_backward,
    _save_skin,
)
_define(
    "skin_gradient(Tensor transforms, Tensor weights, Tensor rest, Tensor to) -> (Tensor, Tensor)",
    _skin_gradient,
    _skin_gradient_shapes,
    _refuse_second_derivative,
)


# ---- kernels --------------------------------------------------------------------------------------------------


@njit_cached
def _fk_forward(first, last, parents, R_parent_joint, rest_joints, p_world_root, R_world, p_world):
    for n in range(first, last):
        for i in range(3):
            p_world[n, 0, i] = p_world_root[n, i]
            for k in range(3):
                R_world[n, 0, i, k] = R_parent_joint[n, 0, i, k]
        for joint in range(1, R_world.shape[1]):
            parent = parents[joint]
            for i in range(3):
                position = p_world[n, parent, i]
                for k in range(3):
                    position += R_world[n, parent, i, k] * (
                        rest_joints[n, joint, k] - rest_joints[n, parent, k]
                    )
                    R_world[n, joint, i, k] = 0
                    for m in range(3):
                        R_world[n, joint, i, k] += R_world[n, parent, i, m] * R_parent_joint[n, joint, m, k]
                p_world[n, joint, i] = position


@njit_cached
def _fk_backward(first, last, parents, R_parent_joint, rest_joints, R_world, grad_R, grad_p, grad_joints):
    """Propagate gradients in place: `grad_R` and `grad_p` hold those of `_fk_forward`'s outputs, then of its inputs.

    The gradient of the root's position is the first row of `grad_p`."""
    for n in range(first, last):
        for joint in range(R_world.shape[1] - 1, 0, -1):
            parent = parents[joint]
            turned = grad_R[n, joint].copy()
            grad_R[n, joint] = 0
            for i in range(3):
                grad_p[n, parent, i] += grad_p[n, joint, i]
                for k in range(3):
                    bone = R_world[n, parent, i, k] * grad_p[n, joint, i]
                    grad_joints[n, joint, k] += bone
                    grad_joints[n, parent, k] -= bone
                    length = rest_joints[n, joint, k] - rest_joints[n, parent, k]
                    grad_R[n, parent, i, k] += grad_p[n, joint, i] * length
                    for m in range(3):
                        grad_R[n, parent, i, k] += turned[i, m] * R_parent_joint[n, joint, k, m]
                        grad_R[n, joint, k, m] += R_world[n, parent, i, k] * turned[i, m]


@_vectorised
def _active_joints(weights):
    """Order the joints for each block, those that move one of its vertices first, and count these.

    The counts are rounded up to a multiple of four."""
    blocks = -(-weights.shape[1] // _BLOCK)
    joints, counts = np.empty((blocks, len(weights)), np.int64), np.empty(blocks, np.int64)
    for block in range(blocks):
        active, inactive = 0, len(weights)
        for joint in range(len(weights)):
            weight, total = weights[joint, block * _BLOCK : (block + 1) * _BLOCK], weights.dtype.type(0)
            for v in range(len(weight)):
                total += abs(weight[v])
            if total > 0:
                joints[block, active] = joint
                active += 1
            else:
                inactive -= 1
                joints[block, inactive] = joint
        counts[block] = -(-active // 4) * 4
    return joints, counts


@_vectorised
def _blend(transforms, weights, first, last, joints, count, blended):
    """Compute each row of `blended`: the mean of that row of the transforms, weighted for each vertex of the block.

    Three rows and four joints at a time: a value is loaded once for several sums."""
    for row in range(0, len(blended), 3):
        one, two, three = blended[row], blended[row + 1], blended[row + 2]
        blended[row : row + 3] = 0
        for start in range(0, count, 4):
            a, b, c, d = joints[start], joints[start + 1], joints[start + 2], joints[start + 3]
            a1, b1, c1, d1 = transforms[a, row], transforms[b, row], transforms[c, row], transforms[d, row]
            a2, b2, c2, d2 = (
                transforms[a, row + 1],
                transforms[b, row + 1],
                transforms[c, row + 1],
                transforms[d, row + 1],
            )
            a3, b3, c3, d3 = (
                transforms[a, row + 2],
                transforms[b, row + 2],
                transforms[c, row + 2],
                transforms[d, row + 2],
            )
            of_a, of_b = weights[a, first:last], weights[b, first:last]
            of_c, of_d = weights[c, first:last], weights[d, first:last]
            for v in range(last - first):
                w, x, y, z = of_a[v], of_b[v], of_c[v], of_d[v]
                one[v] += a1 * w + b1 * x + c1 * y + d1 * z
                two[v] += a2 * w + b2 * x + c2 * y + d2 * z
                three[v] += a3 * w + b3 * x + c3 * y + d3 * z


@_vectorised
def _lbs_forward(begin, end, transforms, weights, rest, vertices):
    joints, counts = _active_joints(weights)
    blended = np.empty((12, _BLOCK), rest.dtype)
    for n in range(begin, end):
        for block in range(len(counts)):
            first = block * _BLOCK
            last = min(first + _BLOCK, rest.shape[2])
            _blend(transforms[n], weights, first, last, joints[block], counts[block], blended)
            x, y, z = rest[n, 0, first:last], rest[n, 1, first:last], rest[n, 2, first:last]
            for i in range(3):
                moved = vertices[n, i, first:last]
                for v in range(last - first):
                    moved[v] = (
                        blended[i, v] * x[v]
                        + blended[3 + i, v] * y[v]
                        + blended[6 + i, v] * z[v]
                        + blended[9 + i, v]
                    )


@_vectorised
def _lbs_backward(begin, end, grad_vertices, transforms, weights, rest, grad_transforms, grad_rest):
    joints, counts = _active_joints(weights)
    blended = np.empty((9, _BLOCK), rest.dtype)
    moments = np.empty((12, _BLOCK), rest.dtype)
    for n in range(begin, end):
        for block in range(len(counts)):
            first = block * _BLOCK
            last = min(first + _BLOCK, rest.shape[2])
            _blend(transforms[n], weights, first, last, joints[block], counts[block], blended)
            gradient = moments[9:]
            for i in range(3):
                for v in range(last - first):
                    gradient[i, v] = grad_vertices[n, i, first + v]
            for axis in range(3):
                position, grad_position = rest[n, axis, first:last], grad_rest[n, axis, first:last]
                column, moment = blended[3 * axis : 3 * axis + 3], moments[3 * axis : 3 * axis + 3]
                for v in range(last - first):
                    grad_position[v] = (
                        column[0, v] * gradient[0, v]
                        + column[1, v] * gradient[1, v]
                        + column[2, v] * gradient[2, v]
                    )
                for i in range(3):
                    for v in range(last - first):
                        moment[i, v] = position[v] * gradient[i, v]
            _gather(weights, first, last, joints[block, : counts[block]], moments, grad_transforms[n])


@_vectorised
def _gather(weights, first, last, joints, moments, grad_transforms):
    """Add to the row of each joint the sums over the block of the moments times the weights of the joint."""
    zero = moments.dtype.type(0)
    for start in range(0, len(joints), 4):
        a, b, c, d = joints[start], joints[start + 1], joints[start + 2], joints[start + 3]
        of_a, of_b = weights[a, first:last], weights[b, first:last]
        of_c, of_d = weights[c, first:last], weights[d, first:last]
        for row in range(0, len(moments), 3):
            one, two, three = moments[row], moments[row + 1], moments[row + 2]
            a1 = b1 = c1 = d1 = a2 = b2 = c2 = d2 = a3 = b3 = c3 = d3 = zero
            for v in range(last - first):
                x, y, z = one[v], two[v], three[v]
                a1 += of_a[v] * x
                b1 += of_b[v] * x
                c1 += of_c[v] * x
                d1 += of_d[v] * x
                a2 += of_a[v] * y
                b2 += of_b[v] * y
                c2 += of_c[v] * y
                d2 += of_d[v] * y
                a3 += of_a[v] * z
                b3 += of_b[v] * z
                c3 += of_c[v] * z
                d3 += of_d[v] * z
            for joint, x, y, z in ((a, a1, a2, a3), (b, b1, b2, b3), (c, c1, c2, c3), (d, d1, d2, d3)):
                grad_transforms[joint, row] += x
                grad_transforms[joint, row + 1] += y
                grad_transforms[joint, row + 2] += z
