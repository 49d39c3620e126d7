"""From many videos to their captures, and on to shards of pseudo-labels."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from selfmocap.datasets.pseudo_labels import INDEX
from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file
from selfmocap.pipeline.config import CaptureConfig
from selfmocap.pipeline.distributed.cluster import cluster
from selfmocap.pipeline.distributed.jobs import SHARDS, WORK, Capture, Shard, recover, settings_of
from selfmocap.pipeline.distributed.manifest import Failure, Manifest
from selfmocap.pipeline.distributed.schedule import Pool, Tally, Working, do_all
from selfmocap.pipeline.distributed.sources import clips_in

CLIPS_A_SHARD = 256
"""Some hundred MB of pseudo-labels."""

Watch = Callable[[str, Tally, Working], None]
"""Called with what is being made, how far it is, and what the workers are at."""


def capture_many(
    sources: Sequence[str],
    out: Path | str,
    config: CaptureConfig | None = None,
    address: str | None = None,
    workers: int | None = None,
    pseudo_labels: bool = False,
    retry: bool = False,
    watch: Watch = lambda what, tally, working: None,
) -> tuple[Tally, list[Failure]]:
    """Captures all videos of the sources (see `clips_in`) into `out/NAME`, on the Ray cluster at `address` or on this
    machine; with `pseudo_labels`, the shards `out/pseudo-labels` are made of all captures there. Each capture is what
    `capture` makes of that video. What is done is not done again; what has failed twice is not tried again, unless
    `retry`. `out/manifest.jsonl` says what became of each.

    Gives how many captures there are, and the failures. Raises ImportError where Ray is missing, OSError where no
    cluster is reached, ValueError or FileNotFoundError where a source or `out` cannot be used."""
    config, out = _everywhere(config or CaptureConfig()), Path(out).absolute()
    if workers is not None and workers < 1:
        raise ValueError(f"{workers} workers; expected at least 1")
    clips = clips_in(sources)
    (out / WORK).mkdir(parents=True, exist_ok=True)
    with Manifest(out / "manifest.jsonl", settings_of(config)) as manifest:
        recover(out, manifest)
        if retry:
            manifest.failures.clear()
        with cluster(out, address, workers) as pool:
            device = "cuda" if pool.on_gpus else "cpu"
            jobs = (Capture(clip, config, device) for clip in clips)
            tally = do_all(jobs, pool, out, manifest, lambda *now: watch("capture", *now))
            aside = set(tally.aside)
            if pseudo_labels:
                aside |= _shards(pool, out, manifest, watch)
        return tally, [manifest.failures[name] for name in sorted(aside)]


def _everywhere(config: CaptureConfig) -> CaptureConfig:
    """Paths of all machines, wherever a process began."""
    if config.weights is None:
        return config
    return replace(config, weights=existing_file(config.weights).absolute())


def _shards(pool: Pool, out: Path, manifest: Manifest, watch: Watch) -> set[str]:
    """Makes shards of all captures that are in none, and their index; the names of those that failed."""
    (out / SHARDS).mkdir(exist_ok=True)
    captured, packed = set[str](), set[str]()
    for line in _done(out, manifest):
        if "clips" in line:
            packed.update(line["clips"])
        else:
            captured.add(line["name"])
    names = iter(sorted(captured - packed))
    groups = iter(lambda: list(islice(names, CLIPS_A_SHARD)), [])
    tally = do_all(map(Shard, groups), pool, out, manifest, lambda *now: watch("pseudo-labels", *now))
    with atomic_write(out / SHARDS / INDEX) as partial:
        partial.write_text("".join(sorted(_index_lines(out, manifest))))
    return tally.aside


def _index_lines(out: Path, manifest: Manifest) -> Iterator[str]:
    for line in _done(out, manifest):
        if "clips" in line:
            about = {"shard": Path(line["result"]).name, "samples": line["samples"], "bytes": line["bytes"]}
            yield json.dumps(about) + "\n"


def _done(out: Path, manifest: Manifest) -> Iterator[dict[str, Any]]:
    """The manifest's lines of what is done and still there."""
    lines = islice(manifest.lines(), 1, None)
    return (line for line in lines if line["state"] == "done" and (out / line["result"]).exists())
