"""Exact nearest neighbours between point sets in the plane, with gradients.

Tung et al. 2017, Eq. 5, needs them. The brute-force search is the twin of the kernels in tests.
"""

import itertools
import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfmocap.geometry.kernels import njit_cached, parallel_for, to_numpy

_MAX_GRID_ROWS = 256
"""Maximum number of rows, and of columns, of the search grid."""

_OUTSIDE = 1 << 20
"""A column index outside every mask."""

_NOT_FINITE = "expected finite points, found NaN or infinity; look for a step size that is too large"

_PAIRS_IN_MEMORY = 1 << 26
"""Pairs that the brute-force search holds in memory at a time."""


def squared_distance_to_nearest(
    queries: Float[Tensor, "*batch queries 2"],
    targets: Float[Tensor, "*batch targets 2"],
    query_mask: Bool[Tensor, "*batch queries"],
    target_mask: Bool[Tensor, "*batch targets"],
) -> Float[Tensor, "*batch queries"]:
    """Compute the squared distance from each query in `query_mask` to the nearest target in `target_mask`.

    It is 0 for other queries, and where there is no target. Differentiable once, in queries and targets, with the
    neighbours held fixed. Raises ValueError for masked-in points that are not finite."""
    if queries.is_cuda:
        _check_finite(queries, targets)
        return squared_distance_to_nearest_by_search(queries, targets, query_mask, target_mask)
    count = math.prod(query_mask.shape[:-1])
    flat = (
        x.reshape(count, *x.shape[query_mask.ndim - 1 :]) for x in (queries, targets, query_mask, target_mask)
    )
    return _SquaredDistance.apply(*flat).reshape(query_mask.shape)


def squared_distance_to_mask(
    points: Float[Tensor, "*batch points 2"],
    query_mask: Bool[Tensor, "*batch points"],
    masks: Bool[Tensor, "*batch height width"],
) -> Float[Tensor, "*batch points"]:
    """Compute the squared distance from each point in `query_mask` to the centre of the nearest set pixel of a mask.

    It is 0 for other points, and for empty masks. Differentiable once, in points. Raises ValueError for masked-in
    points that are not finite."""
    if points.is_cuda:
        _check_finite(points)
        pixels = pixel_centres(masks).to(points)
        return squared_distance_to_nearest_by_search(points, pixels, query_mask, masks.flatten(-2))
    count = math.prod(query_mask.shape[:-1])
    flat = (x.reshape(count, *x.shape[query_mask.ndim - 1 :]) for x in (points, query_mask, masks))
    return _SquaredDistanceToMask.apply(*flat).reshape(query_mask.shape)


def pixel_centres(masks: Bool[Tensor, "*batch height width"]) -> Int[Tensor, "*batch pixels 2"]:
    """Return (x, y) of every pixel, row by row."""
    rows, columns = (torch.arange(size, device=masks.device) for size in masks.shape[-2:])
    return torch.cartesian_prod(rows, columns).flip(-1).expand(*masks.shape[:-2], -1, 2)


def _check_finite(*points: Tensor) -> None:
    if not all(x.isfinite().all() for x in points):
        raise ValueError(_NOT_FINITE)


def squared_distance_to_nearest_by_search(
    queries: Float[Tensor, "*batch queries 2"],
    targets: Float[Tensor, "*batch targets 2"],
    query_mask: Bool[Tensor, "*batch queries"],
    target_mask: Bool[Tensor, "*batch targets"],
) -> Float[Tensor, "*batch queries"]:
    """Compute `squared_distance_to_nearest` by comparing every query with every target."""
    if targets.shape[-2] == 0:
        return queries[..., 0] * 0
    index = _brute_force_indices(queries.detach(), targets.detach(), target_mask)
    nearest = targets.gather(-2, index.unsqueeze(-1).expand(*index.shape, 2))
    found = query_mask & target_mask.any(-1, keepdim=True)
    return torch.where(found, (queries - nearest).square().sum(-1), 0.0)


def _brute_force_indices(
    queries: Float[Tensor, "*batch queries 2"],
    targets: Float[Tensor, "*batch targets 2"],
    target_mask: Bool[Tensor, "*batch targets"],
) -> Int[Tensor, "*batch queries"]:
    index = torch.zeros(queries.shape[:-1], dtype=torch.int64, device=queries.device)
    some = max(1, _PAIRS_IN_MEMORY // targets.shape[-2])
    for item in itertools.product(*(range(size) for size in queries.shape[:-2])):
        for first in range(0, queries.shape[-2], some):
            part = queries[item][first : first + some]
            distance = torch.cdist(part, targets[item], compute_mode="donot_use_mm_for_euclid_dist")
            index[item][first : first + some] = distance.masked_fill(~target_mask[item], torch.inf).argmin(-1)
    return index


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "batch queries 2"],
        targets: Float[Tensor, "batch targets 2"],
        query_mask: Bool[Tensor, "batch queries"],
        target_mask: Bool[Tensor, "batch targets"],
    ) -> Float[Tensor, "batch queries"]:
        squared = torch.zeros_like(queries[..., 0], memory_format=torch.contiguous_format)
        index = torch.full_like(squared, -1, dtype=torch.int32)
        arrays = (to_numpy(x) for x in (queries, targets, query_mask, target_mask, squared, index))
        parallel_for(_find, len(queries), *arrays)
        ctx.save_for_backward(queries, targets, index)
        return squared

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        queries, targets, index = ctx.saved_tensors
        grad_queries, grad_targets = (torch.zeros(x.shape, dtype=x.dtype) for x in (queries, targets))
        arrays = (to_numpy(x) for x in (queries, targets, index, *grad_outputs, grad_queries, grad_targets))
        parallel_for(_backward, len(queries), *arrays)
        return grad_queries, grad_targets, None, None


class _SquaredDistanceToMask(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        points: Float[Tensor, "batch points 2"],
        query_mask: Bool[Tensor, "batch points"],
        masks: Bool[Tensor, "batch height width"],
    ) -> Float[Tensor, "batch points"]:
        offset = torch.zeros_like(points, memory_format=torch.contiguous_format)
        parallel_for(_find_in_mask, len(points), *(to_numpy(x) for x in (points, query_mask, masks, offset)))
        ctx.save_for_backward(offset)
        return offset.square().sum(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (offset,) = ctx.saved_tensors
        return 2 * grad_outputs[0].unsqueeze(-1) * offset, None, None


# ---- between point sets ---------------------------------------------------------------------------------------------


@njit_cached
def _cell(position, cells):
    return 0 if not position > 0 else (cells - 1 if position >= cells else int(position))


@njit_cached
def _chosen(points, chosen):
    """Return indices, x and y of the chosen points."""
    index, x, y = np.empty(len(points), np.int32), np.empty(len(points)), np.empty(len(points))
    count = 0
    for n in range(len(points)):
        index[count], x[count], y[count] = n, points[n, 0], points[n, 1]
        if chosen[n]:
            if not np.isfinite(x[count] + y[count]):
                raise ValueError(_NOT_FINITE)
            count += 1
    return index[:count], x[:count], y[:count]


@njit_cached
def _grid(points, chosen):
    """Sort the chosen points into square cells, about two points a cell.

    Returns the points row by row of cells, in each row from left to right, the start of each cell, and the corner, cell
    size, rows and columns of the grid."""
    index, px, py = _chosen(points, chosen)
    count = len(index)
    order, x, y = np.empty(count, np.int32), np.empty(count), np.empty(count)
    if count == 0:
        return order, x, y, np.zeros(2, np.int32), 0.0, 0.0, 1.0, 1, 1
    low_x, low_y = px.min(), py.min()
    width, height = px.max() - low_x, py.max() - low_y
    size = max(np.sqrt(2 * width * height / count), max(width, height) / (_MAX_GRID_ROWS - 1), 1e-9)
    scale = 1 / size
    columns, rows = int(width * scale) + 1, int(height * scale) + 1
    start = np.zeros(rows * columns + 1, np.int32)
    cell = np.empty(count, np.int32)
    for n in range(count):
        cell[n] = int((py[n] - low_y) * scale) * columns + int((px[n] - low_x) * scale)
    for n in range(count):
        start[cell[n] + 1] += 1
    for c in range(rows * columns):
        start[c + 1] += start[c]
    filled = start[:-1].copy()
    for n in range(count):
        at, first = filled[cell[n]], start[cell[n]]
        filled[cell[n]] += 1
        while at > first and x[at - 1] > px[n]:
            order[at], x[at], y[at] = order[at - 1], x[at - 1], y[at - 1]
            at -= 1
        order[at], x[at], y[at] = index[n], px[n], py[n]
    return order, x, y, start, low_x, low_y, size, rows, columns


@njit_cached
def _scan(qx, qy, x, y, begin, middle, end, gap, best, found):
    """Search points begin..end of one row of cells for one nearer than `found`, which has squared distance `best`.

    The search goes both ways from `middle`, the start of the query's column. `gap` is the row's squared distance."""
    for n in range(middle, end):
        across = x[n] - qx
        if across > 0 and across * across + gap >= best:
            break
        squared = across * across + (y[n] - qy) ** 2
        if squared < best:
            best, found = squared, n
    for n in range(middle - 1, begin - 1, -1):
        across = qx - x[n]
        if across > 0 and across * across + gap >= best:
            break
        squared = across * across + (y[n] - qy) ** 2
        if squared < best:
            best, found = squared, n
    return best, found


@njit_cached
def _nearest(qx, qy, found, grid):
    """Find the nearest point to the query: its squared distance, and its index in the grid's order.

    `found` is any point to start from."""
    order, x, y, start, low_x, low_y, size, rows, columns = grid
    best = (x[found] - qx) ** 2 + (y[found] - qy) ** 2
    row, column = _cell((qy - low_y) / size, rows), _cell((qx - low_x) / size, columns)
    for step in (-1, 1):
        r = row if step < 0 else row + 1
        while 0 <= r < rows:
            gap = max(0.0, low_y + r * size - qy, qy - low_y - (r + 1) * size) ** 2
            if gap >= best:
                break
            base = r * columns
            begin, middle, end = start[base], start[base + column], start[base + columns]
            best, found = _scan(qx, qy, x, y, begin, middle, end, gap, best, found)
            r += step
    return best, found


@njit_cached
def _find(first, last, queries, targets, query_mask, target_mask, squared, index):
    for item in range(first, last):
        grid = _grid(targets[item], target_mask[item])
        order = grid[0]
        # A query is often near the previous one, whose neighbour is a good bound to start from.
        found = 0
        for q in range(queries.shape[1]):
            if query_mask[item, q] and len(order) > 0:
                qx, qy = float(queries[item, q, 0]), float(queries[item, q, 1])
                if not np.isfinite(qx + qy):
                    raise ValueError(_NOT_FINITE)
                squared[item, q], found = _nearest(qx, qy, found, grid)
                index[item, q] = order[found]


@njit_cached
def _backward(first, last, queries, targets, index, gradient, grad_queries, grad_targets):
    for item in range(first, last):
        for q in range(queries.shape[1]):
            t = index[item, q]
            if t >= 0:
                for axis in range(2):
                    pull = 2 * gradient[item, q] * (queries[item, q, axis] - targets[item, t, axis])
                    grad_queries[item, q, axis] = pull
                    grad_targets[item, t, axis] -= pull


# ---- from points to a mask ------------------------------------------------------------------------------------


@njit_cached
def _neighbours_in_row(mask):
    """Find for each pixel the nearest set column at or left of it, and at or right of it; _OUTSIDE if there is none."""
    height, width = mask.shape
    left, right = np.empty((height, width), np.int32), np.empty((height, width), np.int32)
    for row in range(height):
        last = -_OUTSIDE
        for column in range(width):
            last = column if mask[row, column] else last
            left[row, column] = last
        last = _OUTSIDE
        for column in range(width - 1, -1, -1):
            last = column if mask[row, column] else last
            right[row, column] = last
    return left, right


@njit_cached
def _nearest_in_mask(x, y, mask, left, right):
    """Find the nearest set pixel.

    It is the pixel under the point if that is set, else one of the two neighbours in some row; rows are searched
    upwards and downwards while they are nearer than the best pixel so far."""
    height, width = mask.shape
    row, column = _cell(y + 0.5, height), _cell(x + 0.5, width)
    if mask[row, column]:
        return column, row
    best, best_column, best_row = np.inf, column, row
    for step in (-1, 1):
        r = row if step < 0 else row + 1
        while 0 <= r < height:
            gap = (r - y) ** 2
            if gap >= best:
                break
            for c in (left[r, column], right[r, column]):
                squared = (c - x) ** 2 + gap
                if squared < best and 0 <= c < width:
                    best, best_column, best_row = squared, c, r
            r += step
    return best_column, best_row


@njit_cached
def _find_in_mask(first, last, points, query_mask, masks, offset):
    for item in range(first, last):
        if not masks[item].any():
            continue
        left, right = _neighbours_in_row(masks[item])
        for q in range(points.shape[1]):
            if query_mask[item, q]:
                x, y = float(points[item, q, 0]), float(points[item, q, 1])
                if not np.isfinite(x + y):
                    raise ValueError(_NOT_FINITE)
                column, row = _nearest_in_mask(x, y, masks[item], left, right)
                offset[item, q, 0], offset[item, q, 1] = x - column, y - row
