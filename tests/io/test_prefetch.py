"""Prefetching and ordered work in threads: order, errors, no runaway."""

import threading
import time
from collections.abc import Iterator

import pytest

from selfmocap.io.prefetch import map_in_threads, prefetched


def test_prefetched_items_keep_their_order_and_errors_their_position() -> None:
    def items() -> Iterator[int]:
        yield from range(20)
        raise ValueError("broken")

    got: list[int] = []
    with pytest.raises(ValueError, match="broken"):
        got.extend(prefetched(items()))
    assert got == list(range(20)) and list(prefetched([])) == []


def test_an_endless_source_is_stopped_when_the_generator_is_closed() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        while True:
            made.append(len(made))
            yield made[-1]

    before = threading.active_count()
    wanted = prefetched(items())
    assert [next(wanted) for _ in range(3)] == [0, 1, 2]
    wanted.close()
    assert threading.active_count() == before and len(made) <= 8


def test_two_threads_keep_the_order_and_prefetch_two_items() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(30):
            taken.append(number)
            yield number

    def slowly(number: int) -> int:
        time.sleep(0.002 * (number % 3))
        if number == 20:
            raise ValueError("twenty")
        return 10 * number

    got: list[int] = []
    with pytest.raises(ValueError, match="twenty"):
        for made in map_in_threads(slowly, items()):
            got.append(made)
            assert len(taken) <= len(got) + 3
    assert got == [10 * number for number in range(20)]
