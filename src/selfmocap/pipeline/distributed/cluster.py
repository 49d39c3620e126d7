"""Workers that Ray starts on this machine or on a cluster, one per device."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfmocap._version import __version__
from selfmocap.pipeline.distributed.jobs import Job, run_job
from selfmocap.pipeline.distributed.schedule import JobProgress, Outcome

_RAY_MISSING = (
    "capture-many needs Ray, which is not installed; run: pip install 'selfmocap[bulk]' "
    "(or capture one video after the other with `selfmocap capture`)"
)
_OBJECT_STORE_BYTES = 128 << 20
"""Size of Ray's object store on this machine, which is hardly used."""
_WORKER_TIMEOUT = 1800.0
"""Seconds without progress after which a worker is killed."""
_REPORT_SECONDS = 1.0
"""Interval of a worker's progress reports."""
_MAX_ERROR_CHARACTERS = 500


class _ProgressBoard:
    """An actor that collects the progress of all workers."""

    def __init__(self) -> None:
        self.reports: JobProgress = {}

    def post(self, name: str, stage: str, done: int, total: int) -> None:
        self.reports[name] = (stage, done, total)

    def collect(self) -> JobProgress:
        """Return the reports since the last call."""
        reports, self.reports = self.reports, {}
        return reports


class _Worker:
    """An actor: one process on one device, which loads the program and its models once."""

    def version(self) -> str:
        return __version__

    def run(self, job: Job, out: Path, board: Any) -> None:
        last = 0.0

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _REPORT_SECONDS:
                last = time.monotonic()
                board.post.remote(job.name, stage, done, total)

        run_job(job, out, progress)


class RayPool:
    """A `schedule.WorkerPool` of Ray actors. Ray restarts a worker that dies, on any machine with room."""

    def __init__(self, ray: Any, workers: list[Any], out: Path, on_gpus: bool = False) -> None:
        self.ray, self.out, self.on_gpus = ray, out, on_gpus
        self.board = ray.remote(_ProgressBoard).options(num_cpus=0).remote()
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {worker.version.remote(): worker for worker in workers}
        self.busy: dict[Any, tuple[Any, Job]] = {}
        self.progress: JobProgress = {}
        self.last_report: dict[str, float] = {}

    def num_free(self) -> int:
        return len(self.idle)

    def start(self, job: Job) -> None:
        worker = self.idle.pop()
        self.busy[worker.run.remote(job, self.out, self.board)] = worker, job
        self.progress[job.name] = ("start", 0, 0)
        self.last_report[job.name] = time.monotonic()

    def wait(self, seconds: float) -> list[Outcome]:
        waiting = [*self.starting, *self.busy]
        ended, others = self.ray.wait(waiting, num_returns=1, timeout=seconds)
        if others:
            ended += self.ray.wait(others, num_returns=len(others), timeout=0)[0]
        for ref in ended:
            if ref in self.starting:
                self._add_started(ref)
        return [self._outcome(ref) for ref in ended if ref in self.busy]

    def job_progress(self) -> JobProgress:
        reports = self.ray.get(self.board.collect.remote())
        for name in reports.keys() & self.progress.keys():
            self.progress[name] = reports[name]
            self.last_report[name] = time.monotonic()
        for worker, job in self.busy.values():
            if time.monotonic() - self.last_report[job.name] > _WORKER_TIMEOUT:
                self.last_report[job.name] = time.monotonic()
                self.ray.kill(worker, no_restart=False)
        return self.progress

    def _add_started(self, ref: Any) -> None:
        worker = self.starting.pop(ref)
        try:
            version = self.ray.get(ref)
        except self.ray.exceptions.ActorUnavailableError:  # It died again; Ray restarts it.
            self.starting[worker.version.remote()] = worker
            return
        except self.ray.exceptions.RayError as error:
            raise OSError(f"a worker cannot start: {_one_line(error)}") from error
        if version != __version__:
            raise OSError(
                f"a worker has selfmocap {version}, this machine {__version__}; install the same version"
            )
        self.idle.append(worker)

    def _outcome(self, ref: Any) -> Outcome:
        worker, job = self.busy.pop(ref)
        del self.progress[job.name], self.last_report[job.name]
        failure = None
        try:
            self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            failure = f"{type(error.cause).__name__}: {_one_line(error.cause)}"
        except self.ray.exceptions.RayActorError as error:
            self.starting[worker.version.remote()] = worker
            minutes = _WORKER_TIMEOUT / 60
            return Outcome(job, f"worker crashed or timed out after {minutes:.0f} min: {_one_line(error)}")
        self.idle.append(worker)
        return Outcome(job, failure)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:_MAX_ERROR_CHARACTERS]


@contextlib.contextmanager
def cluster(out: Path, address: str | None, workers: int | None) -> Iterator[RayPool]:
    """Start workers on the cluster at `address` (`auto` or `ray://host:port`), or on this machine.

    Their number is `workers`, else one per GPU, else one per core. The first jobs begin while others still start.

    Raises ImportError where Ray is not installed, OSError where no cluster is reached or a worker cannot start."""
    ray = _import_ray()
    try:
        if address is None:
            ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES,
                     logging_level="ERROR", log_to_driver=False)  # fmt: skip
        else:
            ray.init(address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise OSError(f"no Ray cluster at {address or 'this machine'}: {_one_line(error)}") from error
    try:
        yield _start_pool(ray, out, workers)
    finally:
        ray.shutdown()


def _import_ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports] (an optional extra)
    except ImportError as error:
        raise ImportError(_RAY_MISSING) from error
    return ray


def _start_pool(ray: Any, out: Path, workers: int | None) -> RayPool:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    actor = ray.remote(_Worker).options(
        num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=0,
        scheduling_strategy="SPREAD",
    )  # fmt: skip
    count = workers or gpus or int(resources["CPU"])
    return RayPool(ray, [actor.remote() for _ in range(count)], out, gpus > 0)
