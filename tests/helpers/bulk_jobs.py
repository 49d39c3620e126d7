"""Jobs that only wait, and a program that drives them, for tests that kill it and run it again.

python -m tests.helpers.bulk_jobs OUT JOBS SECONDS WORKERS
"""

import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from selfmocap.io.progress import ProgressCallback
from selfmocap.pipeline.distributed.cluster import cluster
from selfmocap.pipeline.distributed.jobs import WORK
from selfmocap.pipeline.distributed.manifest import Manifest
from selfmocap.pipeline.distributed.output import FolderOutput
from selfmocap.pipeline.distributed.schedule import Tally, WorkerPool, run_all


@dataclass(frozen=True)
class Pause:
    """A job that writes a result after some seconds, or fails."""

    name: str
    seconds: float = 0.0
    broken: bool = False

    @property
    def source(self) -> str:
        return f"/videos/{self.name}.mp4"

    @property
    def result(self) -> Path:
        return Path(self.name)

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        path.mkdir(exist_ok=True)
        (path / "worker.txt").write_text(str(os.getpid()))
        progress("pause", 0, 1)
        time.sleep(self.seconds)
        if self.broken:
            raise ValueError(f"{self.source}: a damaged video")
        (path / "result.txt").write_text(self.name)
        return {"frames": 1}


@dataclass(frozen=True)
class Meeting(Pause):
    """A job that waits until another one runs beside it or has run, on however slow a machine."""

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        path.mkdir(exist_ok=True)
        (path / "worker.txt").write_text(str(os.getpid()))
        end = time.monotonic() + 120.0
        while len([*out.glob("**/worker.txt")]) < 2:
            if time.monotonic() > end:
                raise ValueError("no other worker has begun")
            time.sleep(0.05)
        return super().make(path, out, progress)


@dataclass(frozen=True)
class Niceness(Pause):
    """A job that writes the niceness of its worker."""

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        path.mkdir(exist_ok=True)
        (path / "niceness.txt").write_text(str(os.nice(0)))
        return {"frames": 1}


def run(jobs: Iterable[Pause], pool: WorkerPool, out: Path) -> Tally:
    (out / WORK).mkdir(parents=True, exist_ok=True)
    with Manifest(out / "manifest.jsonl", {}) as manifest:
        output = FolderOutput(out)
        output.recover(manifest)
        return run_all(jobs, pool, output, manifest, lambda tally, working: None)


def results(out: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text() for path in out.glob("*/result.txt")}


def main() -> None:
    out, count, seconds, workers = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    with cluster(out, None, workers) as pool:
        run([Pause(f"job-{number}", seconds) for number in range(count)], pool, out)


if __name__ == "__main__":
    main()
