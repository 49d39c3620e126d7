"""The captures of a folder: a queue that survives a restart, since each capture is a JSON file in its own folder."""

import asyncio
import contextlib
import logging
import shutil
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from selfmocap.app import tasks
from selfmocap.app.names import safe_name, title_of, unused_id
from selfmocap.app.settings import capture_config
from selfmocap.app.stages import REFERENCE_SECONDS, TRACKING, StageProgress, seconds_left, stage_seconds
from selfmocap.app.strings import text
from selfmocap.app.tasks import TaskError, end_worker, run_task, start_worker
from selfmocap.io.files import read_json_object, write_json
from selfmocap.pipeline.config import CaptureConfig

_log = logging.getLogger(__name__)
MAX_CAPTURES = 200
RECORD = "capture.json"
RESULT, EXPORTS, CHARACTERS = "result", "exports", "characters"
"""Folders in that of a capture."""

State = Literal["new", "queued", "running", "done", "failed", "cancelled"]


@dataclass
class QueuedCapture:
    """One capture of the queue."""

    id: str
    title: str
    """Name of the video, as its user calls it."""
    video: str
    """Path of the video in the folder of the app."""
    created: float
    """Unix time, s."""
    size: tuple[int, int] = (0, 0)
    """Width and height of the video, px."""
    seconds: float | None = None
    """Length of the video, s; None if its file does not have it."""
    settings: dict[str, Any] = field(default_factory=dict)
    state: State = "new"
    error: str = ""
    elapsed: float = 0.0
    """Duration of the last run, s."""
    frames: int = 0
    """Frames of the video that are read; 0 before a run."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """Seconds of each stage, if the first run finished; the later ones repeat some stages only."""
    stages: dict[str, StageProgress] = field(default_factory=dict)
    """Of the current run; not recorded."""
    began: float = 0.0
    """Time at which the current run began, s of the monotonic clock; not recorded."""


class CaptureQueue:
    """The captures of a folder, of which a number runs at a time."""

    def __init__(self, folder: Path, parallel: int) -> None:
        """Read the captures. One that was running when the app ended runs again, and resumes."""
        self.folder, self.parallel = folder, parallel
        self.home = folder / "captures"
        self.home.mkdir(exist_ok=True)
        self.jobs: dict[str, QueuedCapture] = {}
        self.running: dict[str, asyncio.Task[None]] = {}
        self.spare: asyncio.Task[Process] | None = None
        """A process that loads what a capture needs while its settings are chosen."""
        self.watchers: set[asyncio.Event] = set()
        for path in sorted(self.home.iterdir()):
            if (path / RECORD).is_file():
                job = _read_job(path)
                if job is None:
                    _log.warning(
                        "%s: expected the record of a capture, found other content; left aside", path / RECORD
                    )
                else:
                    self.jobs[job.id] = job
            elif (path / "input").is_dir() and not path.is_symlink():
                shutil.rmtree(path)  # An upload that did not end.
        self.jobs = dict(sorted(self.jobs.items(), key=lambda item: item[1].created))

    def place(self, job_id: str, *parts: str) -> Path:
        """Return a path in the folder of a capture."""
        return self.home.joinpath(job_id, *parts)

    def create_id(self, name: str) -> str:
        """Make the folder of another capture; return its id. Raises ValueError if there are too many."""
        if sum(1 for _ in self.home.iterdir()) >= MAX_CAPTURES:
            raise ValueError(text("too_many", limit=MAX_CAPTURES))
        job_id = unused_id(name)
        (self.home / job_id / "input").mkdir(parents=True)
        return job_id

    def upload_path(self, job_id: str, name: str) -> Path:
        """Return the path of the video of a new capture."""
        return self.place(job_id, "input", safe_name(name))

    async def add(self, job_id: str, name: str, video: Path) -> QueuedCapture:
        """Add a video to the captures. Raises TaskError, and deletes the folder, if it is no video."""
        self.spare = self.spare or asyncio.create_task(start_worker(*tasks.CAPTURE_MODULES))
        try:
            found = await run_task("inspect", video=str(video), picture=str(self.place(job_id, "first.jpg")))
            relative = str(video.relative_to(self.folder))
            size = (found["width"], found["height"])
            job = QueuedCapture(job_id, title_of(name), relative, time.time(), size, found["seconds"])
            self._record(job)
        except BaseException:
            self.discard(job_id)
            await self._end_spare()
            raise
        self.jobs[job_id] = job
        self.announce()
        return job

    def discard(self, job_id: str) -> None:
        """Delete the folder of a capture."""
        shutil.rmtree(self.home / job_id, ignore_errors=True)

    def start(self, job: QueuedCapture, settings: dict[str, Any]) -> None:
        """Put a capture into the queue. Raises ValueError for settings that the command line refuses, and for a capture
        that is in the queue."""
        if job.state in ("queued", "running"):
            raise ValueError(text("in_queue", title=job.title))
        capture_config(settings)
        for folder in (EXPORTS, CHARACTERS):  # They are of the former motion.
            shutil.rmtree(self.place(job.id, folder), ignore_errors=True)
        job.settings, job.state, job.error = settings, "queued", ""
        self._record(job)
        self.fill()

    async def cancel(self, job: QueuedCapture) -> None:
        """Take a capture out of the queue, and end it if it runs. What it has computed stays."""
        if job.state not in ("queued", "running"):
            return
        job.state = "cancelled"
        await self._end(job.id)
        self._record(job)
        self.fill()

    async def remove(self, job: QueuedCapture) -> None:
        """Cancel a capture and delete its folder."""
        await self.cancel(job)
        self.jobs.pop(job.id, None)
        await self._end_spare()
        await asyncio.to_thread(self.discard, job.id)
        self.announce()

    def fill(self) -> None:
        """Start as many captures as may run."""
        waiting = [job for job in self.jobs.values() if job.state == "queued" and job.id not in self.running]
        for job in waiting[: max(self.parallel - len(self.running), 0)]:
            self.running[job.id] = asyncio.create_task(self._run(job))
        self.announce()

    async def close(self) -> None:
        """End the running captures; they run again at the next start."""
        for job_id in list(self.running):
            await self._end(job_id)
        self.jobs.clear()
        await self._end_spare()

    async def _take_spare(self) -> Process | None:
        """Return the spare process, unless it has died."""
        spare, self.spare = self.spare, None
        process = await spare if spare else None
        return process if process and process.returncode is None else None

    async def _end_spare(self) -> None:
        """End the spare process if no capture waits for its settings."""
        if not any(job.state == "new" for job in self.jobs.values()) and (
            process := await self._take_spare()
        ):
            await end_worker(process)

    async def _end(self, job_id: str) -> None:
        task = self.running.get(job_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
            self.running.pop(job_id, None)  # A task that never began.

    async def _run(self, job: QueuedCapture) -> None:
        job.state, job.stages, job.began = "running", {}, time.monotonic()
        self._record(job)
        self.announce()

        def progress(stage: str, done: int, total: int) -> None:
            known = job.stages.get(stage)
            began = known.began if known else time.monotonic() - job.began
            job.stages[stage] = StageProgress(stage, done, total, began)
            if stage == TRACKING:
                job.frames = max(done, total)
            self.announce()

        video, out = str(self.folder / job.video), self.place(job.id, RESULT)
        is_first = not out.exists()
        try:
            worker = await self._take_spare()
            await run_task("capture", progress, worker, video=video, out=str(out), settings=job.settings)
            job.state = "done"
            if is_first:
                job.stage_seconds = stage_seconds([*job.stages.values()], time.monotonic() - job.began)
        except (TaskError, OSError) as error:
            job.state, job.error = "failed", str(error)
        finally:
            self.running.pop(job.id, None)
            job.elapsed = round(time.monotonic() - job.began, 2)
        self._record(job)
        self.fill()

    def _record(self, job: QueuedCapture) -> None:
        record = {name: value for name, value in asdict(job).items() if name not in ("stages", "began")}
        write_json(self.place(job.id, RECORD), record, indent=1)

    # ---- watching ---------------------------------------------------------------------------------------------

    def announce(self) -> None:
        """Wake up all watchers."""
        for event in self.watchers:
            event.set()

    async def changes(self, interval: float, idle: float) -> AsyncIterator[bool]:
        """Yield True after changes, at most every `interval` seconds, and False after `idle` seconds without any."""
        event = asyncio.Event()
        event.set()
        self.watchers.add(event)
        try:
            while True:
                yield event.is_set()
                event.clear()
                await asyncio.sleep(interval)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(event.wait(), idle)
        finally:
            self.watchers.discard(event)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Give what the page shows of each capture, the latest first."""
        for job in reversed(self.jobs.values()):
            stages = [asdict(stage) for stage in job.stages.values()]
            left = self._seconds_left(job) if job.state == "running" else None
            yield asdict(job) | {"stages": stages, "seconds_left": left}

    def _seconds_left(self, job: QueuedCapture) -> float | None:
        """Return the seconds left for all stages of a running capture, by the latest finished one of its quality."""
        quality = job.settings.get("quality", CaptureConfig.quality)
        a_frame = REFERENCE_SECONDS[quality]
        for one in self.jobs.values():
            if (
                one.stage_seconds
                and one.frames
                and one.settings.get("quality", CaptureConfig.quality) == quality
            ):
                a_frame = {name: seconds / one.frames for name, seconds in one.stage_seconds.items()}
        expected = {name: seconds * job.frames for name, seconds in a_frame.items()}
        return seconds_left([*job.stages.values()], time.monotonic() - job.began, expected)


def result_files(place: Path) -> dict[str, Path]:
    """Return the files of a capture that may be read, by their names: results, exports and characters; no hidden file,
    and no link."""
    found = {}
    for part in (RESULT, EXPORTS, CHARACTERS):
        for path in sorted((place / part).rglob("*")):
            name = path.relative_to(place)
            if (
                path.is_file()
                and not path.is_symlink()
                and not any(word.startswith(".") for word in name.parts)
            ):
                found[name.as_posix()] = path
    return found


def _read_job(folder: Path) -> QueuedCapture | None:
    """Read the record of a capture; None without one, or with a damaged one. A running one is queued again."""
    record = read_json_object(folder / RECORD)
    try:
        job = QueuedCapture(**record)
        capture_config(job.settings)
    except (TypeError, ValueError):
        return None
    if job.id != folder.name or Path(job.video).is_absolute() or ".." in Path(job.video).parts:
        return None
    job.state = "queued" if job.state == "running" else job.state
    return job
