"""Start a task in a process of its own (`app.worker`), follow its reports, and end it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Callable
from typing import Any

from selfmocap.app.strings import text

_MAX_REPORT_BYTES = 1 << 20
WORKER = (sys.executable, "-m", "selfmocap.app.worker")
"""Command of the process of a task."""
CAPTURE_MODULES: tuple[str, ...] = ("selfmocap.pipeline.capture",)
"""What the process of a capture loads while its settings are chosen."""


class TaskError(Exception):
    """A task failed; the message is that of the command line."""


async def start_worker(*modules: str) -> Process:
    """Start a process that loads modules and waits for its task."""
    return await asyncio.create_subprocess_exec(
        *WORKER, *modules, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_MAX_REPORT_BYTES,
        start_new_session=True,
    )  # fmt: skip


async def end_worker(process: Process) -> None:
    """Kill a process with its children."""
    assert process.stdin is not None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
    process.stdin.close()


async def run_task(
    task: str,
    on_progress: Callable[[str, int, int], None] | None = None,
    worker: Process | None = None,
    **arguments: Any,
) -> dict[str, Any]:
    """Run a task, in a process that waits for one if given, and return its result. The process is killed at the end,
    also when the caller is cancelled.

    Raises TaskError with the task's message, or with the exit code of a process that ended without any."""
    process = worker or await start_worker()
    assert process.stdin is not None and process.stdout is not None
    try:
        # The pipe stays open: the process ends when this one does.
        process.stdin.write(json.dumps({"task": task, **arguments}).encode() + b"\n")
        async for line in process.stdout:
            message = json.loads(line)
            if "progress" in message and on_progress is not None:
                on_progress(*message["progress"])
            elif "error" in message:
                raise TaskError(message["error"])
            elif "result" in message:
                return message["result"]
        raise TaskError(text("crashed", code=await process.wait()))
    finally:
        await end_worker(process)
