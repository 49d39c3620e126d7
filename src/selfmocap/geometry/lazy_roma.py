"""`roma`, imported when one of its functions is first used.

It imports torch's compiler, which takes almost as long as torch itself."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Return a function of `roma`."""
    import roma

    return getattr(roma, name)
