"""The processor cores of this process."""

import os


def cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cap_workers(workers: int) -> int:
    """Return a number of worker processes of at most one per core: more are slower, and torch warns of them."""
    return min(workers, cores())
