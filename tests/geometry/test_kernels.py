import multiprocessing

import numpy as np
import pytest
import torch

from selfmocap.geometry.kernels import njit_cached, parallel_for


@njit_cached
def _square(first, last, values, squares):
    for item in range(first, last):
        squares[item] = values[item] ** 2


def _squares(count: int) -> np.ndarray:
    squares = np.zeros(count)
    parallel_for(_square, count, np.arange(count, dtype=float), squares)
    return squares


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 100])
def test_every_item_is_done_once(threads: int, count: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        np.testing.assert_array_equal(_squares(count), np.arange(count) ** 2)
    finally:
        torch.set_num_threads(before)


def test_a_function_that_cannot_be_cached_is_compiled() -> None:
    # A function without a file has no folder for its machine code, as one in a read-only installation.
    names: dict = {}
    exec("def thrice(x):\n    return 3 * x", names)
    with pytest.raises(RuntimeError, match="cannot cache"):
        __import__("numba").njit(names["thrice"], cache=True)
    assert njit_cached(names["thrice"])(5) == 15


def test_an_error_in_a_thread_reaches_the_caller() -> None:
    def fails(first: int, last: int) -> None:
        raise ValueError(f"item {first}")

    with pytest.raises(ValueError, match="item"):
        parallel_for(fails, 8)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_may_fork_after_its_threads_have_run() -> None:
    _squares(10)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_squares, args=(10,))
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0
