from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from selfmocap.geometry.tensors import concat, map_chunked, runs_between, true_runs


@dataclass(frozen=True)
class Inner:
    x: Tensor


@dataclass(frozen=True)
class Outer:
    a: Tensor
    b: Tensor | None
    inner: Inner
    name: str


def test_records_are_concatenated_field_by_field() -> None:
    one, two = (
        Outer(torch.full((n,), n), None if n == 2 else torch.ones(n), Inner(torch.ones(n, 2)), str(n))
        for n in (1, 2)
    )
    both = concat([one, two])
    assert both.a.tolist() == [1, 2, 2]
    assert both.b is None
    assert both.inner.x.shape == (3, 2)
    assert both.name == "1"


def test_chunks_give_the_result_of_all_rows() -> None:
    x, y = torch.randn(1000, 3), torch.randn(1000)
    assert torch.equal(map_chunked(lambda a, b: a * b[:, None], x, y), x * y[:, None])


@pytest.mark.parametrize(
    ("flags", "runs"),
    [([], []), ([0, 0], []), ([1], [(0, 1)]), ([1, 1, 0, 1], [(0, 2), (3, 4)]), ([0, 1, 1], [(1, 3)])],
)
def test_runs_of_true(flags: list[int], runs: list[tuple[int, int]]) -> None:
    assert true_runs(torch.tensor(flags, dtype=torch.bool)) == runs


def test_runs_between_breaks() -> None:
    index = torch.tensor([3, 4, 7, 8, 9, 12])
    assert runs_between(index.diff() > 1) == [(0, 2), (2, 5), (5, 6)]
    assert runs_between(index[:1].diff() > 1) == [(0, 1)]
