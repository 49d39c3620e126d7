"""The jobs of a worker. A result is made in a work folder, and is complete when its record lies beside it."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from selfmocap._version import __version__
from selfmocap.datasets.pseudo_labels import write_shard
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.video import open_video
from selfmocap.pipeline.capture import capture, observe_settings
from selfmocap.pipeline.config import RESULT_KINDS, CaptureConfig
from selfmocap.pipeline.distributed.bucket import Bucket, OutputError
from selfmocap.pipeline.distributed.index import INDEX, scores, write_thumbnail
from selfmocap.pipeline.distributed.manifest import DONE, SPLIT
from selfmocap.pipeline.distributed.scratch import locked, scratch_folder
from selfmocap.pipeline.distributed.sources import VideoSource, download
from selfmocap.pipeline.summary import read_report
from selfmocap.tracking.film import split_film

WORK, SHARDS = ".work", "pseudo-labels"
_MIN_FREE_BYTES = 1 << 20
"""Less free space is the reason of a failure, whatever the error says."""
_RECORD = "record"
"""The kind of files that are always kept."""
_KIND_OF_FILE = {
    "motion.npz": "motion",
    "observations.npz": "observations",
    "overlay.mp4": "overlay",
    "observations.mp4": "observed",
    "report.html": "report",
    "report.json": _RECORD,
    "observations.json": _RECORD,
}
"""Kind of a file of a result by its name; all others are `exports`."""


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
    kept: Collection[str] = RESULT_KINDS

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
        """Write what `selfmocap capture` writes and is kept, except its record of stages. Of a film with hard cuts
        only give its `parts`, for `films.PartJob`."""
        with fetched(self.video, path, progress) as video:
            parts = split_film(video, path, observe_settings(self.config), progress)
            if len(parts) > 1:
                shutil.rmtree(path)
                return {"state": SPLIT, "parts": [asdict(part) for part in parts]}
            return self.capture(video, path, out, progress)

    def capture(self, video: Path, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Capture the local file of the video, and delete what is not kept."""
        unlinked = {name for name, kind in _KIND_OF_FILE.items() if kind not in {*self.kept, _RECORD}}
        people = capture(video, path, self.config, progress, self.device, overwrite=True, unlinked=unlinked)
        overlay = path / "overlay.mp4"
        shown = open_video(overlay) if overlay.is_file() else open_video(video, self.config.input)
        write_thumbnail(shown, out, self.name)
        shutil.rmtree(path / ".capture")
        for file in path.rglob("*"):
            if file.is_file() and _KIND_OF_FILE.get(file.name, "exports") not in {*self.kept, _RECORD}:
                file.unlink()
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


def fetched(
    video: VideoSource, path: Path, progress: ProgressCallback
) -> contextlib.AbstractContextManager[Path]:
    """Give the local file of a video; see `sources.download`."""
    return download(video.source, path.parent, lambda done: progress("download", done, 0))


@dataclass(frozen=True)
class ShardJob:
    """A shard of pseudo-labels of captured videos."""

    clips: Sequence[str]
    """Names of captures."""
    bucket: Bucket | None = None
    """Where the captures are, if not in the output folder."""

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

        def report(stage: str, done: int, total: int) -> None:
            progress(stage, done, len(self.clips))

        samples = write_shard(path, self._captures(out), report)
        return {"samples": samples, "bytes": path.stat().st_size, "clips": list(self.clips)}

    def _captures(self, out: Path) -> Iterator[Path]:
        """Give the folder of each capture; a copy of one in a bucket exists until the next is asked for."""
        if self.bucket is None:
            yield from (out / clip for clip in self.clips)
            return
        for clip in self.clips:
            with tempfile.TemporaryDirectory(dir=out) as folder:
                for name in self.bucket.find(clip):
                    if Path(name).name in ("motion.npz", "observations.npz"):
                        (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                        self.bucket.download(name, Path(folder) / name)
                yield Path(folder) / clip


def run_job(job: Job, out: Path | Bucket, progress: ProgressCallback) -> None:
    """Do a job unless it is complete. Resume what a killed process left; wait for a process that still works on it.

    In a folder the result is made in `out/.work`, where `FolderOutput` takes it from. For a bucket it is made in a
    folder of this machine and uploaded, its record last. Raises OutputError where nothing can be written."""
    if isinstance(out, Path):
        _run_in_folder(job, out, progress)
        return
    with scratch_folder(out, job.name) as folder:
        (folder / WORK).mkdir(exist_ok=True)
        _run_in_folder(job, folder, progress)
        path, record = work_paths(folder, job.name)
        upload = functools.partial(progress, "upload")
        if path.is_dir():
            out.upload_folder(path, job.result.as_posix(), "report.json", upload)
        elif path.is_file():
            out.upload(path, job.result.as_posix())
        if (folder / INDEX).is_dir():
            out.upload_folder(folder / INDEX, INDEX, "", upload)
        out.upload(record, f"{WORK}/{record.name}")


def _run_in_folder(job: Job, out: Path, progress: ProgressCallback) -> None:
    path, record = work_paths(out, job.name)
    with locked(path.with_name(f"{job.name}.lock")):
        if record.is_file():
            return
        began = time.perf_counter()
        with _named_full_disk(out):
            details = job.make(path, out, progress)
        line = {
            "name": job.name,
            "state": DONE,
            "source": job.source,
            "result": str(job.result),
            "seconds": round(time.perf_counter() - began, 3),
            "ended": round(time.time(), 3),
            "worker": f"{socket.gethostname()}:{os.getpid()}",
            "selfmocap": __version__,
            **details,
        }
        write_json(record, line)


@contextlib.contextmanager
def _named_full_disk(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        is_full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        if is_full or shutil.disk_usage(folder).free < _MIN_FREE_BYTES:
            raise OutputError(
                f"no space is left in {folder} on {socket.gethostname()}: free some, or choose another "
                "folder; then run the command again to resume"
            ) from error
        raise


def manifest_settings(config: CaptureConfig, kept: Collection[str]) -> dict[str, Any]:
    """Return the settings of a batch's captures as JSON data, for the manifest's header."""
    return json.loads(json.dumps({**asdict(config), "keep": sorted(kept)}, default=str))


def work_paths(out: Path, name: str) -> tuple[Path, Path]:
    """Return the paths of a job's unfinished result and of its record."""
    return out / WORK / name, out / WORK / f"{name}.done"
