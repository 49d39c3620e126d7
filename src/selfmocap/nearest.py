"""Exact nearest neighbours between sets of points in the plane, with their gradient."""

import math
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from selfmocap.kernels import compiled, over_batch, to_numpy

_ROWS = 256
"""Most rows, and most columns, of the grid in which targets are searched."""

_PAIRS = 1 << 26
"""Pairs that the brute force holds in memory at a time."""


def squared_distance_to_nearest(
    queries: Float[Tensor, "*batch queries 2"],
    targets: Float[Tensor, "*batch targets 2"],
    asks: Bool[Tensor, "*batch queries"],
    answers: Bool[Tensor, "*batch targets"],
) -> Float[Tensor, "*batch queries"]:
    """Squared distance from each query that asks to the nearest target that answers; 0 for a query that does not ask,
    and where no target answers. Differentiable once, in queries and targets, with the neighbours held fixed.

    Raises ValueError for points that are not finite."""
    if not (queries.isfinite().all() and targets.isfinite().all()):
        raise ValueError(
            "expected finite points, found NaN or infinity; look for a step size that is too large"
        )
    if queries.is_cuda:
        return squared_distance_to_nearest_by_search(queries, targets, asks, answers)
    batch = queries.shape[:-2]
    flat = (x.reshape(math.prod(batch), *x.shape[len(batch) :]) for x in (queries, targets, asks, answers))
    return _SquaredDistance.apply(*flat).reshape(asks.shape)


def squared_distance_to_nearest_by_search(
    queries: Float[Tensor, "*batch queries 2"],
    targets: Float[Tensor, "*batch targets 2"],
    asks: Bool[Tensor, "*batch queries"],
    answers: Bool[Tensor, "*batch targets"],
) -> Float[Tensor, "*batch queries"]:
    """`squared_distance_to_nearest` by comparing every query with every target."""
    index = _search(queries.detach(), targets.detach(), answers)
    nearest = targets.gather(-2, index.unsqueeze(-1).expand(*index.shape, 2))
    found = asks & answers.any(-1, keepdim=True)
    return torch.where(found, (queries - nearest).square().sum(-1), 0.0)


def _search(
    queries: Float[Tensor, "*batch queries 2"],
    targets: Float[Tensor, "*batch targets 2"],
    answers: Bool[Tensor, "*batch targets"],
) -> Int[Tensor, "*batch queries"]:
    if queries.ndim > 2:
        pairs = zip(queries, targets, answers, strict=True)
        return torch.stack([_search(*pair) for pair in pairs])
    some = max(1, _PAIRS // max(1, len(targets)))
    distance = (
        torch.cdist(part, targets, compute_mode="donot_use_mm_for_euclid_dist").masked_fill(
            ~answers, torch.inf
        )
        for part in queries.split(some)
    )
    return torch.cat([part.argmin(-1) for part in distance])


class _SquaredDistance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        queries: Float[Tensor, "batch queries 2"],
        targets: Float[Tensor, "batch targets 2"],
        asks: Bool[Tensor, "batch queries"],
        answers: Bool[Tensor, "batch targets"],
    ) -> Float[Tensor, "batch queries"]:
        squared = torch.zeros_like(queries[..., 0], memory_format=torch.contiguous_format)
        index = torch.full_like(squared, -1, dtype=torch.int32)
        arrays = (to_numpy(x) for x in (queries, targets, asks, answers, squared, index))
        over_batch(_find, len(queries), *arrays)
        ctx.save_for_backward(queries, targets, index)
        return squared

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, *grad_outputs: Float[Tensor, "batch queries"]
    ) -> tuple[Tensor, Tensor, None, None]:
        queries, targets, index = ctx.saved_tensors
        to_queries, to_targets = (
            torch.zeros(queries.shape).to(queries),
            torch.zeros(targets.shape).to(targets),
        )
        arrays = (to_numpy(x) for x in (queries, targets, index, *grad_outputs, to_queries, to_targets))
        over_batch(_pull, len(queries), *arrays)
        return to_queries, to_targets, None, None


@compiled
def _cell(position, cells):
    return 0 if not position > 0 else (cells - 1 if position >= cells else int(position))


@compiled
def _bounds(points, chosen):
    """Smallest and largest x and y of the chosen points, and their number."""
    low_x, low_y, high_x, high_y, count = np.inf, np.inf, -np.inf, -np.inf, 0
    for n in range(len(points)):
        if chosen[n]:
            low_x, high_x = min(low_x, points[n, 0]), max(high_x, points[n, 0])
            low_y, high_y = min(low_y, points[n, 1]), max(high_y, points[n, 1])
            count += 1
    return low_x, low_y, high_x, high_y, count


@compiled
def _grid(points, chosen):
    """The chosen points row by row of square cells, in each row from left to right; where each cell starts; the grid's
    corner, cell size, rows and columns. About two points a cell."""
    low_x, low_y, high_x, high_y, count = _bounds(points, chosen)
    order, x, y = np.empty(count, np.int32), np.empty(count), np.empty(count)
    if count == 0:
        return order, x, y, np.zeros(2, np.int32), 0.0, 0.0, 1.0, 1, 1
    width, height = high_x - low_x, high_y - low_y
    size = max(np.sqrt(2 * width * height / count), max(width, height) / (_ROWS - 1), 1e-9)
    scale = 1 / size
    columns, rows = int(width / size) + 1, int(height / size) + 1
    start = np.zeros(rows * columns + 1, np.int32)
    cell = np.empty(len(points), np.int32)
    for n in range(len(points)):
        if chosen[n]:
            row, column = (
                _cell((points[n, 1] - low_y) * scale, rows),
                _cell((points[n, 0] - low_x) * scale, columns),
            )
            cell[n] = row * columns + column
            start[cell[n] + 1] += 1
    for c in range(rows * columns):
        start[c + 1] += start[c]
    filled = start.copy()
    for n in range(len(points)):
        if chosen[n]:
            at = filled[cell[n]]
            filled[cell[n]] += 1
            while at > start[cell[n]] and x[at - 1] > points[n, 0]:
                order[at], x[at], y[at] = order[at - 1], x[at - 1], y[at - 1]
                at -= 1
            order[at], x[at], y[at] = n, points[n, 0], points[n, 1]
    return order, x, y, start, low_x, low_y, size, rows, columns


@compiled
def _scan(qx, qy, x, y, begin, middle, end, gap, best, found):
    """The nearest among points begin..end of one row of cells, if it is nearer than `found` at squared distance `best`.
    Walks both ways from `middle`, the start of the query's column. `gap` is the row's squared distance."""
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


@compiled
def _nearest(qx, qy, found, grid):
    """The place in the grid's order of the point nearest to the query, and its squared distance; `found` is any point
    to start from."""
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


@compiled
def _find(first, last, queries, targets, asks, answers, squared, index):
    for item in range(first, last):
        grid = _grid(targets[item], answers[item])
        order = grid[0]
        # A query often lies beside the last one: its neighbour is a bound to start from.
        found = 0
        for q in range(queries.shape[1]):
            if asks[item, q] and len(order) > 0:
                squared[item, q], found = _nearest(
                    float(queries[item, q, 0]), float(queries[item, q, 1]), found, grid
                )
                index[item, q] = order[found]


@compiled
def _pull(first, last, queries, targets, index, gradient, to_queries, to_targets):
    for item in range(first, last):
        for q in range(queries.shape[1]):
            t = index[item, q]
            if t >= 0:
                for axis in range(2):
                    pull = 2 * gradient[item, q] * (queries[item, q, axis] - targets[item, t, axis])
                    to_queries[item, q, axis] = pull
                    to_targets[item, t, axis] -= pull
