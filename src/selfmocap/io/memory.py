"""The memory of this process."""

import ctypes
import sys


def peak_memory_gb() -> float | None:
    """The most that this process has held so far, GB (1e9 bytes); None where the system does not say."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def give_memory_back() -> None:
    """Returns what is free to the system. glibc keeps the freed arrays of one stage, and the next one's do not fit
    into the same places; elsewhere there is nothing to do."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
