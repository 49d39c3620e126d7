"""Numerics with finite values and gradients at singular points; records concatenated, long tensors mapped in chunks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_Record = TypeVar("_Record")
_CHUNK_ROWS = 256


def concat(records: Sequence[_Record]) -> _Record:
    """Concatenate the tensors of dataclass records of one kind along the first axis.

    A tensor that one record lacks (None) is None in the result. Other fields are the first record's."""
    first: Any = records[0]
    return replace(
        first, **{f.name: _concat_field([getattr(r, f.name) for r in records]) for f in fields(first)}
    )


def _concat_field(values: Sequence[Any]) -> Any:
    if all(isinstance(value, Tensor) for value in values):
        return torch.cat(list(values))
    if is_dataclass(values[0]):
        return concat(values)
    return None if any(isinstance(value, Tensor) for value in values) else values[0]


def map_chunked(
    function: Callable[..., Tensor], *columns: Float[Tensor, "time ..."] | Int[Tensor, "time ..."]
) -> Tensor:
    """Apply a function that treats every row by itself to 256 rows at a time, and concatenate the results.

    The memory for intermediate results does not grow with the number of rows."""
    chunks = zip(*(column.split(_CHUNK_ROWS) for column in columns), strict=True)
    return torch.cat([function(*chunk) for chunk in chunks])


def safe_norm(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch 1"]:
    """Compute the Euclidean length over the last axis, kept with size one; its gradient at the zero vector is zero."""
    squared = (x * x).sum(-1, keepdim=True)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)


def safe_normalize(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """Compute x / |x| over the last axis; the zero vector stays zero, with zero gradient."""
    length = safe_norm(x)
    positive = length > 0
    return torch.where(positive, x / torch.where(positive, length, 1.0), 0.0)


def weighted_sum(values: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """Compute the sum of named values, each times the weight of its name."""
    return torch.stack([weights[name] * value for name, value in values.items()]).sum()


def true_runs(flags: Bool[Tensor, " time"]) -> list[tuple[int, int]]:
    """Return the start and the end (not included) of each run of true."""
    edge = flags.new_zeros(1)
    change = torch.cat([edge, flags, edge]).int().diff()
    starts, ends = (torch.nonzero(change == sign).flatten().tolist() for sign in (1, -1))
    return list(zip(starts, ends, strict=True))


def runs_between(breaks: Bool[Tensor, " steps"]) -> list[tuple[int, int]]:
    """Return the start and the end (not included) of each run of rows without a break.

    `breaks[i]` says that row i + 1 does not continue row i; there is one row more than there are steps. An empty
    tensor stands for a single row."""
    cuts = (torch.nonzero(breaks).flatten() + 1).tolist()
    return list(zip([0, *cuts], [*cuts, len(breaks) + 1], strict=True))
