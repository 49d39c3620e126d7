"""How long each stage took."""

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


class Stopwatch:
    """Seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Adds the time of a block to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items; the time that it takes to make them counts for a stage."""
        source, end = iter(items), object()
        while True:
            with self.stage(name):
                item: Any = next(source, end)
            if item is end:
                return
            yield item
