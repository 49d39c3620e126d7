"""Whether a network that adapted to some clips is better on others that it never saw."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from selfmocap.adaptation.adapt import AdaptConfig, adapt, as_stage, predict, with_shared_shape
from selfmocap.body_model.body import Body
from selfmocap.evaluation.paper.clips import (
    AS_THE_PAPER,
    BenchmarkClip,
    ClipChoice,
    benchmark_clips,
    evidence_of,
    other_motions,
    truth_of,
)
from selfmocap.evaluation.paper.record import about, fingerprint, load_json, save_json
from selfmocap.evaluation.paper.scores import scores_of
from selfmocap.evaluation.paper.tables import clips_folder
from selfmocap.geometry.tensors import weighted_sum
from selfmocap.io.progress import ProgressCallback
from selfmocap.losses.supervised import SupervisedWeights, supervised_losses
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameNetwork
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import CorruptionConfig
from selfmocap.synthetic.motions import MotionClip
from selfmocap.training.frame_data import TRAINING_ERRORS, SyntheticFrames
from selfmocap.training.train_frame import PART, supervised_body

_SEEDS = (0, 1, 2)
_REPLAYED_SEEDS = 800_000_000_000_000
_LEARNING_RATE = 1e-4
"""Lower than for weights that are used once."""
_EPOCHS = 20


def experience(
    out: Path,
    test_set: ClipChoice,
    weights: Path | None,
    progress: ProgressCallback,
    config: AdaptConfig | None = None,
) -> dict[str, Any]:
    """Adapts to the first half of the clips, three times, with what training taught replayed beside, and writes
    `experience.json` with the error on the second half, without adapting to it, before and after: its mean, and the
    spread of the change over seeds and over clips. A ValueError for fewer than two clips."""
    if test_set.clips < 2:
        raise ValueError("one clip to learn from and one to be tested on are needed: --clips 2 at least")
    config = config or AdaptConfig(epochs=_EPOCHS, learning_rate=_LEARNING_RATE)
    body = Body.load()
    network, known = load_network(weights)
    folder = clips_folder(out, AS_THE_PAPER.name)
    clips = benchmark_clips(AS_THE_PAPER, test_set, folder, body, progress)
    mark = fingerprint(asdict(config), test_set.named(), known["sha256"])
    before = load_json(out / "experience.json")
    if before.get("fingerprint") == mark:
        return before
    start = time.perf_counter()
    known_clips, others = clips[: len(clips) // 2], clips[len(clips) // 2 :]
    replayed = other_motions(test_set, folder, body, progress)
    first = _errors_mm(network, body, others)
    learned = [
        _errors_mm(
            _adapted(network, body, known_clips, replayed, replace(config, seed=seed), progress), body, others
        )
        for seed in _SEEDS
    ]
    change = np.array(learned) - np.array(first)
    result = {
        "about": about("experience", test_set, AS_THE_PAPER.name, known["sha256"])
        | {"seconds": round(time.perf_counter() - start, 1)},
        "fingerprint": mark,
        "adapted_on_clips": len(known_clips),
        "tested_on_clips": len(others),
        "before_mpjpe_mm": round(float(np.mean(first)), 3),
        "after_mpjpe_mm": round(float(np.mean(learned)), 3),
        "change_percent": round(100 * float(change.mean() / np.mean(first)), 2),
        "change_mm": {
            "mean": round(float(change.mean()), 3),
            "spread_over_seeds": round(float(change.mean(1).std(ddof=1)), 3),
            "spread_over_clips": round(float(change.mean(0).std(ddof=1)), 3) if len(others) > 1 else None,
            "clips_better": round(float((change.mean(0) < 0).mean()), 3),
        },
    }
    save_json(out / "experience.json", result)
    return result


def _adapted(
    network: FrameNetwork, body: Body, clips: Sequence[BenchmarkClip], known: Sequence[MotionClip],
    config: AdaptConfig, progress: ProgressCallback,
) -> FrameNetwork:  # fmt: skip
    evidence = evidence_of(clips, network)
    return adapt(
        network, body, evidence, config, as_stage(progress, "adapt"),
        replay=_replay(network, body, known, config.seed),
    ).network  # fmt: skip


def _replay(
    network: FrameNetwork, body: Body, known: Sequence[MotionClip], seed: int
) -> Callable[[FrameNetwork, int], Tensor]:
    """The losses of the network's training, on people who move like `known`."""
    people = SyntheticConfig(
        clips=PART, rgb=bool(network.config.images), corruption=CorruptionConfig(TRAINING_ERRORS)
    )
    sample = SyntheticFrames(known, procedural_backgrounds(), body, people)
    points = network.config.keypoint_set
    surface = supervised_body(body, points)

    def loss(adapted: FrameNetwork, step: int) -> Tensor:
        inputs, truth = sample(_REPLAYED_SEEDS + seed * 1_000_000 + step)
        with torch.no_grad():
            inputs = inputs.corrected(network.located(inputs))
        losses = supervised_losses(surface, points, adapted(inputs), inputs, truth)
        means = {name: loss.mean() for name, loss in losses.items()}
        return weighted_sum(means, asdict(SupervisedWeights()))

    return loss


def _errors_mm(network: FrameNetwork, body: Body, clips: Sequence[BenchmarkClip]) -> list[float]:
    evidence = evidence_of(clips, network)
    answer = with_shared_shape(predict(network, evidence), evidence)
    return scores_of(body, answer, truth_of(clips), evidence)["clips_mpjpe_mm"]
