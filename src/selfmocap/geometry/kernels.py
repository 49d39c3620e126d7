"""How the project's CPU kernels are compiled by numba, and how they are spread over a batch."""

import inspect
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


def compiled(
    function: Callable[..., Any], any_order: bool = False, inlined: bool = False
) -> Callable[..., Any]:
    """The function as machine code that runs outside the interpreter lock, compiled at its first call and kept on
    disk for the next program wherever numba finds a folder that it may write to.

    With `any_order` its sums may be taken in another order than written and joined with their products: vector units
    are several times faster so. With `inlined` it becomes a part of the kernels that call it: for what is handed
    arrays at every sample, since that costs more than a short calculation."""
    plain = inspect.unwrap(function)
    options = {
        "nogil": True,
        "fastmath": {"contract", "nsz", "reassoc"} if any_order else False,
        "inline": "always" if inlined else "never",
    }
    try:
        return numba.njit(plain, cache=True, **options)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(plain, **options)


def over_batch(kernel: Callable[..., Any], count: int, *arguments: Any, least: int = 1) -> None:
    """Calls `kernel(first, last, *arguments)` on ranges that together are range(count), in as many threads as torch
    uses, but none for fewer than `least` items. The caller's thread is one of them; the others are ordinary threads
    and not OpenMP's: a process may fork afterwards, and with one thread (a worker of a data loader) none is started."""
    threads = min(torch.get_num_threads(), count // least)
    if threads < 2:
        kernel(0, count, *arguments)
        return
    ends = np.linspace(0, count, min(4 * threads, count) + 1).astype(int).tolist()
    ranges = iter(list(itertools.pairwise(ends)))

    def work() -> None:
        for first, last in ranges:
            kernel(first, last, *arguments)

    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(work) for _ in range(threads - 1)]
        work()
    for other in others:
        other.result()


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The values as a contiguous array, for a kernel."""
    return tensor.detach().contiguous().numpy()
