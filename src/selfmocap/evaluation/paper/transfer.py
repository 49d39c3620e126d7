"""Transfer: the error of an adapted network on clips that it was not adapted to (`selfmocap reproduce experience`)."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfmocap.adaptation.adapt import AdaptConfig, adapt, as_step_callback, predict_bodies, with_shared_shape
from selfmocap.body_model.body import Body
from selfmocap.evaluation.paper.clips import (
    PAPER_PROTOCOL,
    BenchmarkClip,
    benchmark_clips,
    benchmark_fitting_data,
    benchmark_truth,
    replay_motions,
)
from selfmocap.evaluation.paper.config import BenchmarkConfig
from selfmocap.evaluation.paper.record import RESULTS_VERSION, result_cache, result_header
from selfmocap.evaluation.paper.scores import score_bodies
from selfmocap.evaluation.paper.tables import clips_folder
from selfmocap.geometry.tensors import weighted_sum
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.losses.supervised import SupervisedWeights, supervised_losses
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameNetwork
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.training.frame_data import TRAINING_ERRORS, SyntheticFrames
from selfmocap.training.train_frame import MICRO_BATCH_FRAMES, loss_body

_SEEDS = (0, 1, 2)
_FIRST_REPLAY_SEED = 800_000_000_000_000
_LEARNING_RATE = 1e-4
"""Lower than for weights that are used for one video only."""
_EPOCHS = 20


def reproduce_transfer(
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None,
    progress: ProgressCallback,
    config: AdaptConfig | None = None,
) -> dict[str, Any]:
    """Adapt to the first half of the clips, with three seeds, while training data is replayed. Write `experience.json`
    with the error on the second half before and after, without adaptation to it.

    The result has the mean error, and the spread of its change over seeds and over clips. Raises ValueError for fewer
    than two clips."""
    if benchmark.num_clips < 2:
        raise ValueError(
            f"{benchmark.num_clips} clips; expected one to adapt to and one to test on: --clips 2 at least"
        )
    config = config or AdaptConfig(epochs=_EPOCHS, learning_rate=_LEARNING_RATE)
    body, (network, about) = Body.load(), load_network(weights)
    folder = clips_folder(out, PAPER_PROTOCOL.name)
    clips = benchmark_clips(PAPER_PROTOCOL, benchmark, folder, body, progress)
    cache = result_cache(out, "experience")
    needs = {"adapt": asdict(config), "benchmark": benchmark.as_json(), "weights": about["sha256"]}

    def compute() -> tuple[dict[str, Any], list[Path]]:
        replayed = replay_motions(benchmark, folder, body, progress)
        return _transfer_scores(network, body, clips, replayed, config, progress), []

    stage = cache.run("transfer", needs, [], compute)
    header = result_header("experience", benchmark, PAPER_PROTOCOL.name, about["sha256"])
    header["seconds"] = round(stage.seconds, 1)
    result = {"version": RESULTS_VERSION, "about": header, **stage.result}
    write_json(out / "experience.json", result, indent=1)
    return result


def _transfer_scores(
    network: FrameNetwork,
    body: Body,
    clips: Sequence[BenchmarkClip],
    replayed: Sequence[MotionClip],
    config: AdaptConfig,
    progress: ProgressCallback,
) -> dict[str, Any]:
    adapted_on, tested_on = clips[: len(clips) // 2], clips[len(clips) // 2 :]
    before = _errors_mm(network, body, tested_on)
    after = [
        _errors_mm(
            _adapted(network, body, adapted_on, replayed, replace(config, seed=seed), progress),
            body,
            tested_on,
        )
        for seed in _SEEDS
    ]
    change = np.array(after) - np.array(before)
    over_clips = float(change.mean(0).std(ddof=1)) if len(tested_on) > 1 else None
    return {
        "adapted_on_clips": len(adapted_on),
        "tested_on_clips": len(tested_on),
        "before_mpjpe_mm": round(float(np.mean(before)), 3),
        "after_mpjpe_mm": round(float(np.mean(after)), 3),
        "change_percent": round(100 * float(change.mean() / np.mean(before)), 2),
        "change_mm": {
            "mean": round(float(change.mean()), 3),
            "spread_over_seeds": round(float(change.mean(1).std(ddof=1)), 3),
            "spread_over_clips": None if over_clips is None else round(over_clips, 3),
            "clips_better": round(float((change.mean(0) < 0).mean()), 3),
        },
    }


def _adapted(
    network: FrameNetwork,
    body: Body,
    clips: Sequence[BenchmarkClip],
    replayed: Sequence[MotionClip],
    config: AdaptConfig,
    progress: ProgressCallback,
) -> FrameNetwork:
    data = benchmark_fitting_data(clips, network)
    replay = _replay_loss(network, body, replayed, config.seed)
    on_step = as_step_callback(progress, "adapt")
    return adapt(network, body, data, config, on_step, replay=replay).network


def _replay_loss(
    network: FrameNetwork, body: Body, motions: Sequence[MotionClip], seed: int
) -> Callable[[FrameNetwork, int], Tensor]:
    """Return the loss of the network's training on people with `motions`, a function of the network and the step."""
    people = SyntheticConfig(
        clips=MICRO_BATCH_FRAMES,
        rgb=bool(network.config.images),
        corruption=CorruptionConfig(TRAINING_ERRORS),
    )
    sample = SyntheticFrames(motions, procedural_backgrounds(), body, people)
    points = network.config.keypoint_set
    surface = loss_body(body, points)

    def loss(adapted: FrameNetwork, step: int) -> Tensor:
        inputs, truth = sample(_FIRST_REPLAY_SEED + seed * 1_000_000 + step)
        with torch.no_grad():
            inputs = inputs.with_refined(network.refine_keypoints(inputs))
        losses = supervised_losses(surface, points, adapted(inputs), inputs, truth)
        means = {name: loss.mean() for name, loss in losses.items()}
        return weighted_sum(means, asdict(SupervisedWeights()))

    return loss


def _errors_mm(network: FrameNetwork, body: Body, clips: Sequence[BenchmarkClip]) -> list[float]:
    data = benchmark_fitting_data(clips, network)
    estimate = with_shared_shape(predict_bodies(network, data), data)
    return score_bodies(body, estimate, benchmark_truth(clips), data)["clips_mpjpe_mm"]
