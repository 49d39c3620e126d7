"""What adapting the network costs beside direct optimisation of every frame, at equal error, on the same synthetic
clips (true keypoints; all in one run, turn by turn).

    python benchmarks/adaptation.py [--json] [--clips 8] [--frames 31] [--rounds 2] [--epochs N]
        [--lengths STEPS ...] [--device cpu] [--motions DIR]
        [--held-out ...]

Contestants: adaptation by keypoints alone and by all losses; Adam over each frame's parameters from the network's
answer, and from the paper's random beginning. Errors are measured along the way, outside the time that counts. Equal
error is the lowest that both of two contestants reach.
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
from selfmocap.evaluation.paper.clips import AS_THE_PAPER, ClipChoice, benchmark_clips
from selfmocap.evaluation.paper.record import cpu_model
from selfmocap.evaluation.paper.rows import Experiment, RowConfig
from selfmocap.losses.metrics import root_aligned_error
from selfmocap.models.checkpoints import load_network
from selfmocap.models.estimator import Estimator
from selfmocap.models.temporal_inference import load_temporal

LENGTHS = (10, 25, 50, 100, 200, 400, 1200)
"""Steps that direct optimisation is given: each time from the start, since its learning rate falls with what is
left."""


@dataclass(frozen=True)
class Way:
    """A contestant's way: steps, seconds since the start, and error (mm), from before the first step on."""

    steps: list[int]
    seconds: list[float]
    error_mm: list[float]
    frames_a_step: int

    def seconds_to(self, level_mm: float) -> float:
        """When the error first is that low; between two looks it is taken to fall evenly."""
        if self.error_mm[0] <= level_mm:
            return 0.0
        after = next(look for look, error in enumerate(self.error_mm) if error <= level_mm)
        (t0, e0), (t1, e1) = ((self.seconds[look], self.error_mm[look]) for look in (after - 1, after))
        return t0 + (t1 - t0) * (e0 - level_mm) / (e0 - e1)

    def summary(self, frames: int) -> dict[str, float]:
        seconds, steps = self.seconds[-1], self.steps[-1]
        return {
            "steps": steps,
            "seconds": round(seconds, 3),
            "ms_per_step": round(1000 * seconds / steps, 2),
            "ms_per_frame_and_step": round(1000 * seconds / steps / self.frames_a_step, 4),
            "ms_per_frame_in_all": round(1000 * seconds / frames, 2),
            "error_before_mm": round(self.error_mm[0], 2),
            "error_after_mm": round(self.error_mm[-1], 2),
        }


def error_mm(experiment: Experiment, parameters: BodyParameters) -> float:
    """Mean error per joint, pelvis on pelvis."""
    one = torch.arange(1, device=experiment.truth.betas.device)
    bones, root = experiment.body.with_vertices(one), JOINT["pelvis"]
    with torch.no_grad():
        joints, truth = bones.pose(parameters).joints, bones.pose(experiment.truth).joints
    return 1000 * float(root_aligned_error(joints, truth, joints[:, root], truth[:, root]).mean())


def answer(experiment: Experiment, network: Estimator) -> BodyParameters:
    return with_shared_shape(predict_bodies(network, experiment.whole), experiment.whole)


def adapted(experiment: Experiment, config: AdaptConfig) -> Way:
    """The way of the network's weights."""
    way = Way([], [], [], min(config.window * config.windows, len(experiment.whole)))
    looked = 0.0
    begin = time.perf_counter()

    def watch(step: int, network: Estimator) -> None:
        nonlocal looked
        now = time.perf_counter()
        way.steps.append(step)
        way.seconds.append(now - begin - looked)
        way.error_mm.append(error_mm(experiment, answer(experiment, network)))
        looked += time.perf_counter() - now

    adapt(experiment.networks["frame"], experiment.body, experiment.whole, config, on_epoch=watch)
    return way


def optimised(
    experiment: Experiment, start: BodyParameters, config: FitConfig, lengths: Sequence[int]
) -> Way:
    """The way of each frame's own parameters."""
    way = Way([0], [0.0], [error_mm(experiment, start)], len(experiment.whole))
    for steps in lengths:
        begin = time.perf_counter()
        found = fit(experiment.body, start, experiment.whole, replace(config, steps=steps))
        way.seconds.append(time.perf_counter() - begin)
        way.steps.append(steps)
        way.error_mm.append(error_mm(experiment, found))
    return way


def contestants(
    experiment: Experiment, epochs: int | None, lengths: Sequence[int]
) -> dict[str, Callable[[], Way]]:
    first, config = answer(experiment, experiment.networks["frame"]), experiment.config
    alone, all_losses = (
        replace(how, epochs=epochs or how.epochs) for how in (config.adapt, config.adapt_all)
    )
    scratch = random_start(experiment.whole, experiment.body.num_betas)
    without_images = replace(config.optimise, weights=config.descend.weights)
    return {
        "adaptation, keypoints": lambda: adapted(experiment, alone),
        "adaptation, all losses": lambda: adapted(experiment, all_losses),
        "optimisation from the network": lambda: optimised(experiment, first, config.refine, lengths),
        "optimisation from scratch": lambda: optimised(experiment, scratch, without_images, lengths),
    }


def at_equal_error(ours: list[Way], peers: list[Way]) -> dict[str, float | None]:
    """Seconds of both to the lowest error that both reach, the median over rounds; no ratio where one starts there."""
    level = max(min(ours[0].error_mm), min(peers[0].error_mm))
    pairs = [(a.seconds_to(level), b.seconds_to(level)) for a, b in zip(ours, peers, strict=True)]
    return {
        "error_mm": round(level, 2),
        "seconds": round(statistics.median(a for a, _ in pairs), 3),
        "peer_seconds": round(statistics.median(b for _, b in pairs), 3),
        "ratio": round(statistics.median(a / b for a, b in pairs), 3)
        if all(b > 0 for _, b in pairs)
        else None,
    }


def experiment_of(options: argparse.Namespace) -> Experiment:
    test_set = ClipChoice(
        options.clips, options.frames, 0, options.motions, options.backgrounds, tuple(options.held_out)
    )
    body = Body.load()
    with tempfile.TemporaryDirectory() as folder:
        clips = benchmark_clips(AS_THE_PAPER, test_set, Path(folder), body)
    networks = load_network(options.weights)[0], load_temporal()[0]
    made, device = Experiment.of(clips, *networks, body, RowConfig.exact(), 0), torch.device(options.device)
    return replace(
        made,
        networks={name: network.to(device) for name, network in made.networks.items()},
        body=body.to(device),
        whole=made.whole.to(device),
        checked=made.checked.to(device),
        truth=made.truth.to(device),
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
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS, help="steps of optimisation")
    parser.add_argument("--device", default="cpu")
    for name in ("motions", "backgrounds", "weights"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--held-out", nargs="*", default=())
    options = parser.parse_args()
    experiment = experiment_of(options)
    ways: dict[str, list[Way]] = {}
    for turn in range(options.rounds):
        for name, run in sorted(
            contestants(experiment, options.epochs, options.lengths).items(), reverse=bool(turn % 2)
        ):
            ways.setdefault(name, []).append(run())
    frames = len(experiment.whole)
    result = {
        "frames": frames,
        "threads": torch.get_num_threads(),
        "device": cpu_model() if options.device == "cpu" else torch.cuda.get_device_name(options.device),
        "contestants": {
            name: min(found, key=lambda way: way.seconds[-1]).summary(frames)
            for name, found in sorted(ways.items())
        },
        "adaptation_over_optimisation": {
            f"{ours} / {peer}": at_equal_error(ways[ours], ways[peer])
            for ours in sorted(ways)
            for peer in sorted(ways)
            if ours.startswith("adaptation") and peer.startswith("optimisation")
        },
    }
    print(json.dumps(result, indent=1))
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
