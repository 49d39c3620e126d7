"""Progress on standard error: bars on a terminal, else plain lines."""

import contextlib
import time
from collections.abc import Callable, Iterator
from io import TextIOBase
from typing import IO

from rich.console import Console

from selfmocap.cli.console import ERRORS
from selfmocap.io.progress import ProgressCallback

PLAIN_INTERVAL = 10.0
"""Seconds between plain lines of one stage."""


@contextlib.contextmanager
def show_progress(console: Console = ERRORS) -> Iterator[ProgressCallback]:
    """Show the progress of each stage."""
    if not console.is_terminal:
        plain = PlainProgress(console.file)
        yield plain.report
        plain.close()
        return
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = progress.add_task(stage, total=total or None)
            progress.update(tasks[stage], completed=done, total=total or None)

        yield report


class PlainProgress:
    """Progress as plain lines: when a stage starts and finishes, and at most every 10 s in between."""

    def __init__(self, stream: TextIOBase | IO[str], clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream
        self.clock = clock
        self.due: dict[str, float] = {}
        """Time of the next line of each unfinished stage, s."""
        self.unprinted: dict[str, str] = {}
        """Last line of each unfinished stage, where it was not printed."""

    def report(self, stage: str, done: int, total: int) -> None:
        """Print a line if it is due."""
        line, is_finished = f"{stage}: {done}{f'/{total}' if total else ''}", 0 < total <= done
        if not is_finished and self.clock() < self.due.get(stage, 0.0):
            self.unprinted[stage] = line
            return
        self.unprinted.pop(stage, None)
        self.due[stage] = self.clock() + PLAIN_INTERVAL
        if is_finished:
            del self.due[stage]
        self._print(line)

    def close(self) -> None:
        """Print the last lines of stages whose total was unknown or not reached."""
        for line in self.unprinted.values():
            self._print(line)

    def _print(self, line: str) -> None:
        self.stream.write(f"{line}\n")
        self.stream.flush()
