"""Measure the duration of stages."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

_T = TypeVar("_T")


class Stopwatch:
    """Accumulated seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of a block to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def timed(self, name: str, items: Iterable[_T]) -> Iterator[_T]:
        """Yield the items and add the time of their creation to a stage."""
        source, end = iter(items), object()
        while True:
            with self.stage(name):
                item: Any = next(source, end)
            if item is end:
                return
            yield item
