"""Compile CPU kernels with numba, and run them over a batch in several threads."""

import inspect
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


def njit_cached(
    function: Callable[..., Any], reassociate: bool = False, inline: bool = False
) -> Callable[..., Any]:
    """Compile a function at its first call to machine code that runs without the interpreter lock.

    The code is cached on disk where numba finds a writable folder. `reassociate` allows another order of sums, and
    fused multiply-adds, which makes vector units several times faster. `inline` copies the function into the kernels
    that call it: passing arrays at every sample costs more than a short calculation."""
    plain = inspect.unwrap(function)
    options = {
        "nogil": True,
        "fastmath": {"contract", "nsz", "reassoc"} if reassociate else False,
        "inline": "always" if inline else "never",
    }
    try:
        return numba.njit(plain, cache=True, **options)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(plain, **options)


def parallel_for(kernel: Callable[..., Any], count: int, *arguments: Any, min_per_thread: int = 1) -> None:
    """Call `kernel(first, last, *arguments)` on ranges that partition range(count), in as many threads as torch uses.

    Each thread has at least `min_per_thread` items. The caller's thread is one of them. The others are ordinary threads
    instead of OpenMP's, so that a process may fork afterwards; with one thread (in a data loader's worker) no thread is
    started."""
    threads = min(torch.get_num_threads(), count // min_per_thread)
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
    """Convert a tensor to a contiguous array for a kernel."""
    return tensor.detach().contiguous().numpy()
