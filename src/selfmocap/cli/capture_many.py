"""The command `capture-many`."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tyro.conf import Positional, arg

from selfmocap.cli.console import ERRORS, OUTPUT, bold
from selfmocap.cli.progress import PlainProgress
from selfmocap.pipeline.config import BatchConfig, CaptureConfig

if TYPE_CHECKING:
    from selfmocap.pipeline.distributed.many import BatchCallback
    from selfmocap.pipeline.distributed.schedule import JobProgress, Tally

_MAX_JOB_BARS = 8


def capture_many_command(
    sources: Annotated[Positional[tuple[str, ...]], arg(metavar="SOURCES")],
    out: Annotated[str, arg(aliases=["-o"], metavar="PATH|URL")],
    batch: Annotated[BatchConfig, arg(name="")],
    config: Annotated[CaptureConfig, arg(name="")],
) -> int:
    """Capture many videos, on all cores or GPUs of this machine or of a Ray cluster.

    Args:
        sources: Videos, folders, globs, .txt lists with one source per line, or URLs (http, https, s3, gs).
        out: Output folder that all machines can read and write, or a URL (s3://bucket/folder, gs://...). An interrupted
            run resumes there.
    """
    from selfmocap.pipeline.distributed.many import capture_many

    with _show_batch_progress(ERRORS) as progress:
        tally, failures = capture_many(sources, out, config, batch, progress)
    for failure in failures:
        ERRORS.print(f"selfmocap: {failure.source}: failed {failure.attempts} times: {failure.error}")
    OUTPUT.print(
        f"{tally.done} videos captured, {tally.done_before} were captured before, {len(tally.failed)} failed: "
        f"{bold(out)}"
    )
    return int(bool(failures))


@contextlib.contextmanager
def _show_batch_progress(console: Console) -> "Iterator[BatchCallback]":
    """Show a bar for all jobs and one for each of the first running ones; without a terminal, plain lines."""
    if not console.is_terminal:
        plain = PlainProgress(console.file)

        def report(kind: str, tally: "Tally", jobs: "JobProgress") -> None:
            total = tally.ended + tally.pending
            plain.report(kind, tally.ended, total if tally.all_found else 0)

        yield report
        plain.close()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars: dict[str, TaskID] = {}

        def show(name: str, text: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(text)
            progress.update(bars[name], description=text, completed=done, total=total or None)

        def draw(kind: str, tally: "Tally", jobs: "JobProgress") -> None:
            total = tally.ended + tally.pending
            show(kind, f"{kind}, {len(tally.failed)} failed", tally.ended, total if tally.all_found else None)
            shown = dict(list(jobs.items())[:_MAX_JOB_BARS])
            for name in bars.keys() - shown.keys() - {"capture", "pseudo-labels"}:
                progress.remove_task(bars.pop(name))
            for name, (stage, done, total) in shown.items():
                show(name, f"  {name[:-17]}: {stage}", done, total)

        yield draw
