"""Distribute jobs to workers. The next job is looked for only when a worker is free, so that memory does not grow with
the number of jobs. A job that fails is attempted again, and then given up."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from selfmocap.pipeline.distributed.jobs import Job
from selfmocap.pipeline.distributed.manifest import FAILED, PARTS_FOLDER, Manifest, is_of_part
from selfmocap.pipeline.distributed.output import BatchOutput

MAX_ATTEMPTS = 2
"""Attempts after which a job is given up."""
_POLL_SECONDS = 1.0
"""Interval at which the workers' progress is reported."""

JobProgress = dict[str, tuple[str, int, int]]
"""The running jobs by name: stage, steps done, and their total (0 if unknown)."""


@dataclass(frozen=True)
class Outcome:
    """A job that has ended."""

    job: Job
    error: str | None
    """None if it succeeded."""


@runtime_checkable
class WorkerPool(Protocol):
    """Workers that do one job each at a time."""

    def num_free(self) -> int:
        """Count the workers without a job."""
        ...

    def start(self, job: Job) -> None:
        """Give a job to a free worker."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """Return the jobs that have ended, as soon as there is one, or an empty list after some time."""
        ...

    def job_progress(self) -> JobProgress:
        """Return the progress of the running jobs."""
        ...


@dataclass
class Tally:
    """The state of a batch."""

    done: int = 0
    """Jobs done in this run, parts of films apart."""
    done_before: int = 0
    """Jobs done by earlier runs, parts of films apart."""
    parts: int = 0
    """Parts of films that are done, and films that were split into parts."""
    failed: set[str] = field(default_factory=set)
    """Names of the jobs that were given up."""
    all_found: bool = False
    """True when all jobs are known."""
    pending: int = 0
    """Jobs that are known, and neither done nor given up."""

    @property
    def ended(self) -> int:
        """Jobs that are done or given up."""
        return self.done + self.done_before + self.parts + len(self.failed)


TallyCallback = Callable[[Tally, JobProgress], None]
"""Called about once a second, and at the end."""


def run_all(
    jobs: Iterable[Job],
    pool: WorkerPool,
    output: BatchOutput,
    manifest: Manifest,
    on_tally: TallyCallback,
    following: Callable[[Job, dict[str, Any] | None], Sequence[Job]] = lambda job, line: (),
) -> Tally:
    """Do all jobs that are not done yet. Each result is at its path and in the manifest once.

    Jobs that `manifest.failures` records with MAX_ATTEMPTS are not attempted again. `following` returns the jobs that
    can be done when one has ended: with its line of the manifest if it is done, None if it was given up."""
    tally, pending = Tally(), dict[str, Job]()
    new_jobs, queue = _jobs_to_do(jobs, output, manifest, pending, tally), deque[Job]()
    ended = list[Outcome]()  # Committed together when no worker waits for a job.
    last = -math.inf
    while True:
        if not queue and pool.num_free() and not tally.all_found:
            queue.extend(islice(new_jobs, 1))
            tally.all_found = not queue
        if queue and pool.num_free():
            pool.start(queue.popleft())
        elif ended:
            again, lines = _commit_outcomes(ended, output, manifest, tally)
            for outcome in ended:
                del pending[outcome.job.name]
            pending |= {job.name: job for job in again}
            queue.extend(again)
            over = [outcome.job for outcome in ended if outcome.job not in again]
            next_jobs = [new for job in over for new in following(job, lines.get(job.name))]
            queue.extendleft([*_jobs_to_do(next_jobs, output, manifest, pending, tally)][::-1])
            ended.clear()
        elif pending:
            ended.extend(pool.wait(_POLL_SECONDS))
        elif tally.all_found:
            tally.pending = 0
            on_tally(tally, {})
            return tally
        else:
            pool.wait(_POLL_SECONDS)
        if time.monotonic() - last > _POLL_SECONDS:
            last, tally.pending = time.monotonic(), len(pending)
            on_tally(tally, pool.job_progress())


def _jobs_to_do(
    jobs: Iterable[Job], output: BatchOutput, manifest: Manifest, pending: dict[str, Job], tally: Tally
) -> Iterator[Job]:
    for job in jobs:
        failure = manifest.failures.get(job.name)
        if output.contains(job.result):
            tally.done_before += job.result.parts[0] != PARTS_FOLDER
        elif failure and failure.attempts >= MAX_ATTEMPTS:
            tally.failed.add(job.name)
        elif job.name not in pending:
            pending[job.name] = job
            yield job


def _commit_outcomes(
    ended: Sequence[Outcome], output: BatchOutput, manifest: Manifest, tally: Tally
) -> tuple[list[Job], dict[str, dict[str, Any]]]:
    """Commit the results, record the failures, and return the jobs to attempt again, and the lines of the others that
    are done by the jobs' names."""
    done = [outcome.job.name for outcome in ended if outcome.error is None]
    failed = [outcome for outcome in ended if outcome.error is not None]
    lines = {line["name"]: line for line in output.commit(manifest, done)}
    parts = sum(is_of_part(line) for line in lines.values())
    tally.parts += parts
    tally.done += len(done) - parts
    if failed:
        manifest.add(*(_failure_line(outcome) for outcome in failed))
    again = [o.job for o in failed if manifest.failures[o.job.name].attempts < MAX_ATTEMPTS]
    tally.failed |= {o.job.name for o in failed} - {job.name for job in again}
    return again, lines


def _failure_line(outcome: Outcome) -> dict[str, Any]:
    job = outcome.job
    return {
        "name": job.name,
        "state": FAILED,
        "source": job.source,
        "result": str(job.result),
        "error": outcome.error,
    }
