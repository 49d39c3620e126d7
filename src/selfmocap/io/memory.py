"""Memory of this process."""

import ctypes
import sys


def peak_memory_gb() -> float | None:
    """Return the peak memory of this process, GB (1e9 bytes); None if the system does not report it."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def release_free_memory() -> None:
    """Return free memory to the system.

    glibc keeps the freed arrays of one stage, into which those of the next stage do not fit. Nothing is done on other
    systems."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
