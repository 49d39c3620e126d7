"""Rows of Kanazawa et al. 2019 on held-out people: the temporal network of the weights beside its frame network, plain
and filtered; and the effect of deltas and of unlabelled video, which needs trainings."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap._version import __version__
from selfmocap.body_model.body import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.evaluation.paper.config import BenchmarkConfig, HmmrTrainingConfig
from selfmocap.evaluation.paper.hmmr_report import draw_unlabelled, hmmr_markdown
from selfmocap.evaluation.paper.record import (
    RESULTS_VERSION,
    network_sha256,
    result_cache,
    result_header,
    write_text,
)
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.io.stage_cache import StageCache, StageRecord, claim_scratch_folder
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import TemporalNetwork, unpack_theta
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.synthetic.motions import from_recording
from selfmocap.training.config import TemporalDataConfig
from selfmocap.training.temporal_data import CLIP_FPS, ClipBatch
from selfmocap.training.temporal_recipe import (
    TemporalMotions,
    clip_maker,
    keypoint_refinement,
    read_motions,
    temporal_training_data,
    validation_clips,
)
from selfmocap.training.train_temporal import (
    TemporalTrainConfig,
    TemporalTrainingData,
    train_temporal_network,
)
from selfmocap.training.validate_temporal import (
    Scores,
    clip_scores,
    hallucination_scores,
    predict_clips,
    predict_frames,
    surface_scores,
    tuned_filters,
)

_UNLABELLED_FRACTION = 0.5
"""Fraction of the recordings that is used as unlabelled video."""
_CHECKPOINT_STEPS = 100
"""Steps between checkpoints, from which an interrupted training resumes."""


@dataclass(frozen=True)
class HmmrRow:
    """A row that is trained."""

    unlabelled: float
    """Fraction of the unlabelled video that is used."""
    num_delta_frames: int | None
    """See `TemporalTrainConfig.num_delta_frames`: 0 is without deltas and hallucinator."""


_NUM_DELTA_FRAMES = TemporalTrainConfig().num_delta_frames
HMMR_TRAINED_ROWS = {
    "temporal": HmmrRow(0.0, 0),
    "unlabelled_0": HmmrRow(0.0, _NUM_DELTA_FRAMES),
    "unlabelled_25": HmmrRow(0.25, _NUM_DELTA_FRAMES),
    "unlabelled_50": HmmrRow(0.5, _NUM_DELTA_FRAMES),
    "unlabelled_100": HmmrRow(1.0, _NUM_DELTA_FRAMES),
}


@dataclass(frozen=True, eq=False)
class _Test:
    """The test clips and the network that is tested."""

    network: TemporalNetwork
    body: Body
    clips: ClipBatch
    needs: dict[str, Any]
    """What the scores depend on, JSON data."""

    def scores(self, prediction: Prediction) -> Scores:
        """Compute the scores of a prediction."""
        keypoints = self.network.frame.config.keypoint_set
        surface = surface_scores(self.body, keypoints, prediction, self.clips)
        return _rounded(clip_scores(self.body, prediction, self.clips) | surface)


def reproduce_hmmr(
    out: Path,
    benchmark: BenchmarkConfig,
    weights: Path | None,
    progress: ProgressCallback,
    trainings: HmmrTrainingConfig | None = None,
) -> dict[str, Any]:
    """Score temporal weights (by default the shipped ones) and their baselines, and run the `trainings`.

    Writes the scores of every row as `hmmr.json` and as Markdown, and the curve over unlabelled video as a picture.
    Finished stages with the same settings are not repeated, and an interrupted training resumes."""
    body, (network, about) = Body.load(), load_temporal(weights)
    _check(benchmark, network)
    data = TemporalDataConfig(
        benchmark.motions,
        benchmark.backgrounds,
        benchmark.held_out,
        unlabelled_fraction=_UNLABELLED_FRACTION,
    )
    refinement = keypoint_refinement(network.frame, data.backgrounds)
    motions = _read_motions(data, trainings is not None, body, out / "motions.npz", progress)
    clips = validation_clips(
        motions.validation, benchmark.num_clips, body, benchmark.num_frames, benchmark.seed, refinement
    )
    needs = {"version": __version__, "benchmark": benchmark.as_json(), "weights": about["sha256"]}
    test = _Test(network, body, clips, needs)
    cache = result_cache(out, "hmmr")
    pretrained = cache.run("pretrained", needs, [], lambda: (_score_pretrained(test, progress), []))
    flags = ["--train", f"--seeds {trainings.seeds}"] if trainings else []
    protocol = "held-out people, corrupted as by a detector"
    header = result_header("hmmr", benchmark, protocol, about["sha256"], flags)
    result = _write_result(out, header, pretrained, {}, trainings)
    if trainings is not None:
        for trained in _train_rows(cache, trainings, data, motions, test, progress):
            result = _write_result(out, header, pretrained, trained, trainings)
        draw_unlabelled(out / "hmmr.png", result)
    return result


def _check(benchmark: BenchmarkConfig, network: TemporalNetwork) -> None:
    if benchmark.num_frames <= network.config.reach:
        raise ValueError(
            f"clips of {benchmark.num_frames} frames; the network predicts {network.config.reach} frames into past "
            f"and future; give --frames {network.config.reach + 1} at least"
        )


def _read_motions(
    data: TemporalDataConfig, trains: bool, body: Body, cache: Path, progress: ProgressCallback
) -> TemporalMotions:
    """Read the recordings. Without trainings all may be of people to test on: of the held-out subjects, else of all."""
    if data.motions is None or trains:
        if data.motions is not None and not data.held_out:
            raise ValueError(
                "no subjects to test on: the rows of --train learn from all; name some (--held-out)"
            )
        motions = read_motions(data, 0, body, cache, progress)
        if not motions.labelled:
            raise ValueError(
                f"{data.motions}: every recording is held out; hold out fewer subjects to --train"
            )
        return motions
    recordings = load_motions(data.motions, body, cache=cache, progress=progress)
    subjects = {recording.subject for recording in recordings}
    if unknown := sorted(set(data.held_out) - subjects):
        raise ValueError(
            f"{data.motions}: no recordings of {', '.join(unknown)}; its subjects are {', '.join(sorted(subjects))}"
        )
    wanted = data.held_out or subjects
    return TemporalMotions(
        [], [], [from_recording(recording, body) for recording in recordings if recording.subject in wanted]
    )


# ---- rows without training ------------------------------------------------------------------------------------


def _score_pretrained(test: _Test, progress: ProgressCallback) -> dict[str, Any]:
    """Score the rows that need no training, and the hallucination of past and future."""
    network, body, clips = test.network, test.body, test.clips
    filters = tuned_filters(network, body, clips)
    predictions = {
        "frame": unpack_theta(predict_frames(network, clips)),
        **{name: filtered.prediction for name, filtered in filters.items()},
        "untrained": predict_clips(_untrained(network), clips),
        "temporal_deltas": predict_clips(network, clips),
    }
    rows: dict[str, dict[str, Any]] = {}
    for number, (row, prediction) in enumerate(predictions.items()):
        progress("hmmr: rows", number, len(predictions))
        rows[row] = dict(test.scores(prediction))
    progress("hmmr: rows", len(predictions), len(predictions))
    for name, filtered in filters.items():
        rows[name]["setting"] = filtered.setting
    errors = hallucination_scores(network, body, clips)
    hallucination = {
        when: {
            **_rounded({"estimate_mm": errors[f"{when}_mm"], "constant_mm": errors[f"{when}_constant_mm"]}),
            "improvement_percent": round(100 * (1 - errors[f"{when}_mm"] / errors[f"{when}_constant_mm"]), 1),
        }
        for when in ("past", "future")
    }
    return {"rows": rows, "hallucination": hallucination}


def _untrained(network: TemporalNetwork) -> TemporalNetwork:
    """Return the network before the first step of a training over the same frame network."""
    torch.manual_seed(0)
    untrained = TemporalNetwork(network.frame.config, network.config)
    untrained.frame.load_state_dict(network.frame.state_dict())
    return untrained


def _rounded(scores: Mapping[str, float]) -> Scores:
    return {name: round(value, 4 if name == "pck" else 3) for name, value in scores.items()}


# ---- trainings ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Trained:
    """A finished training."""

    scores: Scores
    seconds: float


def _train_rows(
    cache: StageCache,
    trainings: HmmrTrainingConfig,
    data: TemporalDataConfig,
    motions: TemporalMotions,
    test: _Test,
    progress: ProgressCallback,
) -> Iterator[dict[str, list[_Trained]]]:
    """Yield the finished trainings of each row after every one of them: all rows of one seed, which share the labelled
    clips, then the next seed."""
    source = {
        "version": __version__,
        "motions": test.needs["benchmark"]["motions"],
        "held_out": test.needs["benchmark"]["held_out"],
        "frame_network": network_sha256(test.network.frame),
    }
    folder = cache.folder / "clips"
    claim_scratch_folder(folder / "settings.json", source)
    refinement = keypoint_refinement(test.network.frame, data.backgrounds)
    frames = test.network.config.frames
    make_clips = clip_maker(motions.labelled, test.body, frames, refinement, folder, progress)
    total = trainings.seeds * len(HMMR_TRAINED_ROWS)
    finished: dict[str, list[_Trained]] = {}
    for seed in range(trainings.seeds):
        for number, (name, row) in enumerate(HMMR_TRAINED_ROWS.items(), start=seed * len(HMMR_TRAINED_ROWS)):
            progress("hmmr: trainings", number, total)
            share = replace(data, unlabelled_share=row.unlabelled)
            clips = temporal_training_data(share, motions, make_clips)
            config = TemporalTrainConfig(
                test.network.config,
                steps=trainings.steps,
                learning_rate=trainings.learning_rate,
                num_delta_frames=row.num_delta_frames,
                seed=seed,
            )
            needs = {"source": source, "row": asdict(row), "config": asdict(config)}
            one = _train_row(cache, f"{name}-{seed}", needs, config, clips, test, progress)
            finished.setdefault(name, []).append(one)
            yield finished
    progress("hmmr: trainings", total, total)


def _train_row(
    cache: StageCache,
    name: str,
    needs: dict[str, Any],
    config: TemporalTrainConfig,
    clips: TemporalTrainingData,
    test: _Test,
    progress: ProgressCallback,
) -> _Trained:
    """Train a row once, in a folder of its own, and score it."""
    folder = cache.folder / name

    def train() -> tuple[dict[str, Any], list[Path]]:
        claim_scratch_folder(folder / "settings.json", needs)
        train_temporal_network(
            config, test.network.frame, clips, test.body, folder, resume=True, every=_CHECKPOINT_STEPS,
            progress=lambda now: progress("train", now.step, now.steps),
        )  # fmt: skip
        return {}, [folder / "network.safetensors"]

    def score() -> tuple[dict[str, Any], list[Path]]:
        trained, _ = load_temporal(folder / "network.safetensors")
        return {"scores": test.scores(predict_clips(trained, test.clips))}, []

    training = cache.run(name, needs, [], train)
    (folder / "training.pt").unlink(missing_ok=True)
    scoring = cache.run(f"{name}-scores", test.needs, [training], score)
    return _Trained(scoring.result["scores"], training.seconds + scoring.seconds)


def _over_seeds(runs: Sequence[_Trained], steps: int) -> dict[str, Any]:
    """Compute means and standard deviations of a row's scores over its trainings."""
    scores = [run.scores for run in runs]
    values = {name: np.array([one[name] for one in scores]) for name in scores[0]}
    spread = {name: float(v.std(ddof=1)) for name, v in values.items()} if len(runs) > 1 else {}
    return {
        **_rounded({name: float(v.mean()) for name, v in values.items()}),
        "spread": _rounded(spread),
        "seeds": scores,
        "steps": steps,
        "seconds": round(sum(run.seconds for run in runs), 1),
    }


def _write_result(
    out: Path,
    header: Mapping[str, Any],
    pretrained: StageRecord,
    trained: Mapping[str, Sequence[_Trained]],
    trainings: HmmrTrainingConfig | None,
) -> dict[str, Any]:
    """Write the result as JSON and Markdown."""
    rows = {row: _over_seeds(runs, trainings.steps) for row, runs in trained.items()} if trainings else {}
    seconds = pretrained.seconds + sum(row["seconds"] for row in rows.values())
    result = {
        "version": RESULTS_VERSION,
        "about": {**header, "fps": CLIP_FPS, "seconds": round(seconds, 1)},
        "rows": pretrained.result["rows"] | rows,
        "hallucination": pretrained.result["hallucination"],
    }
    write_json(out / "hmmr.json", result, indent=1)
    write_text(out / "hmmr.md", hmmr_markdown(result))
    return result
