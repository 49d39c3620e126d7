"""Captures of drawn people: a scripted detector finds them, and every stage does little work."""

import hashlib
import json
import math
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from selfmocap.adaptation import fit
from selfmocap.io import stage_cache
from selfmocap.models.checkpoints import save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from selfmocap.pipeline import capture, config, solve
from selfmocap.tracking import observe, tracking_pass
from tests.helpers.programs import start_process
from tests.helpers.stick_figures import BLUE, RED, ScriptedDetector, scene
from tests.helpers.videos import write_video

FRAMES = 12


def person_places(frames: int = FRAMES) -> list[dict[tuple[int, int, int], tuple[float, float]]]:
    return [{RED: (80.0 + k, 110.0), BLUE: (250.0 - 0.5 * k, 100.0)} for k in range(frames)]


def drawn_video(path: Path, frames: int = FRAMES, times: list[float] | None = None) -> Path:
    return write_video(path, [scene(of_frame) for of_frame in person_places(frames)], times)


def untrained_weights(path: Path) -> Path:
    torch.manual_seed(0)
    save_network(path, FrameNetwork(NetworkConfig(trunk="none", rgb=False)), {})
    return path


@contextmanager
def little_work(
    places: list[dict[tuple[int, int, int], tuple[float, float]]] | None = None,
) -> Iterator[None]:
    """Few steps, two epochs, short windows, and a scripted detector (a stick figure at each place)."""
    detector = ScriptedDetector([list(of_frame.values()) for of_frame in places or person_places()])
    steps = fit.FitConfig(steps=12)
    with (
        patch.object(observe, "create_detector", lambda *_: detector),
        patch.object(tracking_pass, "FRAMES_PER_PART", 6),
        patch.object(solve, "REFINE_WINDOW", 6),
        patch.object(solve, "WINDOW_OVERLAP", 2),
        patch.object(solve.PersonChoice, "refinement", steps),
        patch.object(solve, "FitConfig", lambda: steps),
        patch.object(fit, "REFINE", replace(fit.REFINE, steps=6)),
        patch.object(fit, "REFINE_LOW_SMOOTHNESS", replace(fit.REFINE_LOW_SMOOTHNESS, steps=6)),
        patch.dict(config.EPOCHS, balanced=2),
    ):
        yield


def capture_with_little_work(video: Path, out: Path, weights: Path, moment: str = "") -> None:
    """Capture in a process that will be killed, or that kills itself at a moment: a stage and how far it is
    (`draw 7`), or the record that is written after the files of a stage (`choose.json`)."""

    def pass_moment(reached: str) -> None:
        if reached == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    def write_record(path: Path, *arguments: Any, **options: Any) -> None:
        pass_moment(path.name)
        write_json(path, *arguments, **options)

    torch.set_num_threads(1)
    write_json, settings = stage_cache.write_json, config.CaptureConfig(weights=weights, formats=("bvh",))
    with little_work(), patch.object(stage_cache, "write_json", write_record):
        capture.capture(video, out, settings, lambda stage, done, _: pass_moment(f"{stage} {done}"))


def results(out: Path) -> dict[str, Any]:
    """Return the contents of everything that a capture writes, except durations."""
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
    """Capture in processes that are each killed at a random moment and run again.

    Return how many were killed before they ended, and the numbers of those whose results differ from those of an
    uninterrupted capture. Moments are in CPU time of the process, so that a busy machine does not matter."""
    video, weights = drawn_video(folder / "two.mp4"), untrained_weights(folder / "untrained.safetensors")

    def run(out: Path, until: float = math.inf) -> tuple[float, int]:
        """Kill the process after so many seconds of CPU time. Return its CPU time and its exit code."""
        process, worked = start_process(capture_with_little_work, video, out, weights), 0.0
        while process.is_alive() and worked < until:
            worked = max(worked, _seconds_of_work(process.pid))
            process.join(0.005)
        if worked >= until:
            process.kill()
        process.join()
        return worked, process.exitcode

    run(folder / "warm")
    seconds, _ = run(folder / "uninterrupted")
    expected = results(folder / "uninterrupted")
    moments, interrupted, different = random.Random(seed), 0, []
    for number in range(kills):
        out = folder / f"killed-{number}"
        interrupted += run(out, moments.uniform(0.0, seconds))[1] != 0
        if run(out)[1] or results(out) != expected:
            different.append(number)
    return interrupted, different


def _seconds_of_work(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
