"""How the project's CPU kernels are compiled by numba, and how they are spread over a batch."""

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as machine code that runs outside the interpreter lock, compiled at its first call and kept on
    disk for the next program wherever numba finds a folder that it may write to."""
    plain = inspect.unwrap(function)
    try:
        return numba.njit(plain, nogil=True, cache=True)
    except RuntimeError as error:
        if "cannot cache" not in str(error):
            raise
        return numba.njit(plain, nogil=True)


def over_batch(kernel: Callable[..., Any], count: int, *arguments: Any) -> None:
    """Calls `kernel(first, last, *arguments)` on ranges that together are range(count), in as many threads as torch
    uses. These are ordinary threads and not OpenMP's: a process may fork afterwards, and with one thread (a worker of
    a data loader) none is started."""
    threads = min(torch.get_num_threads(), count)
    if threads < 2:
        kernel(0, count, *arguments)
        return
    ends = np.linspace(0, count, min(4 * threads, count) + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        runs = [pool.submit(kernel, *ends[i : i + 2], *arguments) for i in range(len(ends) - 1)]
    for run in runs:
        run.result()


def to_numpy(tensor: Tensor) -> np.ndarray:
    """The values as a contiguous array, for a kernel."""
    return tensor.detach().contiguous().numpy()
