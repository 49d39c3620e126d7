"""What a worker does: a job's result is made in a work folder and is complete when its record lies beside it."""

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
from selfmocap.io.atomic import atomic_write, remove_temporaries
from selfmocap.io.progress import ProgressCallback
from selfmocap.pipeline.capture import capture
from selfmocap.pipeline.config import CaptureConfig
from selfmocap.pipeline.distributed.manifest import Manifest
from selfmocap.pipeline.distributed.sources import Clip, brought

WORK, SHARDS = ".work", "pseudo-labels"
_PATIENCE = 60.0
"""Seconds that the process of a killed run is given to end."""


@runtime_checkable
class Job(Protocol):
    """Something that a worker does and that is done once."""

    @property
    def name(self) -> str:
        """No other job has it."""
        ...

    @property
    def source(self) -> str:
        """What to call it in an error."""
        ...

    @property
    def result(self) -> Path:
        """Where the result lies in the end, in the output folder."""
        ...

    def make(self, place: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Makes the result at `place`, going on with what lies there; what is to be said of it (JSON data)."""
        ...


@dataclass(frozen=True)
class Capture:
    """The capture of one clip."""

    clip: Clip
    config: CaptureConfig
    device: str = "cpu"

    @property
    def name(self) -> str:
        return self.clip.name

    @property
    def source(self) -> str:
        return self.clip.source

    @property
    def result(self) -> Path:
        return Path(self.name)

    def make(self, place: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """What `selfmocap capture` writes, but for what it keeps to go on from."""
        with brought(self.source, place.parent, lambda done: progress("bring", done, 0)) as video:
            people = capture(video, place, self.config, progress, self.device)
        shutil.rmtree(place / ".capture")
        told = json.loads((place / "report.json").read_bytes())
        return {
            "people": len(people),
            "frames": told["video"]["frames"],
            "stages": {stage["name"]: stage["seconds"] for stage in told["stages"]},
            "warnings": told["warnings"],
        }


@dataclass(frozen=True)
class Shard:
    """A shard of pseudo-labels of captured clips."""

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

    def make(self, place: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """A tar file: see `pseudo_labels`."""
        samples = write_shard(place, [out / clip for clip in self.clips], progress)
        return {"samples": samples, "bytes": place.stat().st_size, "clips": list(self.clips)}


def carry_out(job: Job, out: Path, progress: ProgressCallback) -> None:
    """Does a job in `out/.work`, unless it is done there already. What a killed process left is gone on with; one that
    still lives is waited for."""
    place, record = _places(out, job.name)
    with _alone(place.with_name(f"{job.name}.lock")):
        if record.is_file():
            return
        began = time.perf_counter()
        said = job.make(place, out, progress)
        line = {
            "name": job.name,
            "state": "done",
            "source": job.source,
            "result": str(job.result),
            "seconds": round(time.perf_counter() - began, 3),
            "ended": round(time.time(), 3),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "selfmocap": __version__,
            **said,
        }
        with atomic_write(record) as partial:
            partial.write_text(json.dumps(line))


def settle(out: Path, manifest: Manifest, names: Collection[str], known: Collection[str] = ()) -> None:
    """Enters results that are complete in the manifest, but for those that are `known` to it, and moves them from
    `out/.work` to their places. Killed between any two steps, it can be done again."""
    lines = {name: json.loads(_places(out, name)[1].read_bytes()) for name in names}
    if fresh := [line for name, line in lines.items() if name not in known]:
        manifest.add(*fresh)
    for name, line in lines.items():
        place, record = _places(out, name)
        if place.exists():
            place.replace(out / line["result"])
        record.unlink()
        place.with_name(f"{name}.lock").unlink(missing_ok=True)


def recover(out: Path, manifest: Manifest) -> None:
    """Settles what a killed driver had not settled."""
    remove_temporaries(out / WORK)
    names = {path.name.removesuffix(".done") for path in (out / WORK).glob("*.done")}
    done = (line["name"] for line in manifest.lines() if line.get("state") == "done")
    settle(out, manifest, names, known=names.intersection(done))


def settings_of(config: CaptureConfig) -> dict[str, Any]:
    """What a manifest says of the captures that it is about."""
    return json.loads(json.dumps(asdict(config), default=str))


def _places(out: Path, name: str) -> tuple[Path, Path]:
    return out / WORK / name, out / WORK / f"{name}.done"


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("wb") as file:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise BlockingIOError(f"{path.stem} is in the hands of another process") from None
                time.sleep(0.2)
        yield
