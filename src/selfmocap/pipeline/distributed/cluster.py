"""Workers that Ray starts on this machine or on a cluster, one per device.

No machine but the driver's matters: all that is not a clip's own work lives in the driver's process. The driver asks
workers for their progress and never waits for the answer.
"""

import contextlib
import functools
import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selfmocap._version import __version__
from selfmocap.pipeline.distributed.bucket import Bucket, OutputError
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
_MAX_FAILED_STARTS = 5
_STATUS = "status"
"""The thread of a worker that answers while another works (a concurrency group of Ray)."""
_TOKEN_REMEDY = (
    "copy the head's token (`ray get-auth-token` there) to ~/.ray/auth_token here and set RAY_AUTH_MODE=token"
)
_MAX_ERROR_CHARACTERS = 500

_log = logging.getLogger(__name__)


class _Worker:
    """An actor: one process on one device, which loads the program and its models once."""

    def __init__(self) -> None:
        self.reports, self.latest = 0, ("start", 0, 0)

    def identity(self) -> tuple[str, str]:
        """Return the program's version and the machine's name."""
        return __version__, socket.gethostname()

    def run(self, job: Job, out: Path | Bucket) -> None:
        self.reports, self.latest = 0, ("start", 0, 0)

        def progress(stage: str, done: int, total: int) -> None:
            self.reports, self.latest = self.reports + 1, (stage, done, total)

        run_job(job, out, progress)

    def status(self) -> tuple[int, tuple[str, int, int]]:
        """Return the number of progress reports of the running job, and the latest."""
        return self.reports, self.latest


class RayPool:
    """A `schedule.WorkerPool` of Ray actors. Ray restarts a worker that dies, on any machine with room."""

    def __init__(
        self, ray: Any, make_worker: Callable[[], Any], count: int, out: Path | Bucket, on_gpus: bool = False
    ) -> None:
        self.ray, self.make_worker, self.out, self.on_gpus = ray, make_worker, out, on_gpus
        self.hosts: dict[Any, str] = {}
        """Machine of each worker that has started."""
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {}
        self.failed_starts = 0
        """Workers that could not start, since the last that could."""
        self.busy: dict[Any, tuple[Any, Job]] = {}
        self.asked: dict[Any, str] = {}
        """Questions for the status of running jobs: the job's name."""
        self.progress: JobProgress = {}
        self.last_report: dict[str, tuple[int, float]] = {}
        """Number of reports of each running job, and when it changed."""
        for _ in range(count):
            self._await_start(make_worker())

    def num_free(self) -> int:
        return len(self.idle)

    def start(self, job: Job) -> None:
        worker = self.idle.pop()
        self.busy[worker.run.remote(job, self.out)] = worker, job
        self.progress[job.name] = ("start", 0, 0)
        self.last_report[job.name] = 0, time.monotonic()

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
        self._take_answers()
        unanswered = set(self.asked.values())
        for worker, job in self.busy.values():
            if job.name not in unanswered:
                ask = worker.status.options(concurrency_group=_STATUS)
                self.asked[ask.remote()] = job.name
            reports, since = self.last_report[job.name]
            if time.monotonic() - since > _WORKER_TIMEOUT:
                self.last_report[job.name] = reports, time.monotonic()
                self.ray.kill(worker, no_restart=False)
        return self.progress

    def _take_answers(self) -> None:
        """Take the answers that are there; one of a worker that is lost tells nothing, its job's end does."""
        answered = (
            self.ray.wait([*self.asked], num_returns=len(self.asked), timeout=0)[0] if self.asked else []
        )
        for ref in answered:
            name = self.asked.pop(ref)
            with contextlib.suppress(self.ray.exceptions.RayError):
                reports, latest = self.ray.get(ref)
                if name in self.progress and reports != self.last_report[name][0]:
                    self.progress[name], self.last_report[name] = latest, (reports, time.monotonic())

    def _await_start(self, worker: Any) -> None:
        self.starting[worker.identity.remote()] = worker

    def _add_started(self, ref: Any) -> None:
        worker = self.starting.pop(ref)
        try:
            version, host = self.ray.get(ref)
        except self.ray.exceptions.ActorUnavailableError:  # It died again; Ray restarts it.
            self._await_start(worker)
            return
        except self.ray.exceptions.RayActorError as error:  # Ray has given it up.
            self.failed_starts += 1
            if self.failed_starts > _MAX_FAILED_STARTS:
                raise OSError(f"a worker cannot start: {_one_line(error)}") from error
            self._await_start(self.make_worker())
            return
        except self.ray.exceptions.RayError as error:
            raise OSError(f"a worker cannot start: {_one_line(error)}") from error
        if version != __version__:
            raise OSError(
                f"{host} has selfmocap {version}, this machine {__version__}; install the same version"
            )
        self.hosts[worker], self.failed_starts = host, 0
        self.idle.append(worker)

    def _outcome(self, ref: Any) -> Outcome:
        worker, job = self.busy.pop(ref)
        del self.progress[job.name], self.last_report[job.name]
        failure = None
        try:
            self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, OutputError):
                raise OutputError(str(error.cause)) from error
            failure = f"{type(error.cause).__name__}: {_one_line(error.cause)}"
        except self.ray.exceptions.RayActorError as error:
            self._await_start(worker)
            _log.warning("a worker on %s was lost; it left %s unfinished", self.hosts[worker], job.source)
            return Outcome(
                job,
                f"the worker on {self.hosts[worker]} crashed, was lost with its machine, or made no progress for "
                f"{_WORKER_TIMEOUT / 60:.0f} min: {_one_line(error)}",
            )
        self.idle.append(worker)
        return Outcome(job, failure)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:_MAX_ERROR_CHARACTERS]


@contextlib.contextmanager
def cluster(out: Path | Bucket, address: str | None, workers: int | None) -> Iterator[RayPool]:
    """Start workers on the cluster at `address` (`auto` or `ray://host:port`), or on this machine.

    Their number is `workers`, else one per GPU, else one per core. The first jobs begin while others still start.

    Raises ImportError where Ray is not installed, OSError where no cluster is reached or a worker cannot start."""
    ray = _import_ray()
    with contextlib.ExitStack() as stack:
        try:
            if address is None:
                stack.enter_context(_environment_of_own_cluster())
                ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=_OBJECT_STORE_BYTES,
                         logging_level="ERROR", log_to_driver=False)  # fmt: skip
            else:
                ray.init(address, logging_level="ERROR", log_to_driver=False)
        except ray.exceptions.AuthenticationError as error:
            raise OSError(
                f"{address}: the Ray cluster refuses this machine's token; {_TOKEN_REMEDY}"
            ) from error
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"at {address}; if it asks for a token: {_TOKEN_REMEDY}" if address else "on this machine"
            raise OSError(f"no Ray cluster {where}: {_one_line(error)}") from error
        stack.callback(ray.shutdown)
        yield _start_pool(ray, out, workers)


@contextlib.contextmanager
def _environment_of_own_cluster() -> Iterator[None]:
    """Start workers at the priority of this process (Ray's default is niceness 15), with a token that nobody else has
    and that no file keeps (Ray writes its own into the home folder, and then other clusters ask for it)."""
    before = {name: os.environ.get(name) for name in (*_own_cluster_variables(), "RAY_AUTH_MODE")}
    for name, value in _own_cluster_variables().items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


@functools.cache
def _own_cluster_variables() -> dict[str, str]:
    """Return Ray's variables. The token is the same in the whole process, because Ray reads it once."""
    return {"RAY_worker_niceness": "0", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _import_ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports] (an optional extra)
    except ImportError as error:
        raise ImportError(_RAY_MISSING) from error
    return ray


def _start_pool(ray: Any, out: Path | Bucket, workers: int | None) -> RayPool:
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0))
    actor = ray.remote(concurrency_groups={_STATUS: 1})(_Worker).options(
        num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=0,
        scheduling_strategy="SPREAD",
    )  # fmt: skip
    count = workers or gpus or int(resources["CPU"])
    return RayPool(ray, actor.remote, count, out, gpus > 0)
