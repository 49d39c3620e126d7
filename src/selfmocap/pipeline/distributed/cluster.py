"""Workers that Ray starts, on this machine or on those of a cluster, one a device."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from selfmocap._version import __version__
from selfmocap.pipeline.distributed.jobs import Job, carry_out
from selfmocap.pipeline.distributed.schedule import Outcome, Working

_MISSING = (
    "capture-many gives the work to Ray, which is not installed; run: pip install 'selfmocap[bulk]' "
    "(or capture one video after the other with `selfmocap capture`)"
)
_OBJECTS = 128 << 20
"""Bytes for objects that workers share on this machine: hardly anything passes there."""
_SILENCE = 1800.0
"""Seconds without any progress after which a worker is given up."""
_TELL = 1.0
"""Seconds between two reports of a worker."""
_LONGEST_ERROR = 500


class _Board:
    """Where workers say how far they are."""

    def __init__(self) -> None:
        self.told: Working = {}

    def tell(self, name: str, stage: str, done: int, total: int) -> None:
        self.told[name] = (stage, done, total)

    def take(self) -> Working:
        told, self.told = self.told, {}
        return told


class _Worker:
    """One process, one device; the program and its models are loaded once."""

    def ready(self) -> str:
        return __version__

    def do(self, job: Job, out: Path, board: Any) -> None:
        last = 0.0

        def report(stage: str, done: int, total: int) -> None:
            nonlocal last
            if time.monotonic() - last > _TELL:
                last = time.monotonic()
                board.tell.remote(job.name, stage, done, total)

        carry_out(job, out, report)


class RayPool:
    """A `schedule.Pool` of Ray actors. A worker that dies is started again by Ray, wherever there is room."""

    def __init__(self, ray: Any, workers: list[Any], out: Path, on_gpus: bool = False) -> None:
        self.ray, self.out, self.on_gpus = ray, out, on_gpus
        self.board = ray.remote(_Board).options(num_cpus=0).remote()
        self.idle: list[Any] = []
        self.starting: dict[Any, Any] = {worker.ready.remote(): worker for worker in workers}
        self.busy: dict[Any, tuple[Any, Job]] = {}
        self.at: Working = {}
        self.heard: dict[str, float] = {}

    def free(self) -> int:
        return len(self.idle)

    def start(self, job: Job) -> None:
        worker = self.idle.pop()
        self.busy[worker.do.remote(job, self.out, self.board)] = worker, job
        self.at[job.name] = ("start", 0, 0)
        self.heard[job.name] = time.monotonic()

    def wait(self, seconds: float) -> list[Outcome]:
        asked = [*self.starting, *self.busy]
        ended, others = self.ray.wait(asked, num_returns=1, timeout=seconds)
        if others:
            ended += self.ray.wait(others, num_returns=len(others), timeout=0)[0]
        for ref in ended:
            if ref in self.starting:
                self._ready(ref)
        return [self._outcome(ref) for ref in ended if ref in self.busy]

    def working(self) -> Working:
        told = self.ray.get(self.board.take.remote())
        for name in told.keys() & self.at.keys():
            self.at[name] = told[name]
            self.heard[name] = time.monotonic()
        for worker, job in self.busy.values():
            if time.monotonic() - self.heard[job.name] > _SILENCE:
                self.heard[job.name] = time.monotonic()
                self.ray.kill(worker, no_restart=False)
        return self.at

    def _ready(self, ref: Any) -> None:
        worker = self.starting.pop(ref)
        try:
            version = self.ray.get(ref)
        except self.ray.exceptions.ActorUnavailableError:  # It died again: Ray goes on.
            self.starting[worker.ready.remote()] = worker
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
        del self.at[job.name], self.heard[job.name]
        wrong = None
        try:
            self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:
            wrong = f"{type(error.cause).__name__}: {_one_line(error.cause)}"
        except self.ray.exceptions.RayActorError as error:
            self.starting[worker.ready.remote()] = worker
            return Outcome(job, f"its worker died or was silent too long: {_one_line(error)}")
        self.idle.append(worker)
        return Outcome(job, wrong)


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:_LONGEST_ERROR]


@contextlib.contextmanager
def cluster(out: Path, address: str | None, workers: int | None) -> Iterator[RayPool]:
    """Workers on the cluster at `address` (`auto`, or `ray://host:port`), or on this machine: as many as asked for, or
    one a GPU, or one a core where there is no GPU. They are started while others work already.

    Raises ImportError where Ray is not installed, OSError where it cannot be reached or a worker cannot start."""
    ray = _ray()
    try:
        if address is None:
            ray.init("local", num_cpus=workers, include_dashboard=False, object_store_memory=_OBJECTS,
                     logging_level="ERROR", log_to_driver=False)  # fmt: skip
        else:
            ray.init(address, logging_level="ERROR", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise OSError(f"no Ray cluster at {address or 'this machine'}: {_one_line(error)}") from error
    try:
        yield _pool(ray, out, workers)
    finally:
        ray.shutdown()


def _ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports] (an optional extra)
    except ImportError as error:
        raise ImportError(_MISSING) from error
    return ray


def _pool(ray: Any, out: Path, workers: int | None) -> RayPool:
    has = ray.cluster_resources()
    gpus = int(has.get("GPU", 0))
    actor = ray.remote(_Worker).options(
        num_cpus=1, num_gpus=1 if gpus else 0, max_restarts=-1, max_task_retries=0,
        scheduling_strategy="SPREAD",
    )  # fmt: skip
    count = workers or gpus or int(has["CPU"])
    return RayPool(ray, [actor.remote() for _ in range(count)], out, gpus > 0)
