"""Run Python programs of the repository in processes that do not import again what most of them need."""

import multiprocessing
import os
import runpy
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

PRELOADED = ("matplotlib.figure", "selfmocap.training.temporal_recipe", "tests.helpers.stub_capture")


def start_process(target: Callable[..., None], *arguments: object) -> Any:
    """Call a function in a process forked from one that has imported PRELOADED."""
    processes: Any = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(list(PRELOADED))
    process = processes.Process(target=target, args=arguments)
    process.start()
    return process


def start_program(
    program: Path,
    arguments: Sequence[object],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    streams: Sequence[Path] = (),
) -> Any:
    """Start a program with one thread in a folder; its standard output and error go to the files `streams`."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
    command = [str(program), *map(str, arguments)]
    return start_process(_run, command, variables, folder or Path.cwd(), streams)


def run_program(
    program: Path,
    arguments: Sequence[object],
    environment: dict[str, str] | None = None,
    folder: Path | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """Run a program with one thread in a folder. Raises TimeoutExpired after so many seconds."""
    with tempfile.TemporaryDirectory() as written:
        streams = [Path(written, name) for name in ("stdout", "stderr")]
        process = start_program(program, arguments, environment, folder, streams)
        process.join(timeout)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(str(program), timeout)
        return subprocess.CompletedProcess(
            str(program), process.exitcode, *(path.read_text() for path in streams)
        )


def torchrun_environments(processes: int) -> list[dict[str, str]]:
    """Return the variables that torchrun sets for each of the processes on one machine."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {"TORCHELASTIC_RUN_ID": "run", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    shared |= {name: str(processes) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE")}
    return [shared | {name: str(rank) for name in ("RANK", "LOCAL_RANK")} for rank in range(processes)]


def _run(command: list[str], environment: dict[str, str], folder: Path, streams: Sequence[Path]) -> None:
    for number, path in enumerate(streams, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    torch.set_num_threads(1)
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name="__main__")
