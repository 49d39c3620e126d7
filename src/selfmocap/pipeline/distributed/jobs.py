"""The jobs of a worker. A result is made in a work folder, and is complete when its record lies beside it."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from selfmocap._version import __version__
from selfmocap.datasets.pseudo_labels import write_shard
from selfmocap.io.atomic import remove_temporaries
from selfmocap.io.files import read_json, write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.pipeline.capture import capture
from selfmocap.pipeline.config import CaptureConfig
from selfmocap.pipeline.distributed.index import scores, write_thumbnail
from selfmocap.pipeline.distributed.manifest import Manifest
from selfmocap.pipeline.distributed.sources import VideoSource, download
from selfmocap.pipeline.summary import read_report

WORK, SHARDS = ".work", "pseudo-labels"
_LOCK_TIMEOUT = 60.0
"""Seconds to wait for the process of a killed run to end."""
_LOCK_POLL = 0.2


@runtime_checkable
class Job(Protocol):
    """Work that a worker does once."""

    @property
    def name(self) -> str:
        """A unique name."""
        ...

    @property
    def source(self) -> str:
        """The name in error messages."""
        ...

    @property
    def result(self) -> Path:
        """The final path of the result, relative to the output folder."""
        ...

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Make the result at `path`, resuming from what lies there; return JSON data for the manifest."""
        ...


@dataclass(frozen=True)
class CaptureJob:
    """The capture of one video."""

    video: VideoSource
    config: CaptureConfig
    device: str = "cpu"

    @property
    def name(self) -> str:
        return self.video.name

    @property
    def source(self) -> str:
        return self.video.source

    @property
    def result(self) -> Path:
        return Path(self.name)

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Write what `selfmocap capture` writes, except its record of stages."""
        with download(self.source, path.parent, lambda done: progress("download", done, 0)) as video:
            people = capture(video, path, self.config, progress, self.device)
        shutil.rmtree(path / ".capture")
        if self.config.overlay != "none":
            write_thumbnail(path / "overlay.mp4", out, self.name)
        report = read_report(path / "report.json")
        frames, fps = report["video"]["frames"], report["video"]["fps"]
        return {
            "people": len(people),
            "frames": frames,
            "duration": round(frames / fps, 3),
            "scores": scores(report),
            "stages": {stage["name"]: stage["seconds"] for stage in report["stages"]},
            "warnings": report["warnings"],
        }


@dataclass(frozen=True)
class ShardJob:
    """A shard of pseudo-labels of captured videos."""

    clips: Sequence[str]
    """Names of captures."""

    @property
    def name(self) -> str:
        return hashlib.sha256("\n".join(self.clips).encode()).hexdigest()[:16]

    @property
    def source(self) -> str:
        return f"pseudo-labels of {self.clips[0]} to {self.clips[-1]}"

    @property
    def result(self) -> Path:
        return Path(SHARDS) / f"{self.name}.tar"

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Write a tar file, see `datasets.pseudo_labels`."""
        samples = write_shard(path, [out / clip for clip in self.clips], progress)
        return {"samples": samples, "bytes": path.stat().st_size, "clips": list(self.clips)}


def run_job(job: Job, out: Path, progress: ProgressCallback) -> None:
    """Do a job in `out/.work` unless it is complete there. Resume what a killed process left; wait for a process that
    still works on it."""
    path, record = _work_paths(out, job.name)
    with _locked(path.with_name(f"{job.name}.lock")):
        if record.is_file():
            return
        began = time.perf_counter()
        details = job.make(path, out, progress)
        line = {
            "name": job.name,
            "state": "done",
            "source": job.source,
            "result": str(job.result),
            "seconds": round(time.perf_counter() - began, 3),
            "ended": round(time.time(), 3),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "selfmocap": __version__,
            **details,
        }
        write_json(record, line)


def commit(out: Path, manifest: Manifest, names: Collection[str], recorded: Collection[str] = ()) -> None:
    """Record complete results in the manifest, except those `recorded` there, and move them from `out/.work` to their
    final paths. If killed between any two steps, it can be repeated."""
    lines = {name: read_json(_work_paths(out, name)[1]) for name in names}
    if new := [line for name, line in lines.items() if name not in recorded]:
        manifest.add(*new)
    for name, line in lines.items():
        path, record = _work_paths(out, name)
        if path.exists():
            path.replace(out / line["result"])
        record.unlink()
        path.with_name(f"{name}.lock").unlink(missing_ok=True)


def recover(out: Path, manifest: Manifest) -> None:
    """Commit the results that a killed driver had not committed."""
    remove_temporaries(out / WORK)
    names = {path.name.removesuffix(".done") for path in (out / WORK).glob("*.done")}
    done = (line["name"] for line in manifest.lines() if line.get("state") == "done")
    commit(out, manifest, names, recorded=names.intersection(done))


def manifest_settings(config: CaptureConfig) -> dict[str, Any]:
    """Return the settings of a batch's captures as JSON data, for the manifest's header."""
    return json.loads(json.dumps(asdict(config), default=str))


def _work_paths(out: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a job's unfinished result and of its record."""
    return out / WORK / name, out / WORK / f"{name}.done"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        end = time.monotonic() + _LOCK_TIMEOUT
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BlockingIOError(
                        f"{path.stem} is locked by another process for {_LOCK_TIMEOUT:.0f} s; end it first"
                    ) from None
                time.sleep(_LOCK_POLL)
        yield
