"""Long films: the jobs of their parts, and the one that joins the parts.

A film is split by the first job on it, which knows its cuts (see `jobs.CaptureJob`). Its parts are then jobs like any
other, whose results are in `.parts/FILM`. When the last of them has ended, a `FilmJob` makes the film's result: as one
capture whose observations are already there. Parts that failed are named by a warning in it."""

import contextlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfmocap.io.files import InputError
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stage_cache import claim_scratch_folder
from selfmocap.pipeline.capture import observe_settings
from selfmocap.pipeline.config import CaptureConfig
from selfmocap.pipeline.distributed.bucket import Bucket
from selfmocap.pipeline.distributed.jobs import CaptureJob, Job, fetched
from selfmocap.pipeline.distributed.manifest import DONE, PARTS_FOLDER, SPLIT, Manifest
from selfmocap.pipeline.distributed.output import BatchOutput
from selfmocap.pipeline.distributed.schedule import MAX_ATTEMPTS
from selfmocap.pipeline.distributed.sources import DOWNLOAD_PREFIX, VideoSource
from selfmocap.tracking.film import FilmPart, join_parts
from selfmocap.tracking.observe import observe_part

_MADE_FROM = ".film.json"
"""File of an unfinished result: a killed run with other parts missing is not resumed."""
_DIGEST_LETTERS = 17
"""Letters at the end of a video's name that make it unique."""


@dataclass(frozen=True)
class PartJob:
    """The observations of a part of a film."""

    video: VideoSource
    config: CaptureConfig
    part: FilmPart
    number: int
    """From 1."""

    @property
    def name(self) -> str:
        film = self.video.name
        return f"{film[:-_DIGEST_LETTERS]}-part-{self.number}{film[-_DIGEST_LETTERS:]}"

    @property
    def seconds(self) -> str:
        """The part in words."""
        return f"{self.part.start:.2f} s to {self.part.end:.2f} s"

    @property
    def source(self) -> str:
        return f"{self.video.source}, {self.seconds}"

    @property
    def result(self) -> Path:
        return Path(PARTS_FOLDER) / self.video.name / str(self.number)

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Write what `film.join_parts` reads."""
        settings = self.part.settings(observe_settings(self.config))
        with fetched(self.video, path, progress) as video:
            observe_part(video, path, settings, self.part.shot_starts, progress)
        return {}


@dataclass(frozen=True)
class FilmJob(CaptureJob):
    """The capture of a film whose parts are observed."""

    parts: Sequence[PartJob] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    """Errors of the parts that failed, by name."""
    bucket: Bucket | None = None
    """Where the parts are, if not in the output folder."""

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        """Write what `selfmocap capture` writes and is kept, with a warning for each part that is missing."""
        missing = [
            f"{p.seconds} is missing: {self.failed[p.name]}" for p in self.parts if p.name in self.failed
        ]
        done = [part for part in self.parts if part.name not in self.failed]
        if not done:
            raise InputError(f"{self.source}: every part failed; {missing[0]}")
        settings, parts = observe_settings(self.config), [part.part for part in self.parts]
        claim_scratch_folder(path / _MADE_FROM, {"missing": missing})
        with fetched(self.video, path, progress) as video, self._folders(done, path.parent, out) as folders:
            join_parts(video, path, settings, parts, folders, missing)
            details = self.capture(video, path, out, progress)
        (path / _MADE_FROM).unlink(missing_ok=True)
        return details | {"parts": len(parts), "missing": missing}

    @contextlib.contextmanager
    def _folders(self, parts: Sequence[PartJob], work: Path, out: Path) -> Iterator[list[Path]]:
        """Give the folder of each part; copies of those in a bucket for as long as the context lasts."""
        if self.bucket is None:
            yield [out / part.result for part in parts]
            return
        with tempfile.TemporaryDirectory(prefix=DOWNLOAD_PREFIX, dir=work) as folder:
            for name in (name for part in parts for name in self.bucket.find(part.result.as_posix())):
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                self.bucket.download(name, Path(folder) / name)
            yield [Path(folder) / part.result for part in parts]


class Films:
    """The jobs of videos, and those that follow them because a video is a film."""

    def __init__(
        self,
        config: CaptureConfig,
        device: str,
        kept: frozenset[str],
        output: BatchOutput,
        manifest: Manifest,
        retry: bool,
    ) -> None:
        """Read which films the manifest has. With `retry`, those with missing parts are to be joined again."""
        self.config, self.device, self.kept = config, device, kept
        self.output, self.manifest = output, manifest
        self.splits: dict[str, dict[str, Any]] = {}
        """Lines of the manifest that split the films that are not complete, by name."""
        self.parts: dict[str, list[PartJob]] = {}
        """Parts of the films that this run has begun, by name."""
        self.waiting: dict[str, set[str]] = {}
        """Names of those parts that have not ended."""
        self.failed = set[str]()
        """Names of the parts that are missing in films of an earlier run."""
        for line in manifest.lines():
            if line.get("state") == SPLIT:
                self.splits[line["name"]] = line
            elif line.get("state") == DONE and not line.get("missing"):
                self.splits.pop(line["name"], None)
        for film in self.splits if retry else ():
            output.forget(film)
        for film in output.names(PARTS_FOLDER):
            if output.contains(film) and film not in self.splits:
                output.delete(f"{PARTS_FOLDER}/{film}")

    def jobs(self, videos: Iterable[VideoSource]) -> Iterator[Job]:
        """Yield the jobs of the videos that can be done at once."""
        for video in videos:
            if video.name in self.waiting:
                continue  # It is in two sources.
            split = self.splits.get(video.name)
            if split is not None and self.output.contains(video.name):
                self.failed |= self._given_up(self._parts(video, split)).keys()
            if split is None or self.output.contains(video.name):
                yield CaptureJob(video, self.config, self.device, self.kept)
            else:
                yield from self._begin(video, split)

    def following(self, job: Job, line: dict[str, Any] | None) -> Sequence[Job]:
        """Return the jobs that can be done when one has ended; `line` is the manifest's, None if the job failed."""
        if isinstance(job, PartJob):
            self.waiting[job.video.name].discard(job.name)
            return [] if self.waiting[job.video.name] else [self._film(job.video)]
        if isinstance(job, CaptureJob) and line is not None and line["state"] == SPLIT:
            return self._begin(job.video, line)
        if isinstance(job, FilmJob) and line is not None and not job.failed:
            self.output.delete(f"{PARTS_FOLDER}/{job.name}")
        return []

    def _begin(self, video: VideoSource, split: dict[str, Any]) -> list[Job]:
        """Return the jobs of the parts, and that of the film if all parts have ended."""
        parts = self.parts[video.name] = self._parts(video, split)
        given_up = self._given_up(parts)
        self.waiting[video.name] = {
            part.name for part in parts if not self.output.contains(part.result) and part.name not in given_up
        }
        return [*parts] if self.waiting[video.name] else [*parts, self._film(video)]

    def _parts(self, video: VideoSource, split: dict[str, Any]) -> list[PartJob]:
        parts = (FilmPart(one["start"], one["end"], tuple(one["shot_starts"])) for one in split["parts"])
        return [PartJob(video, self.config, part, number) for number, part in enumerate(parts, start=1)]

    def _film(self, video: VideoSource) -> FilmJob:
        parts = self.parts[video.name]
        bucket = self.output.for_workers if isinstance(self.output.for_workers, Bucket) else None
        return FilmJob(video, self.config, self.device, self.kept, parts, self._given_up(parts), bucket)

    def _given_up(self, parts: Sequence[PartJob]) -> dict[str, str]:
        """Return the errors of the parts that failed for the last time, by name."""
        failures = self.manifest.failures
        return {
            part.name: failures[part.name].error
            for part in parts
            if part.name in failures and failures[part.name].attempts >= MAX_ATTEMPTS
        }
