"""Numerics that stay finite, with finite gradients, at the singular point; records joined, long ones taken in parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

Record = TypeVar("Record")
_ROWS_AT_ONCE = 256


def joined(records: Sequence[Record]) -> Record:
    """Records (dataclasses) of one kind, the tensors in them put after each other in the first axis; a tensor that one
    lacks is lacking, and what is no tensor is the first one's."""
    first: Any = records[0]
    return replace(first, **{f.name: _column([getattr(r, f.name) for r in records]) for f in fields(first)})


def _column(values: Sequence[Any]) -> Any:
    if all(isinstance(value, Tensor) for value in values):
        return torch.cat(list(values))
    if is_dataclass(values[0]):
        return joined(values)
    return None if any(isinstance(value, Tensor) for value in values) else values[0]


def in_parts(
    function: Callable[..., Tensor], *columns: Float[Tensor, "time ..."] | Int[Tensor, "time ..."]
) -> Tensor:
    """`function` of columns, in which every row counts by itself, some rows at a time: what it needs on the way does
    not grow with their number."""
    parts = zip(*(column.split(_ROWS_AT_ONCE) for column in columns), strict=True)
    return torch.cat([function(*part) for part in parts])


def safe_norm(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch 1"]:
    """Euclidean length over the last axis, kept as an axis of size one; its gradient at the zero vector is zero."""
    squared = (x * x).sum(-1, keepdim=True)
    positive = squared > 0
    return torch.where(positive, torch.where(positive, squared, 1.0).sqrt(), 0.0)


def safe_normalize(x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch n"]:
    """x / |x| over the last axis; the zero vector stays zero, with zero gradient."""
    length = safe_norm(x)
    positive = length > 0
    return torch.where(positive, x / torch.where(positive, length, 1.0), 0.0)


def weighted_sum(values: Mapping[str, Float[Tensor, ""]], weights: Mapping[str, float]) -> Float[Tensor, ""]:
    """The sum of named values, each times the weight of its name."""
    return torch.stack([weights[name] * value for name, value in values.items()]).sum()
