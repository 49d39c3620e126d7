"""Report the progress of long procedures."""

from collections.abc import Callable

ProgressCallback = Callable[[str, int, int], None]
"""Called with the name of a stage, the steps done, and their total (0 if it is unknown)."""


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress."""
