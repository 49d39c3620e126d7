"""Capture many videos, and pack pseudo-labels of the captures into shards."""

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
from selfmocap.pipeline.distributed.cluster import cluster
from selfmocap.pipeline.distributed.index import BatchIndex
from selfmocap.pipeline.distributed.jobs import SHARDS, WORK, CaptureJob, ShardJob, manifest_settings, recover
from selfmocap.pipeline.distributed.manifest import Failure, Manifest
from selfmocap.pipeline.distributed.schedule import JobProgress, Tally, WorkerPool, run_all
from selfmocap.pipeline.distributed.sources import find_videos

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
    result equals that of `capture`.

    With `batch.pseudo_labels`, also write shards of all captures in `out` into `out/pseudo-labels`. Captures that are
    done are not repeated; videos that failed twice are attempted again only with `batch.retry`. `out/manifest.jsonl`
    records every result and failure; `out/index.html` and `out/index.csv` show them during the run.

    Returns the tally of the captures, and the failures. Raises ImportError where Ray is missing, OSError where no
    cluster is reached, ValueError or FileNotFoundError where a source or `out` cannot be used."""
    config, out = _with_absolute_paths(config or CaptureConfig()), Path(out).expanduser().absolute()
    batch = batch or BatchConfig()
    if batch.pseudo_labels and config.lens.calib:
        raise ValueError(
            "found --pseudo-labels and --calib; pseudo-labels hold observations as measured: capture without --calib"
        )
    videos = find_videos(sources)
    (out / WORK).mkdir(parents=True, exist_ok=True)
    defaults = manifest_settings(CaptureConfig())
    with Manifest(out / "manifest.jsonl", manifest_settings(config), defaults) as manifest:
        recover(out, manifest)
        if batch.retry:
            manifest.failures.clear()
        with BatchIndex(out, manifest.lines()) as index, cluster(out, batch.address, batch.workers) as pool:
            manifest.on_line = index.add

            def show(tally: Tally, jobs: JobProgress) -> None:
                index.flush()
                progress("capture", tally, jobs)

            device = "cuda" if pool.on_gpus else "cpu"
            jobs = (CaptureJob(video, config, device) for video in videos)
            tally = run_all(jobs, pool, out, manifest, show)
            failed = set(tally.failed)
            if batch.pseudo_labels:
                failed |= _write_shards(pool, out, manifest, progress)
        return tally, [manifest.failures[name] for name in sorted(failed)]


def _with_absolute_paths(config: CaptureConfig) -> CaptureConfig:
    """Make paths valid in the working directory of any worker."""
    weights, smpl_model = (
        path and existing_file(path).absolute() for path in (config.weights, config.options.smpl_model)
    )
    calib = config.lens.calib and str(Path(config.lens.calib).expanduser().absolute())
    return replace(
        config,
        weights=weights,
        lens=replace(config.lens, calib=calib),
        options=replace(config.options, smpl_model=smpl_model),
    )


def _write_shards(pool: WorkerPool, out: Path, manifest: Manifest, progress: BatchCallback) -> set[str]:
    """Write shards of all captures that are in none yet, and their index; return the names of the failed shards."""
    (out / SHARDS).mkdir(exist_ok=True)
    captured, packed = set[str](), set[str]()
    for line in _done_lines(out, manifest):
        if "clips" in line:
            packed.update(line["clips"])
        else:
            captured.add(line["name"])
    names = iter(sorted(captured - packed))
    groups = iter(lambda: list(islice(names, CLIPS_PER_SHARD)), [])
    tally = run_all(map(ShardJob, groups), pool, out, manifest, lambda *now: progress("pseudo-labels", *now))
    with atomic_write(out / SHARDS / SHARD_INDEX) as partial:
        partial.write_text("".join(sorted(_index_lines(out, manifest))))
    return tally.failed


def _index_lines(out: Path, manifest: Manifest) -> Iterator[str]:
    for line in _done_lines(out, manifest):
        if "clips" in line:
            entry = {"shard": Path(line["result"]).name, "samples": line["samples"], "bytes": line["bytes"]}
            yield json.dumps(entry) + "\n"


def _done_lines(out: Path, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """Read the manifest's lines of results that still exist."""
    lines = islice(manifest.lines(), 1, None)
    return (line for line in lines if line["state"] == "done" and (out / line["result"]).exists())
