"""Measure the cost of adaptation beside direct fitting of every frame at equal error, on the same synthetic clips with
true keypoints, all in one run and alternating.

    python benchmarks/adaptation.py [--json] [--clips 8] [--frames 31] [--rounds 2] [--epochs N]
        [--lengths STEPS ...] [--device cpu] [--motions DIR]
        [--held-out ...]

Contestants: adaptation by keypoints only and by all losses; Adam over each frame's parameters from the network's
estimate, and from the paper's random start. The time of measuring errors is not counted. The equal error is the lowest
that both of two contestants reach.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from selfmocap.adaptation.adapt import AdaptConfig, adapt, predict_bodies, with_shared_shape
from selfmocap.adaptation.fit import FitConfig, fit, random_start
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT
from selfmocap.evaluation.paper.clips import PAPER_PROTOCOL, benchmark_clips
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.evaluation.paper.record import cpu_model
from selfmocap.evaluation.paper.rows import Experiment, RowConfig
from selfmocap.losses.metrics import root_aligned_error
from selfmocap.models.checkpoints import load_network
from selfmocap.models.estimator import Estimator
from selfmocap.models.temporal_inference import load_temporal

LENGTHS = (10, 25, 50, 100, 200, 400, 1200)
"""Steps of direct fitting. Each length is a run of its own, because the learning rate depends on the steps left."""


@dataclass(frozen=True)
class Trajectory:
    """Steps, seconds since the start, and error (mm) of a contestant, from before the first step."""

    steps: list[int]
    seconds: list[float]
    error_mm: list[float]
    frames_per_step: int

    def seconds_to(self, level_mm: float) -> float:
        """Return the time at which the error first falls to a level, interpolated linearly between measurements."""
        if self.error_mm[0] <= level_mm:
            return 0.0
        after = next(row for row, error in enumerate(self.error_mm) if error <= level_mm)
        (t0, e0), (t1, e1) = ((self.seconds[row], self.error_mm[row]) for row in (after - 1, after))
        return t0 + (t1 - t0) * (e0 - level_mm) / (e0 - e1)

    def summary(self, frames: int) -> dict[str, float]:
        seconds, steps = self.seconds[-1], self.steps[-1]
        return {
            "steps": steps,
            "seconds": round(seconds, 3),
            "ms_per_step": round(1000 * seconds / steps, 2),
            "ms_per_frame_and_step": round(1000 * seconds / steps / self.frames_per_step, 4),
            "ms_per_frame_in_all": round(1000 * seconds / frames, 2),
            "error_before_mm": round(self.error_mm[0], 2),
            "error_after_mm": round(self.error_mm[-1], 2),
        }


def error_mm(experiment: Experiment, parameters: BodyParameters) -> float:
    """Compute the mean joint error with aligned pelvises, mm."""
    one = torch.arange(1, device=experiment.truth.betas.device)
    bones, root = experiment.body.with_vertices(one), JOINT["pelvis"]
    with torch.no_grad():
        joints, truth = bones.pose(parameters).joints, bones.pose(experiment.truth).joints
    return 1000 * float(root_aligned_error(joints, truth, joints[:, root], truth[:, root]).mean())


def estimate(experiment: Experiment, network: Estimator) -> BodyParameters:
    return with_shared_shape(predict_bodies(network, experiment.full), experiment.full)


def adaptation_trajectory(experiment: Experiment, config: AdaptConfig) -> Trajectory:
    """Adapt the network's weights."""
    trajectory = Trajectory([], [], [], min(config.window * config.windows, len(experiment.full)))
    measuring = 0.0
    begin = time.perf_counter()

    def on_epoch(step: int, network: Estimator) -> None:
        nonlocal measuring
        now = time.perf_counter()
        trajectory.steps.append(step)
        trajectory.seconds.append(now - begin - measuring)
        trajectory.error_mm.append(error_mm(experiment, estimate(experiment, network)))
        measuring += time.perf_counter() - now

    adapt(experiment.networks["frame"], experiment.body, experiment.full, config, on_epoch=on_epoch)
    return trajectory


def fit_trajectory(
    experiment: Experiment, start: BodyParameters, config: FitConfig, lengths: Sequence[int]
) -> Trajectory:
    """Fit each frame's parameters."""
    trajectory = Trajectory([0], [0.0], [error_mm(experiment, start)], len(experiment.full))
    for steps in lengths:
        begin = time.perf_counter()
        found = fit(experiment.body, start, experiment.full, replace(config, steps=steps))
        trajectory.seconds.append(time.perf_counter() - begin)
        trajectory.steps.append(steps)
        trajectory.error_mm.append(error_mm(experiment, found))
    return trajectory


def contestants(
    experiment: Experiment, epochs: int | None, lengths: Sequence[int]
) -> dict[str, Callable[[], Trajectory]]:
    first, config = estimate(experiment, experiment.networks["frame"]), experiment.config
    keypoints, all_losses = (
        replace(one, epochs=epochs or one.epochs) for one in (config.adapt, config.adapt_all)
    )
    scratch = random_start(experiment.full, experiment.body.num_betas)
    without_images = replace(config.optimise, weights=config.gradient_descent.weights)
    return {
        "adaptation, keypoints": lambda: adaptation_trajectory(experiment, keypoints),
        "adaptation, all losses": lambda: adaptation_trajectory(experiment, all_losses),
        "fitting from the network": lambda: fit_trajectory(experiment, first, config.refine, lengths),
        "fitting from scratch": lambda: fit_trajectory(experiment, scratch, without_images, lengths),
    }


def at_equal_error(own: list[Trajectory], peers: list[Trajectory]) -> dict[str, float | None]:
    """Compute the seconds of both to the lowest error that both reach, median over rounds; no ratio if the peer starts
    there."""
    level = max(min(own[0].error_mm), min(peers[0].error_mm))
    pairs = [(a.seconds_to(level), b.seconds_to(level)) for a, b in zip(own, peers, strict=True)]
    return {
        "error_mm": round(level, 2),
        "seconds": round(statistics.median(a for a, _ in pairs), 3),
        "peer_seconds": round(statistics.median(b for _, b in pairs), 3),
        "ratio": round(statistics.median(a / b for a, b in pairs), 3)
        if all(b > 0 for _, b in pairs)
        else None,
    }


def experiment_of(options: argparse.Namespace) -> Experiment:
    test_set = BenchmarkConfig(
        options.clips, options.frames, 0, options.motions, options.backgrounds, tuple(options.held_out)
    )
    body = Body.load()
    with tempfile.TemporaryDirectory() as folder:
        clips = benchmark_clips(PAPER_PROTOCOL, test_set, Path(folder), body)
    networks = load_network(options.weights)[0], load_temporal()[0]
    clips_experiment, device = (
        Experiment.of(clips, *networks, body, RowConfig.exact(), 0),
        torch.device(options.device),
    )
    return replace(
        clips_experiment,
        networks={name: network.to(device) for name, network in clips_experiment.networks.items()},
        body=body.to(device),
        full=clips_experiment.full.to(device),
        split=clips_experiment.split.to(device),
        truth=clips_experiment.truth.to(device),
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--frames", type=int, default=31)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="of adaptation; the default is that of the tables")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="steps of direct fitting")
    parser.add_argument("--device", default="cpu")
    for name in ("motions", "backgrounds", "weights"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--held-out", nargs="*", default=())
    options = parser.parse_args()
    experiment = experiment_of(options)
    trajectories: dict[str, list[Trajectory]] = {}
    for number in range(options.rounds):
        for name, run in sorted(
            contestants(experiment, options.epochs, options.lengths).items(), reverse=bool(number % 2)
        ):
            trajectories.setdefault(name, []).append(run())
    frames = len(experiment.full)
    result = {
        "frames": frames,
        "threads": torch.get_num_threads(),
        "device": cpu_model() if options.device == "cpu" else torch.cuda.get_device_name(options.device),
        "contestants": {
            name: min(found, key=lambda trajectory: trajectory.seconds[-1]).summary(frames)
            for name, found in sorted(trajectories.items())
        },
        "adaptation_over_fitting": {
            f"{own} / {peer}": at_equal_error(trajectories[own], trajectories[peer])
            for own in sorted(trajectories)
            for peer in sorted(trajectories)
            if own.startswith("adaptation") and peer.startswith("fitting")
        },
    }
    print(json.dumps(result, indent=1))
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
