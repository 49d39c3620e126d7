"""Captures of people whom the tests draw: a detector is told where they are, and little is done of everything else."""

import hashlib
import json
import math
import multiprocessing
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from selfmocap.adaptation.fit import OptimiseConfig
from selfmocap.models.checkpoints import save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.pipeline import capture, config, solve
from selfmocap.tracking import observe, tracking_pass
from tests.helpers.stick_figures import BLUE, RED, Told, scene
from tests.helpers.videos import write_video

FRAMES = 12


def places(frames: int = FRAMES) -> list[dict[tuple[int, int, int], tuple[float, float]]]:
    return [{RED: (80.0 + k, 110.0), BLUE: (250.0 - 0.5 * k, 100.0)} for k in range(frames)]


def told_video(path: Path, frames: int = FRAMES, times: list[float] | None = None) -> Path:
    return write_video(path, [scene(of_frame) for of_frame in places(frames)], times)


def untrained_weights(path: Path) -> Path:
    torch.manual_seed(0)
    save_network(path, FrameNetwork(NetworkConfig(trunk="none", rgb=False)), {})
    return path


@contextmanager
def little_work(
    told: list[dict[tuple[int, int, int], tuple[float, float]]] | None = None,
) -> Iterator[None]:
    """Few steps, two epochs, short windows, and a detector that is `told` (a stick a place)."""
    detector = Told([list(of_frame.values()) for of_frame in told or places()])
    steps = OptimiseConfig(steps=12)
    with (
        patch.object(observe, "detector_named", lambda name: detector),
        patch.object(tracking_pass, "WINDOW", 6),
        patch.object(solve, "WINDOW", 6),
        patch.object(solve, "OVERLAP", 2),
        patch.object(solve, "_refinement", lambda accepted: steps),
        patch.dict(config.EPOCHS, balanced=2),
    ):
        yield


def capture_with_little_work(video: Path, out: Path, weights: Path) -> None:
    """What a process does that is to be killed."""
    torch.set_num_threads(1)
    with little_work():
        capture.capture(video, out, config.CaptureConfig(weights=weights, export=("bvh",)))


def results(out: Path) -> dict[str, Any]:
    """Everything that a capture leaves, but for what says how long it took."""
    files = [path for path in out.rglob("*") if path.is_file() and ".capture" not in path.parts]
    timed = {"report.json", "report.html", "observations.json"}
    report = json.loads((out / "report.json").read_text())
    return {
        "files": sorted(str(path.relative_to(out)) for path in files),
        "content": {
            str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in files
            if path.name not in timed
        },
        "report": {name: value for name, value in report.items() if name != "stages"},
    }


def killed_and_run_again(folder: Path, kills: int, seed: int = 0) -> tuple[int, list[int]]:
    """Captures in processes of their own, each killed at a random moment and run again: how many were cut short, and
    the numbers of those whose results are not the uninterrupted one's. Moments are counted in the process' own time,
    so that a busy machine does not matter."""
    video, weights = told_video(folder / "two.mp4"), untrained_weights(folder / "untrained.safetensors")
    processes: Any = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([__name__])

    def run(out: Path, until: float = math.inf) -> tuple[float, int]:
        """Kills the process when it has worked for so many seconds; for how many it has, and its exit code."""
        process, worked = processes.Process(target=capture_with_little_work, args=(video, out, weights)), 0.0
        process.start()
        while process.is_alive() and worked < until:
            worked = max(worked, _seconds_of_work(process.pid))
            process.join(0.005)
        if worked >= until:
            process.kill()
        process.join()
        return worked, process.exitcode

    run(folder / "warm")
    seconds, _ = run(folder / "whole")
    expected = results(folder / "whole")
    moments, cut_short, different = random.Random(seed), 0, []
    for number in range(kills):
        out = folder / f"killed-{number}"
        cut_short += run(out, moments.uniform(0.0, seconds))[1] != 0
        if run(out)[1] or results(out) != expected:
            different.append(number)
    return cut_short, different


def _seconds_of_work(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
