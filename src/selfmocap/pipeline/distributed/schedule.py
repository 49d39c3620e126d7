"""Who does what next. A job is given to a worker that is free and looked for only then, so that memory does not grow
with their number; one that fails is tried again, and then left aside."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from selfmocap.pipeline.distributed.jobs import Job, settle
from selfmocap.pipeline.distributed.manifest import Manifest

TRIES = 2
"""After which a job is left aside."""
_LISTEN = 1.0
"""Seconds between two looks at how far the workers are."""

Working = dict[str, tuple[str, int, int]]
"""The jobs that are worked on: the stage of each, how far it is, and how far it has to go."""


@dataclass(frozen=True)
class Outcome:
    """A job that has ended."""

    job: Job
    error: str | None
    """Why it failed."""


@runtime_checkable
class Pool(Protocol):
    """Workers, each of which does one job at a time."""

    def free(self) -> int:
        """How many could begin with a job now."""
        ...

    def start(self, job: Job) -> None:
        """Gives a job to one of them."""
        ...

    def wait(self, seconds: float) -> list[Outcome]:
        """What has ended, as soon as anything has, or nothing after some time."""
        ...

    def working(self) -> Working:
        """What they are at."""
        ...


@dataclass
class Tally:
    """How far it is."""

    done: int = 0
    """In this run."""
    already: int = 0
    """Done by earlier runs."""
    aside: set[str] = field(default_factory=set)
    """The names of those that failed too often."""
    all_found: bool = False
    """Whether the jobs are all known."""
    unsettled: int = 0
    """Those that are found, and neither done nor left aside."""

    @property
    def ended(self) -> int:
        """Jobs that nothing more is done about."""
        return self.done + self.already + len(self.aside)


Watch = Callable[[Tally, Working], None]
"""Called about once a second, and at the end."""


def do_all(jobs: Iterable[Job], pool: Pool, out: Path, manifest: Manifest, watch: Watch) -> Tally:
    """Has all jobs done that are not done yet; each result is in its place, and in the manifest, once.

    `manifest.failures` says which have failed too often; they are not tried again."""
    tally, unsettled = Tally(), dict[str, Job]()
    fresh, queue = _wanted(jobs, out, manifest, unsettled, tally), deque[Job]()
    ended = list[Outcome]()  # Settled, all together, when no worker waits for a job.
    last = -math.inf
    while True:
        if not queue and pool.free() and not tally.all_found:
            queue.extend(islice(fresh, 1))
            tally.all_found = not queue
        if queue and pool.free():
            pool.start(queue.popleft())
        elif ended:
            again = _settled(ended, out, manifest, tally)
            for outcome in ended:
                del unsettled[outcome.job.name]
            unsettled |= {job.name: job for job in again}
            queue.extend(again)
            ended.clear()
        elif unsettled:
            ended.extend(pool.wait(_LISTEN))
        elif tally.all_found:
            tally.unsettled = 0
            watch(tally, {})
            return tally
        else:
            pool.wait(_LISTEN)
        if time.monotonic() - last > _LISTEN:
            last, tally.unsettled = time.monotonic(), len(unsettled)
            watch(tally, pool.working())


def _wanted(
    jobs: Iterable[Job], out: Path, manifest: Manifest, unsettled: dict[str, Job], tally: Tally
) -> Iterator[Job]:
    for job in jobs:
        failure = manifest.failures.get(job.name)
        if (out / job.result).exists():
            tally.already += 1
        elif failure and failure.tries >= TRIES:
            tally.aside.add(job.name)
        elif job.name not in unsettled:
            unsettled[job.name] = job
            yield job


def _settled(ended: Sequence[Outcome], out: Path, manifest: Manifest, tally: Tally) -> list[Job]:
    """Enters what has ended; the jobs to do again."""
    done = [outcome.job.name for outcome in ended if outcome.error is None]
    failed = [outcome for outcome in ended if outcome.error is not None]
    settle(out, manifest, done)
    tally.done += len(done)
    if failed:
        manifest.add(*(_failure(outcome) for outcome in failed))
    again = [o.job for o in failed if manifest.failures[o.job.name].tries < TRIES]
    tally.aside |= {o.job.name for o in failed} - {job.name for job in again}
    return again


def _failure(outcome: Outcome) -> dict[str, Any]:
    job = outcome.job
    return {"name": job.name, "state": "failed", "source": job.source, "error": outcome.error}
