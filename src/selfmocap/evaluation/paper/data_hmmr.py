"""The table of Kanazawa et al. 2019 on the paper's own data: 3DPW, Human3.6M and Penn Action."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from selfmocap._version import __version__
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.datasets.labelled.clip import LabelledClip
from selfmocap.datasets.labelled.human36m import human36m_clips
from selfmocap.datasets.labelled.penn_action import penn_action_clips
from selfmocap.datasets.labelled.three_dpw import three_dpw_clips
from selfmocap.evaluation.paper.config import BenchmarkConfig, OwnDataConfig
from selfmocap.evaluation.paper.data_report import data_hmmr_markdown
from selfmocap.evaluation.paper.protocols import (
    ClipErrors,
    counted_frames,
    estimated_points,
    joint_scores,
    label_scores,
    mean_over_frames,
    mean_over_sequences,
)
from selfmocap.evaluation.paper.record import RESULTS_VERSION, result_cache, result_header, write_text
from selfmocap.io.files import write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.models.frame import FrameInputs, Prediction
from selfmocap.models.inference import network_inputs
from selfmocap.models.temporal import TemporalNetwork, unpack_theta
from selfmocap.models.temporal_inference import extract_features, load_temporal, predict_sequence

_WINDOW, _KEPT = 20, 8
"""Frames of a window of the paper, and those in its middle that are kept."""
_PROTOCOL = "3DPW, Human3.6M and Penn Action, as far as given"


def reproduce_hmmr_on_data(
    out: Path, data: OwnDataConfig, weights: Path | None, progress: ProgressCallback
) -> dict[str, Any]:
    """Score temporal weights (by default the shipped ones) on every set that is given; write JSON and Markdown.

    Rows: `frame`, the frame network; `temporal`, the temporal network over whole clips; `temporal_windows`, in the
    paper's windows of 20 frames, of which the middle 8 are kept."""
    body, (network, about) = Body.load(), load_temporal(weights)
    cache = result_cache(out, "hmmr")
    options = [f"--{name.replace('_', '-')} {path.name}" for name, path in data.folders().items()]
    header = result_header("hmmr", BenchmarkConfig(), _PROTOCOL, about["sha256"])
    header |= {"command": " ".join(["selfmocap reproduce hmmr", *options]), "benchmark": None}
    result = {"version": RESULTS_VERSION, "about": {**header, "seconds": 0.0}, "sets": {}}
    for name in ("threedpw", "human36m", "penn"):
        path = getattr(data, name)
        if path is None:
            continue
        needs = {"version": __version__, "weights": about["sha256"], "set": name, "data": options}
        stage = cache.run(
            name, needs, [], lambda name=name: (_score_set(name, data, network, body, progress), [])
        )
        result["sets"][name] = stage.result
        result["about"]["seconds"] += stage.seconds
        write_json(out / "hmmr.json", result, indent=1)
        write_text(out / "hmmr.md", data_hmmr_markdown(result))
    return result


def _clips(name: str, data: OwnDataConfig, body: Body) -> Iterator[LabelledClip]:
    if name == "threedpw" and data.threedpw is not None:
        return three_dpw_clips(data.threedpw, body, data.smpl_model)
    if name == "human36m" and data.human36m is not None:
        return human36m_clips(data.human36m)
    assert data.penn is not None
    return penn_action_clips(data.penn)


def _score_set(
    name: str, data: OwnDataConfig, network: TemporalNetwork, body: Body, progress: ProgressCallback
) -> dict[str, Any]:
    rows: dict[str, list[ClipErrors]] = {}
    frames, with_images = 0, 0
    for number, clip in enumerate(_clips(name, data, body)):
        progress(f"hmmr: clips of {name}", number, 0)
        frames += int(counted_frames(clip).sum())
        with_images += clip.observations.crops is not None
        for row, bodies in _predictions(network, clip).items():
            errors = clip_errors(bodies, clip, body)
            rows.setdefault(row, []).append(ClipErrors(errors, clip.sequence or clip.name))
    if not rows:
        raise ValueError(f"{getattr(data, name)}: no test clips in it")
    return {
        "rows": {
            row: _rounded(mean_over_sequences(errors)) | {"over_frames": _rounded(mean_over_frames(errors))}
            for row, errors in rows.items()
        },
        "sequences": len({one.sequence for one in rows["frame"]}),
        "frames": frames,
        "with_images": with_images,
    }


def clip_errors(bodies: BodyParameters, clip: LabelledClip, body: Body) -> dict[str, torch.Tensor]:
    """Compute the errors of 14 joints of bodies in the camera frame, or, without truth in 3D, `pck` of the labels."""
    points = estimated_points(body, bodies, clip.joint_set)
    if clip.joints is None:
        return label_scores(points, clip)
    return joint_scores(points, clip, "lsp-14")


def _rounded(scores: dict[str, float | None]) -> dict[str, Any]:
    return {name: value and round(value, 4 if name == "pck" else 3) for name, value in scores.items()}


@torch.no_grad()
def _predictions(network: TemporalNetwork, clip: LabelledClip) -> dict[str, BodyParameters]:
    network.eval()
    inputs = network_inputs(clip.observations, clip.camera, network.frame)
    follows = torch.ones(len(clip) - 1, dtype=torch.bool)
    predictions = {
        "frame": unpack_theta(extract_features(network, inputs).theta),
        "temporal": predict_sequence(network, inputs, follows),
        "temporal_windows": predict_windows(network, inputs),
    }
    return {row: prediction.parameters(inputs) for row, prediction in predictions.items()}


def predict_windows(network: TemporalNetwork, inputs: FrameInputs) -> Prediction:
    """Predict as the release of the paper: windows of 20 frames, of which the middle 8 are kept, and which extend
    beyond the ends of the clip by frames in which nothing is seen."""
    time = len(inputs.boxes)
    first = torch.arange(0, time, _KEPT)[:, None] - (_WINDOW - _KEPT) // 2
    rows = (first + torch.arange(_WINDOW)).flatten()
    outside = (rows < 0) | (rows >= time)
    windows = inputs[rows.clamp(0, time - 1)]
    windows = replace(
        windows,
        confidence=windows.confidence * ~outside[:, None],
        crops=None if windows.crops is None else windows.crops * ~outside[:, None, None, None],
        depth_confidence=(
            None if windows.depth_confidence is None else windows.depth_confidence * ~outside[:, None]
        ),
    )
    follows = torch.arange(1, len(rows)) % _WINDOW != 0
    prediction = predict_sequence(network, windows, follows)
    column = torch.arange(len(rows)) % _WINDOW - (_WINDOW - _KEPT) // 2
    kept = (column >= 0) & (column < _KEPT) & ~outside
    return Prediction(*(value[kept] for value in vars(prediction).values()))
