"""The command for many videos."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from tyro.conf import Positional, arg

_console = Console()
_errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
_SHOWN = 8
"""Workers whose progress is drawn."""


def capture_many(
    sources: Positional[tuple[str, ...]],
    out: Annotated[Path, arg(aliases=["-o"])],
    address: str | None = None,
    workers: int | None = None,
    pseudo_labels: bool = False,
    retry: bool = False,
    people: str = "all",
    quality: Literal["fast", "balanced", "best"] = "balanced",
    focal: float | None = None,
    network: Literal["frame", "temporal"] = "temporal",
    weights: Path | None = None,
    static_camera: Literal["auto", "yes", "no"] = "auto",
    export: tuple[str, ...] = ("bvh", "glb"),
) -> int:
    """Capture many videos, on all cores or GPUs of this machine or of a Ray cluster.

    Args:
        sources: Videos, folders, globs, .txt lists with a source a line, or URLs (http, https, s3, gs).
        out: The folder to write to, seen by all machines; a run that was interrupted goes on there.
        address: A Ray cluster: auto, or ray://host:port; without it, this machine.
        workers: How many; without it, one a GPU, or one a core where there is no GPU.
        pseudo_labels: Also make WebDataset shards of 2D tracks, masks and motions, to train on.
        retry: Try again what has failed twice.
        people: all, largest, or the number of people, most visible first.
        quality: fast does not adapt the network to the video; best adapts it longer.
        focal: Focal length, px; without it 1.2 times the longer side of the image.
        network: Whether each frame is understood by itself, or in time.
        weights: Weights of either kind of network, instead of those that come with the project.
        static_camera: Whether the camera stands still: only then feet are held on a ground.
        export: Formats to write: bvh, glb, usd, amass, smpl, csv, trc.
    """
    import selfmocap
    from selfmocap.pipeline.distributed.many import capture_many as capture_all

    config = selfmocap.CaptureConfig(
        people, quality, focal, network, weights, static_camera=static_camera, export=export
    )
    with _progress() as watch:
        tally, failures = capture_all(sources, out, config, address, workers, pseudo_labels, retry, watch)
    for failure in failures:
        _errors.print(f"selfmocap: {failure.source}: failed {failure.attempts} times: {failure.error}")
    _console.print(
        f"{tally.done} videos captured, {tally.done_before} were before, {len(tally.failed)} failed: [bold]{out}[/]"
    )
    return int(bool(failures))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, Any, Any], None]]:
    """A bar for all, and one for each of the first workers' jobs."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bars: dict[str, TaskID] = {}

        def show(name: str, text: str, done: int, total: int | None) -> None:
            if name not in bars:
                bars[name] = progress.add_task(text)
            progress.update(bars[name], description=text, completed=done, total=total or None)

        def watch(what: str, tally: Any, working: Any) -> None:
            total = tally.ended + tally.pending
            show(what, f"{what}, {len(tally.failed)} failed", tally.ended, total if tally.all_found else None)
            shown = dict(list(working.items())[:_SHOWN])
            for name in bars.keys() - shown.keys() - {"capture", "pseudo-labels"}:
                progress.remove_task(bars.pop(name))
            for name, (stage, done, total) in shown.items():
                show(name, f"  {name[:-17]}: {stage}", done, total)

        yield watch
