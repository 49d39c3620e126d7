"""The kinematic chain and linear blend skinning (Loper et al. 2015), with their gradients, as operators of torch.

On a CPU they are kernels that go over the vertices a block at a time, so that the 12 numbers that move each vertex stay
in the cache; elsewhere, and as the kernels' twins in tests, they are written in torch. Differentiable once on a CPU.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT_PARENTS
from selfmocap.geometry.kernels import compiled, over_batch, to_numpy

_PARENTS = np.array(JOINT_PARENTS)

_BLOCK = 256
"""Vertices whose blended maps and weights fit together in a core's nearest cache."""

_CHAINS, _VERTICES = 2048, 1 << 18
"""Fewer bodies, or fewer vertices of all bodies together, are not worth the start of a thread: beside torch's own
threads, which wait for work by spinning, a start costs a millisecond."""

_vectorised = partial(compiled, any_order=True)


def forward_kinematics(
    R_parent_joint: Float[Tensor, "*#batch 24 3 3"],
    rest_joints: Float[Tensor, "*#batch 24 3"],
    p_world_root: Float[Tensor, "*#batch 3"],
) -> tuple[Float[Tensor, "*batch 24 3 3"], Float[Tensor, "*batch 24 3"]]:
    """`R_world_joint` and `p_world_joint` (metres) down the kinematic tree."""
    if R_parent_joint.device.type != "cpu":
        return forward_kinematics_by_joint(R_parent_joint, rest_joints, p_world_root)
    batch = torch.broadcast_shapes(R_parent_joint.shape[:-3], rest_joints.shape[:-2], p_world_root.shape[:-1])
    R_world, p_world = torch.ops.selfmocap.chain(
        R_parent_joint.expand(*batch, 24, 3, 3).reshape(-1, 24, 3, 3),
        rest_joints.expand(*batch, 24, 3).reshape(-1, 24, 3),
        p_world_root.expand(*batch, 3).reshape(-1, 3),
    )
    return R_world.view(*batch, 24, 3, 3), p_world.view(*batch, 24, 3)


def forward_kinematics_by_joint(
    R_parent_joint: Float[Tensor, "*#batch 24 3 3"],
    rest_joints: Float[Tensor, "*#batch 24 3"],
    p_world_root: Float[Tensor, "*#batch 3"],
) -> tuple[Float[Tensor, "*batch 24 3 3"], Float[Tensor, "*batch 24 3"]]:
    """`forward_kinematics`, joint after joint in torch."""
    parents = torch.tensor(JOINT_PARENTS[1:])
    bones = rest_joints[..., 1:, :] - rest_joints[..., parents, :]
    R_world, p_world = [R_parent_joint[..., 0, :, :]], [p_world_root]
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        R_world.append(R_world[parent] @ R_parent_joint[..., joint, :, :])
        p_world.append(p_world[parent] + (R_world[parent] @ bones[..., joint - 1, :, None]).squeeze(-1))
    return torch.stack(R_world, dim=-3), torch.stack(torch.broadcast_tensors(*p_world), dim=-2)


def skin(
    maps: Float[Tensor, "batch 24 12"],
    weights: Float[Tensor, "24 vertices"],
    rest: Float[Tensor, "batch 3 vertices"],
) -> Float[Tensor, "batch 3 vertices"]:
    """Each vertex moved by the weighted mean of the joints' maps, one row per axis, metres. A map is an affine one,
    three columns of its matrix and then its translation. No gradient flows to `weights`."""
    on_cpu = rest.device.type == "cpu"
    return torch.ops.selfmocap.skin(maps, weights, rest) if on_cpu else skin_by_axis(maps, weights, rest)


def skin_by_axis(
    maps: Float[Tensor, "batch 24 12"],
    weights: Float[Tensor, "24 vertices"],
    rest: Float[Tensor, "batch 3 vertices"],
) -> Float[Tensor, "batch 3 vertices"]:
    """`skin` in torch."""
    blended = (maps.mT.reshape(-1, 24) @ weights).view(len(maps), 4, 3, weights.shape[1])
    *columns, vertices = blended.unbind(1)
    for column, coordinate in zip(columns, rest.unbind(1), strict=True):
        vertices = torch.addcmul(vertices, column, coordinate.unsqueeze(1))
    return vertices


# ---- operators ------------------------------------------------------------------------------------------------


def _chain(R_parent_joint: Tensor, rest_joints: Tensor, p_world_root: Tensor) -> tuple[Tensor, Tensor]:
    R_world, p_world = _chain_shapes(R_parent_joint, rest_joints, p_world_root)
    arrays = (to_numpy(x) for x in (R_parent_joint, rest_joints, p_world_root, R_world, p_world))
    over_batch(_walk, len(R_world), _PARENTS, *arrays, least=_CHAINS)
    return R_world, p_world


def _chain_gradient(
    R_parent_joint: Tensor, rest_joints: Tensor, R_world: Tensor, to_R_world: Tensor, to_p_world: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    to_R, to_p = (x.clone(memory_format=torch.contiguous_format) for x in (to_R_world, to_p_world))
    to_joints = torch.zeros_like(to_p)
    arrays = (to_numpy(x) for x in (R_parent_joint, rest_joints, R_world, to_R, to_p, to_joints))
    over_batch(_walk_back, len(R_world), _PARENTS, *arrays, least=_CHAINS)
    return to_R, to_joints, to_p[:, 0].clone()


def _skin(maps: Tensor, weights: Tensor, rest: Tensor) -> Tensor:
    vertices = rest.new_empty(rest.shape)
    arrays = (to_numpy(x) for x in (maps, weights, rest, vertices))
    over_batch(_move, len(rest), *arrays, least=_least(rest))
    return vertices


def _skin_gradient(maps: Tensor, weights: Tensor, rest: Tensor, to_vertices: Tensor) -> tuple[Tensor, Tensor]:
    to_maps, to_rest = maps.new_zeros(maps.shape), rest.new_empty(rest.shape)
    arrays = (to_numpy(x) for x in (maps, weights, rest, to_maps, to_rest))
    # However it lies in memory: what comes back from (V, 3) would have to be copied to lie by axis.
    over_batch(_pull, len(rest), to_vertices.detach().numpy(), *arrays, least=_least(rest))
    return to_maps, to_rest


def _least(rest: Tensor) -> int:
    """How many bodies of that many vertices are worth the start of a thread."""
    return 1 + _VERTICES // max(rest.shape[2], 1)


def _chain_shapes(R_parent_joint: Tensor, rest_joints: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    return R_parent_joint.new_empty(R_parent_joint.shape), rest_joints.new_empty(rest_joints.shape)


def _chain_gradient_shapes(
    R_parent_joint: Tensor, rest_joints: Tensor, *_: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    root = rest_joints.new_empty(len(rest_joints), 3)
    return R_parent_joint.new_empty(R_parent_joint.shape), rest_joints.new_empty(rest_joints.shape), root


def _skin_shapes(_maps: Tensor, _weights: Tensor, rest: Tensor) -> Tensor:
    return rest.new_empty(rest.shape)


def _skin_gradient_shapes(maps: Tensor, _: Tensor, rest: Tensor, _to: Tensor) -> tuple[Tensor, Tensor]:
    return maps.new_empty(maps.shape), rest.new_empty(rest.shape)


def _keep_chain(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:2], output[0])


def _keep_skin(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _chain_backward(ctx: Any, to_R_world: Tensor, to_p_world: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return torch.ops.selfmocap.chain_gradient(*ctx.saved_tensors, to_R_world, to_p_world)


def _skin_backward(ctx: Any, to_vertices: Tensor) -> tuple[Tensor, None, Tensor]:
    to_maps, to_rest = torch.ops.selfmocap.skin_gradient(*ctx.saved_tensors, to_vertices)
    return to_maps, None, to_rest


def _no_second(ctx: Any, *gradients: Tensor) -> None:
    raise RuntimeError("bodies are differentiable once on a CPU; asked for a second derivative")


# Not `torch.library.custom_op`: its first call imports torch's compiler, which takes seconds.
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
    _keep_chain,
)
_define(
    "chain_gradient(Tensor R, Tensor rest, Tensor R_world, Tensor to_R, Tensor to_p) -> (Tensor, Tensor, Tensor)",
    _chain_gradient,
    _chain_gradient_shapes,
    _no_second,
)
_define(
    "skin(Tensor maps, Tensor weights, Tensor rest) -> Tensor",
    _skin,
    _skin_shapes,
    _skin_backward,
    _keep_skin,
)
_define(
    "skin_gradient(Tensor maps, Tensor weights, Tensor rest, Tensor to) -> (Tensor, Tensor)",
    _skin_gradient,
    _skin_gradient_shapes,
    _no_second,
)


# ---- kernels --------------------------------------------------------------------------------------------------


@compiled
def _walk(first, last, parents, R_parent_joint, rest_joints, p_world_root, R_world, p_world):
    for n in range(first, last):
        for i in range(3):
            p_world[n, 0, i] = p_world_root[n, i]
            for k in range(3):
                R_world[n, 0, i, k] = R_parent_joint[n, 0, i, k]
        for joint in range(1, len(parents)):
            parent = parents[joint]
            for i in range(3):
                place = p_world[n, parent, i]
                for k in range(3):
                    place += R_world[n, parent, i, k] * (rest_joints[n, joint, k] - rest_joints[n, parent, k])
                    R_world[n, joint, i, k] = 0
                    for m in range(3):
                        R_world[n, joint, i, k] += R_world[n, parent, i, m] * R_parent_joint[n, joint, m, k]
                p_world[n, joint, i] = place


@compiled
def _walk_back(first, last, parents, R_parent_joint, rest_joints, R_world, to_R, to_p, to_joints):
    """In: the gradients of what `_walk` makes, in `to_R` and `to_p`; out: those of what it takes, the root's place in
    the first row of `to_p`."""
    for n in range(first, last):
        for joint in range(len(parents) - 1, 0, -1):
            parent = parents[joint]
            turned = to_R[n, joint].copy()
            to_R[n, joint] = 0
            for i in range(3):
                to_p[n, parent, i] += to_p[n, joint, i]
                for k in range(3):
                    bone = R_world[n, parent, i, k] * to_p[n, joint, i]
                    to_joints[n, joint, k] += bone
                    to_joints[n, parent, k] -= bone
                    length = rest_joints[n, joint, k] - rest_joints[n, parent, k]
                    to_R[n, parent, i, k] += to_p[n, joint, i] * length
                    for m in range(3):
                        to_R[n, parent, i, k] += turned[i, m] * R_parent_joint[n, joint, k, m]
                        to_R[n, joint, k, m] += R_world[n, parent, i, k] * turned[i, m]


@_vectorised
def _movers(weights):
    """For each block all joints, those before the others that move a vertex of it; and how many they are, counted up
    to a multiple of four."""
    blocks = -(-weights.shape[1] // _BLOCK)
    joints, counts = np.empty((blocks, len(weights)), np.int64), np.empty(blocks, np.int64)
    for block in range(blocks):
        movers, others = 0, len(weights)
        for joint in range(len(weights)):
            weight, total = weights[joint, block * _BLOCK : (block + 1) * _BLOCK], weights.dtype.type(0)
            for v in range(len(weight)):
                total += abs(weight[v])
            if total > 0:
                joints[block, movers] = joint
                movers += 1
            else:
                others -= 1
                joints[block, others] = joint
        counts[block] = -(-movers // 4) * 4
    return joints, counts


@_vectorised
def _blend(maps, weights, first, last, joints, count, blended):
    """For each row of `blended`: the mean of that number of the maps, weighted for each vertex of the block. Three
    rows and four joints at a time: what is read once serves several sums."""
    for row in range(0, len(blended), 3):
        one, two, three = blended[row], blended[row + 1], blended[row + 2]
        blended[row : row + 3] = 0
        for start in range(0, count, 4):
            a, b, c, d = joints[start], joints[start + 1], joints[start + 2], joints[start + 3]
            a1, b1, c1, d1 = maps[a, row], maps[b, row], maps[c, row], maps[d, row]
            a2, b2, c2, d2 = maps[a, row + 1], maps[b, row + 1], maps[c, row + 1], maps[d, row + 1]
            a3, b3, c3, d3 = maps[a, row + 2], maps[b, row + 2], maps[c, row + 2], maps[d, row + 2]
            of_a, of_b = weights[a, first:last], weights[b, first:last]
            of_c, of_d = weights[c, first:last], weights[d, first:last]
            for v in range(last - first):
                w, x, y, z = of_a[v], of_b[v], of_c[v], of_d[v]
                one[v] += a1 * w + b1 * x + c1 * y + d1 * z
                two[v] += a2 * w + b2 * x + c2 * y + d2 * z
                three[v] += a3 * w + b3 * x + c3 * y + d3 * z


@_vectorised
def _move(begin, end, maps, weights, rest, vertices):
    joints, counts = _movers(weights)
    blended = np.empty((12, _BLOCK), rest.dtype)
    for n in range(begin, end):
        for block in range(len(counts)):
            first = block * _BLOCK
            last = min(first + _BLOCK, rest.shape[2])
            _blend(maps[n], weights, first, last, joints[block], counts[block], blended)
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
def _pull(begin, end, to_vertices, maps, weights, rest, to_maps, to_rest):
    joints, counts = _movers(weights)
    blended = np.empty((9, _BLOCK), rest.dtype)
    moments = np.empty((12, _BLOCK), rest.dtype)
    for n in range(begin, end):
        for block in range(len(counts)):
            first = block * _BLOCK
            last = min(first + _BLOCK, rest.shape[2])
            _blend(maps[n], weights, first, last, joints[block], counts[block], blended)
            pulls = moments[9:]
            for i in range(3):
                for v in range(last - first):
                    pulls[i, v] = to_vertices[n, i, first + v]
            for axis in range(3):
                place, to_place = rest[n, axis, first:last], to_rest[n, axis, first:last]
                column, moment = blended[3 * axis : 3 * axis + 3], moments[3 * axis : 3 * axis + 3]
                for v in range(last - first):
                    to_place[v] = (
                        column[0, v] * pulls[0, v] + column[1, v] * pulls[1, v] + column[2, v] * pulls[2, v]
                    )
                for i in range(3):
                    for v in range(last - first):
                        moment[i, v] = place[v] * pulls[i, v]
            _gather(weights, first, last, joints[block, : counts[block]], moments, to_maps[n])


@_vectorised
def _gather(weights, first, last, joints, moments, to_maps):
    """Adds to each joint's row the sums over the block of the moments times that joint's weights."""
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
                to_maps[joint, row] += x
                to_maps[joint, row + 1] += y
                to_maps[joint, row + 2] += z
