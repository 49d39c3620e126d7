"""Exact nearest neighbours between sets of points in the plane, with their gradient."""

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
    flat = (x.reshape(-1, *x.shape[len(batch) :]) for x in (queries, targets, asks, answers))
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
    def backward(ctx: Any, gradient: Float[Tensor, "batch queries"]) -> tuple[Tensor, Tensor, None, None]:
        queries, targets, index = ctx.saved_tensors
        to_queries, to_targets = (
            torch.zeros(queries.shape).to(queries),
            torch.zeros(targets.shape).to(targets),
        )
        arrays = (to_numpy(x) for x in (queries, targets, index, gradient, to_queries, to_targets))
        over_batch(_pull, len(queries), *arrays)
        return to_queries, to_targets, None, None


@compiled
def _cell(position, cells):
    return 0 if not position > 0 else (cells - 1 if position >= cells else int(position))


@compiled
def _grid(points, chosen):
    """The chosen points in order of square cells, row by row; where each cell starts; the grid's corner, cell size and
    columns. About one point a cell."""
    low_x, low_y, high_x, high_y, count = np.inf, np.inf, -np.inf, -np.inf, 0
    for n in range(len(points)):
        if chosen[n]:
            low_x, high_x = min(low_x, points[n, 0]), max(high_x, points[n, 0])
            low_y, high_y = min(low_y, points[n, 1]), max(high_y, points[n, 1])
            count += 1
    if count == 0:
        low_x = low_y = high_x = high_y = 0.0
    width, height = high_x - low_x, high_y - low_y
    size = max(np.sqrt(width * height / max(count, 1)), max(width, height) / (_ROWS - 1), 1e-9)
    columns, rows = int(width / size) + 1, int(height / size) + 1
    start = np.zeros(rows * columns + 1, np.int32)
    cell = np.empty(len(points), np.int32)
    for n in range(len(points)):
        if chosen[n]:
            row, column = (
                _cell((points[n, 1] - low_y) / size, rows),
                _cell((points[n, 0] - low_x) / size, columns),
            )
            cell[n] = row * columns + column
            start[cell[n] + 1] += 1
    for c in range(rows * columns):
        start[c + 1] += start[c]
    place = start.copy()
    order, x, y = np.empty(count, np.int32), np.empty(count), np.empty(count)
    for n in range(len(points)):
        if chosen[n]:
            at = place[cell[n]]
            place[cell[n]] += 1
            order[at], x[at], y[at] = n, points[n, 0], points[n, 1]
    return order, x, y, start, low_x, low_y, size, rows, columns


@compiled
def _scan(qx, qy, x, y, begin, middle, end, size, gap, best, found):
    """The nearest among points begin..end of one row of cells, if it is nearer than `found` at squared distance `best`.
    Walks both ways from `middle`, the start of the query's column; inside a cell points are in no order, hence the
    slack of one cell. `gap` is the row's distance from the query."""
    for n in range(middle, end):
        ahead = x[n] - qx - size
        if ahead > 0 and ahead * ahead + gap * gap >= best:
            break
        squared = (x[n] - qx) ** 2 + (y[n] - qy) ** 2
        if squared < best:
            best, found = squared, n
    for n in range(middle - 1, begin - 1, -1):
        ahead = qx - x[n] - size
        if ahead > 0 and ahead * ahead + gap * gap >= best:
            break
        squared = (x[n] - qx) ** 2 + (y[n] - qy) ** 2
        if squared < best:
            best, found = squared, n
    return best, found


@compiled
def _find(first, last, queries, targets, asks, answers, squared, index):
    for item in range(first, last):
        order, x, y, start, low_x, low_y, size, rows, columns = _grid(targets[item], answers[item])
        if len(order) == 0:
            continue
        found = 0
        for q in range(queries.shape[1]):
            if not asks[item, q]:
                continue
            qx, qy = float(queries[item, q, 0]), float(queries[item, q, 1])
            # The last query's neighbour is often close to this one's: a bound to start from.
            best = (x[found] - qx) ** 2 + (y[found] - qy) ** 2
            row, column = _cell((qy - low_y) / size, rows), _cell((qx - low_x) / size, columns)
            up, down = row, row + 1
            while up >= 0 or down < rows:
                for r in (up, down):
                    if r < 0 or r >= rows:
                        continue
                    gap = max(0.0, low_y + r * size - qy, qy - low_y - (r + 1) * size)
                    if gap * gap < best:
                        base = r * columns
                        begin, middle, end = start[base], start[base + column], start[base + columns]
                        best, found = _scan(qx, qy, x, y, begin, middle, end, size, gap, best, found)
                    elif r == up:
                        up = -1
                    else:
                        down = rows
                up, down = up - 1, down + 1
            squared[item, q], index[item, q] = best, order[found]


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
