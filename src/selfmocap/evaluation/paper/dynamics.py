"""The rows of Kanazawa et al. 2019 on people who were held out: the shipped temporal network beside its frame network,
plain and filtered; and, trained for it, what deltas and unlabelled video change."""

import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap._version import __version__
from selfmocap.body_model.body import Body
from selfmocap.evaluation.paper.clips import ClipChoice
from selfmocap.evaluation.paper.dynamics_in_words import draw_unlabelled, hmmr_in_words
from selfmocap.evaluation.paper.record import (
    about,
    fingerprint,
    load_json,
    once,
    save_json,
    save_text,
    sha256_of,
)
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import TemporalNetwork, prediction_of
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.training.frame_data import TRAINING_ERRORS
from selfmocap.training.temporal_data import FPS, Clips, SyntheticClips
from selfmocap.training.temporal_recipe import ClipChoice as TrainingChoice
from selfmocap.training.temporal_recipe import (
    Motions,
    lessons_of,
    looking_of,
    read_motions,
    validation_clips,
)
from selfmocap.training.train_temporal import Lessons, TemporalTrainConfig, train_temporal
from selfmocap.training.validate_temporal import (
    Scores,
    clip_scores,
    frame_answers,
    hallucination_scores,
    surface_scores,
    temporal_answers,
    tuned_filters,
)

_UNTOLD = 0.5
"""Share of the recordings that are the unlabelled video."""
_EVERY = 100
"""Steps from which on an interrupted training goes on."""


@dataclass(frozen=True)
class Trainings:
    """How the rows are trained that the shipped weights are not: the default configuration, but short and fast."""

    seeds: int = 3
    steps: int = 400
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise ValueError(f"{self.seeds} seeds; expected at least 1")


@dataclass(frozen=True)
class TrainedRow:
    """What a row is trained by."""

    unlabelled: float
    """Share of the unlabelled video."""
    judged: int | None
    """See `TemporalTrainConfig.judged`: 0 is without deltas and hallucinator."""


_JUDGED = TemporalTrainConfig().judged
TRAINED = {
    "temporal": TrainedRow(0.0, 0),
    "unlabelled_0": TrainedRow(0.0, _JUDGED),
    "unlabelled_25": TrainedRow(0.25, _JUDGED),
    "unlabelled_50": TrainedRow(0.5, _JUDGED),
    "unlabelled_100": TrainedRow(1.0, _JUDGED),
}


@dataclass(frozen=True, eq=False)
class _Test:
    """The test clips, and the network that meets them."""

    network: TemporalNetwork
    body: Body
    clips: Clips
    name: str
    """Fingerprint of both."""

    def scores(self, prediction: Prediction) -> Scores:
        """Of a row's answer."""
        keypoints = self.network.frame.config.keypoint_set
        surface = surface_scores(self.body, keypoints, prediction, self.clips)
        return _short(clip_scores(self.body, prediction, self.clips) | surface)


def hmmr(
    out: Path,
    test_set: ClipChoice,
    weights: Path | None,
    progress: ProgressCallback,
    trainings: Trainings | None = None,
) -> dict[str, Any]:
    """Scores temporal weights (the shipped ones by default) and what there is without them, and runs the `trainings`;
    writes `hmmr.json` with the scores of every row, the same in words, and the curve over unlabelled video as a
    picture. What is there with the same settings is kept; a training that was interrupted goes on."""
    body, (network, known) = Body.load(), load_temporal(weights)
    _check(test_set, network)
    choice = TrainingChoice(test_set.motions, test_set.backgrounds, test_set.held_out, _UNTOLD)
    looking = looking_of(network.frame, choice.backgrounds)
    motions = read_motions(choice, 0, body, out / "motions.npz", progress)
    clips = validation_clips(
        motions.validation, test_set.clips, body, test_set.frames, test_set.seed, looking
    )
    test = _Test(network, body, clips, fingerprint(test_set.named(), known["sha256"], __version__))
    (out / "hmmr").mkdir(exist_ok=True)
    shipped = once(out / "hmmr" / "shipped.json", test.name, partial(_shipped, test, progress))
    more = ["--train", f"--seeds {trainings.seeds}"] if trainings else []
    header = about("hmmr", test_set, "held-out people, as a detector sees them", known["sha256"], more)
    result = _saved(out, header, shipped, {}, trainings)
    if trainings is not None:
        beneath = sha256_of(network.frame)
        source = fingerprint(test_set.named()["motions"], test_set.held_out, beneath, __version__)
        for found in _trained(out / "hmmr", trainings, choice, motions, test, source, progress):
            result = _saved(out, header, shipped, found, trainings)
        draw_unlabelled(out / "hmmr.png", result)
    return result


def _check(test_set: ClipChoice, network: TemporalNetwork) -> None:
    if test_set.motions is not None and not test_set.held_out:
        raise ValueError(
            "name the subjects to test on (--held-out): people that the networks have learned from prove nothing"
        )
    if test_set.frames <= network.config.reach:
        raise ValueError(
            f"clips of {test_set.frames} frames do not reach {network.config.reach} frames into the past and the "
            f"future; give --frames {network.config.reach + 1} at least"
        )


# ---- what the weights do --------------------------------------------------------------------------------------


def _shipped(test: _Test, progress: ProgressCallback) -> dict[str, Any]:
    """The rows for which nothing is trained, and how well past and future are hallucinated."""
    network, body, clips = test.network, test.body, test.clips
    filters = tuned_filters(network, body, clips)
    answers = {
        "frame": prediction_of(frame_answers(network, clips)),
        **{name: filtered.prediction for name, filtered in filters.items()},
        "untrained": temporal_answers(_untrained(network), clips),
        "temporal_deltas": temporal_answers(network, clips),
    }
    rows: dict[str, dict[str, Any]] = {}
    for number, (row, prediction) in enumerate(answers.items()):
        progress("hmmr: rows", number, len(answers))
        rows[row] = dict(test.scores(prediction))
    progress("hmmr: rows", len(answers), len(answers))
    for name, filtered in filters.items():
        rows[name]["setting"] = filtered.setting
    told = hallucination_scores(network, body, clips)
    hallucination = {
        when: {
            **_short({"ours_mm": told[f"{when}_mm"], "constant_mm": told[f"{when}_constant_mm"]}),
            "lower_percent": round(100 * (1 - told[f"{when}_mm"] / told[f"{when}_constant_mm"]), 1),
        }
        for when in ("past", "future")
    }
    return {"rows": rows, "hallucination": hallucination}


def _untrained(network: TemporalNetwork) -> TemporalNetwork:
    """Where a training over the same frame network begins."""
    torch.manual_seed(0)
    begun = TemporalNetwork(network.frame.config, network.config)
    begun.frame.load_state_dict(network.frame.state_dict())
    return begun


def _short(scores: Mapping[str, float]) -> Scores:
    return {name: round(value, 4 if name == "pck" else 3) for name, value in scores.items()}


# ---- trainings ------------------------------------------------------------------------------------------------


def _trained(
    folder: Path, trainings: Trainings, choice: TrainingChoice, motions: Motions, test: _Test, source: str,
    progress: ProgressCallback,
) -> Iterator[dict[str, list[dict[str, Any]]]]:  # fmt: skip
    """The scores of each row's trainings, as far as they are done, after each one; all rows of a seed, which share the
    clips with truth, then the next with others. `source` names what they learn from."""
    total = trainings.seeds * len(TRAINED)
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(trainings.seeds):
        looking = looking_of(test.network.frame, choice.backgrounds)
        labelled = SyntheticClips(
            motions.told, test.body, test.network.config.frames, TRAINING_ERRORS, looking=looking
        )
        for number, (row, kind) in enumerate(TRAINED.items(), start=seed * len(TRAINED)):
            progress("hmmr: trainings", number, total)
            lessons = lessons_of(replace(choice, unlabelled_share=kind.unlabelled), motions, labelled)
            place = folder / f"{row}-{seed}"
            scores = _training(place, row, seed, trainings, lessons, test, source, progress)
            found.setdefault(row, []).append(scores)
            yield found
    progress("hmmr: trainings", total, total)


def _training(
    folder: Path, row: str, seed: int, trainings: Trainings, lessons: Lessons, test: _Test, source: str,
    progress: ProgressCallback,
) -> dict[str, Any]:  # fmt: skip
    """The scores of one training of a row, which is kept in a folder of its own."""
    config = TemporalTrainConfig(
        test.network.config, steps=trainings.steps, learning_rate=trainings.learning_rate,
        judged=TRAINED[row].judged, seed=seed,
    )  # fmt: skip
    mark = fingerprint(source, asdict(TRAINED[row]), asdict(config))
    if load_json(folder / "settings.json").get("fingerprint") != mark:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        save_json(folder / "settings.json", {"fingerprint": mark})
    if not (folder / "trained.json").is_file():
        start = time.perf_counter()
        train_temporal(
            config, test.network.frame, lessons, test.body, folder, resume=True, every=_EVERY,
            progress=lambda now: progress("train", now.step, now.steps),
        )  # fmt: skip
        save_json(folder / "trained.json", {"train_seconds": round(time.perf_counter() - start, 1)})
        (folder / "training.pt").unlink()

    def scores() -> dict[str, Any]:
        trained, _ = load_temporal(folder / "network.safetensors")
        return {"scores": test.scores(temporal_answers(trained, test.clips))}

    return once(folder / "scores.json", f"{mark} {test.name}", scores) | load_json(folder / "trained.json")


def _over_seeds(each: Sequence[Mapping[str, Any]], steps: int) -> dict[str, Any]:
    """The means of one row's scores, their standard deviations, and what they are of."""
    scores = [one["scores"] for one in each]
    values = {name: np.array([one[name] for one in scores]) for name in scores[0]}
    spread = {name: float(v.std(ddof=1)) for name, v in values.items()} if len(each) > 1 else {}
    return {
        **_short({name: float(v.mean()) for name, v in values.items()}),
        "spread": _short(spread),
        "seeds": scores,
        "steps": steps,
        "seconds": round(sum(one["train_seconds"] + one["seconds"] for one in each), 1),
    }


def _saved(
    out: Path, header: Mapping[str, Any], shipped: Mapping[str, Any], found: Mapping[str, Sequence[Mapping[str, Any]]],
    trainings: Trainings | None,
) -> dict[str, Any]:  # fmt: skip
    """Writes the record, and the same in words."""
    trained = {row: _over_seeds(found[row], trainings.steps) for row in found} if trainings else {}
    seconds = shipped["seconds"] + sum(row["seconds"] for row in trained.values())
    result = {
        "about": {**header, "fps": FPS, "seconds": round(seconds, 1)},
        "rows": shipped["rows"] | trained,
        "hallucination": shipped["hallucination"],
    }
    save_json(out / "hmmr.json", result)
    save_text(out / "hmmr.md", hmmr_in_words(result))
    return result
