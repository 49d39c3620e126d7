"""Capture many videos, and pack pseudo-labels of the captures into shards."""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from selfmocap.datasets.pseudo_labels import SHARD_INDEX
from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file
from selfmocap.pipeline.config import BatchConfig, CaptureConfig
from selfmocap.pipeline.distributed.bucket import Bucket
from selfmocap.pipeline.distributed.bucket_output import bucket_output
from selfmocap.pipeline.distributed.cluster import cluster
from selfmocap.pipeline.distributed.films import Films
from selfmocap.pipeline.distributed.index import BatchIndex
from selfmocap.pipeline.distributed.jobs import SHARDS, WORK, ShardJob, manifest_settings
from selfmocap.pipeline.distributed.manifest import Failure, Manifest, is_of_part
from selfmocap.pipeline.distributed.output import BatchOutput, FolderOutput
from selfmocap.pipeline.distributed.schedule import JobProgress, Tally, WorkerPool, run_all
from selfmocap.pipeline.distributed.sources import find_videos, is_url

CLIPS_PER_SHARD = 256
"""Some hundred MB of pseudo-labels."""

BatchCallback = Callable[[str, Tally, JobProgress], None]
"""Called with the kind of jobs (`capture` or `pseudo-labels`), their tally, and the progress of the running jobs."""


def capture_many(
    sources: Sequence[str],
    out: Path | str,
    config: CaptureConfig | None = None,
    batch: BatchConfig | None = None,
    progress: BatchCallback = lambda kind, tally, jobs: None,
) -> tuple[Tally, list[Failure]]:
    """Capture all videos of the sources (see `find_videos`) into `out/NAME`, on a Ray cluster or on this machine. Each
    result equals that of `capture`. `out` is a folder, or the URL of one in a bucket (`s3://bucket/folder`).

    With `batch.pseudo_labels`, also write shards of all captures in `out` into `out/pseudo-labels`. Captures that are
    done are not repeated; videos that failed twice are attempted again only with `batch.retry`. `out/manifest.jsonl`
    (in a bucket its parts in `out/manifest`) records every result and failure; `out/index.html` and `out/index.csv`
    show them during the run.

    Returns the tally of the captures, and the failures. Raises ImportError where Ray is missing, OSError where no
    cluster is reached or `out` cannot be written, ValueError or FileNotFoundError where a source or `out` cannot be
    used."""
    batch, config = batch or BatchConfig(), config or CaptureConfig()
    if batch.pseudo_labels and config.lens.calib:
        raise ValueError(
            "found --pseudo-labels and --calib; pseudo-labels hold observations as measured: capture without --calib"
        )
    if config.overlay != CaptureConfig().overlay:
        raise ValueError("found --overlay; capture-many draws what --keep names")
    config = _kept_only(_with_absolute_paths(config), batch)
    settings = manifest_settings(config, batch.kept)
    defaults = manifest_settings(_kept_only(CaptureConfig(), BatchConfig()), BatchConfig().kept)
    videos = find_videos(sources)
    with _open_output(str(out), batch) as output, contextlib.ExitStack() as stack:
        manifest = stack.enter_context(Manifest(output.folder / "manifest.jsonl", settings, defaults))
        output.recover(manifest)
        if batch.retry:
            manifest.failures.clear()
        clip_page = "report.html" if "report" in batch.kept else "report.json"
        index = stack.enter_context(BatchIndex(output.folder, manifest.lines(), clip_page))
        manifest.on_line = index.add
        output.publish(at_once=True)
        pool = stack.enter_context(cluster(output.for_workers, batch.address, batch.workers))

        def show(tally: Tally, jobs: JobProgress) -> None:
            index.flush()
            output.publish()
            progress("capture", tally, jobs)

        device = "cuda" if pool.on_gpus else "cpu"
        films = Films(config, device, batch.kept, output, manifest, batch.retry)
        tally = run_all(films.jobs(videos), pool, output, manifest, show, films.following)
        failed = tally.failed | films.failed
        if batch.pseudo_labels:
            failed |= _write_shards(pool, output, manifest, progress)
        index.flush()
        output.publish(at_once=True)
    return tally, [manifest.failures[name] for name in sorted(failed)]


@contextlib.contextmanager
def _open_output(out: str, batch: BatchConfig) -> Iterator[BatchOutput]:
    if is_url(out) and not out.startswith("file://"):
        scratch = batch.scratch and batch.scratch.expanduser().absolute()
        with bucket_output(Bucket(out.rstrip("/"), scratch)) as output:
            yield output
        return
    folder = Path(out.removeprefix("file://")).expanduser().absolute()
    (folder / WORK).mkdir(parents=True, exist_ok=True)
    yield FolderOutput(folder)


def _kept_only(config: CaptureConfig, batch: BatchConfig) -> CaptureConfig:
    """Draw and export only what is kept."""
    overlay = "all" if "observed" in batch.kept else "bodies" if "overlay" in batch.kept else "none"
    if "exports" not in batch.kept:
        config = replace(config, formats=(), onto=None)
    return replace(config, overlay=overlay)


def _with_absolute_paths(config: CaptureConfig) -> CaptureConfig:
    """Make paths valid in the working directory of any worker."""
    weights, onto, smpl_model = (
        path and existing_file(path).absolute()
        for path in (config.weights, config.onto, config.options.smpl_model)
    )
    calib = config.lens.calib and str(Path(config.lens.calib).expanduser().absolute())
    return replace(
        config,
        weights=weights,
        onto=onto,
        lens=replace(config.lens, calib=calib),
        options=replace(config.options, smpl_model=smpl_model),
    )


def _write_shards(
    pool: WorkerPool, output: BatchOutput, manifest: Manifest, progress: BatchCallback
) -> set[str]:
    """Write shards of all captures that are in none yet, and their index; return the names of the failed shards."""
    (output.folder / SHARDS).mkdir(exist_ok=True)
    captured, packed = set[str](), set[str]()
    for line in _done_lines(output, manifest):
        if "clips" in line:
            packed.update(line["clips"])
        elif not is_of_part(line):
            captured.add(line["name"])
    names = iter(sorted(captured - packed))
    groups = iter(lambda: list(islice(names, CLIPS_PER_SHARD)), [])
    bucket = output.for_workers if isinstance(output.for_workers, Bucket) else None
    jobs = (ShardJob(group, bucket) for group in groups)
    tally = run_all(jobs, pool, output, manifest, lambda *now: progress("pseudo-labels", *now))
    with atomic_write(output.folder / SHARDS / SHARD_INDEX) as partial:
        partial.write_text("".join(sorted(_index_lines(output, manifest))))
    return tally.failed


def _index_lines(output: BatchOutput, manifest: Manifest) -> Iterator[str]:
    for line in _done_lines(output, manifest):
        if "clips" in line:
            entry = {"shard": Path(line["result"]).name, "samples": line["samples"], "bytes": line["bytes"]}
            yield json.dumps(entry) + "\n"


def _done_lines(output: BatchOutput, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Read the manifest's lines of results that still exist."""
    lines = islice(manifest.lines(), 1, None)
    return (line for line in lines if line["state"] == "done" and output.contains(line["result"]))
