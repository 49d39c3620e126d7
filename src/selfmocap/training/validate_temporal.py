"""How well a clip's motion, and its past and future, are told: by a temporal network, by the frame network that it
looks through, and by that one's answers filtered."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.geometry.camera import project
from selfmocap.losses.metrics import (
    absolute_error,
    acceleration_error,
    procrustes_error,
    right_keypoints,
)
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import TemporalNetwork, prediction_of
from selfmocap.models.temporal_inference import glimpses_of, predict_sequence
from selfmocap.training.baseline_filters import butterworth, one_euro, one_euro_both_ways
from selfmocap.training.temporal_data import FPS, Clips

Scores = dict[str, float]
Filter = Callable[[np.ndarray], np.ndarray]

_CUTOFFS_HZ = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
_SPEEDS = (0.0, 0.5, 1.0, 2.0, 4.0)
_AT_ONCE = 256
"""Frames whose surface is there at once."""


@torch.no_grad()
def clip_scores(body: Body, prediction: Prediction, clips: Clips) -> Scores:
    """`mpjpe_mm`, `pa_mpjpe_mm`, and acceleration errors in the camera frame and of the limbs alone (from the pelvis),
    for predictions (clips, frames, ...); each clip with its mean shape."""
    targets = clips.targets
    joints = _joints(body, prediction.R_parent_joint, prediction.betas.mean(1, keepdim=True))
    place = _flattened(prediction).parameters(clips.inputs).p_world_root.unflatten(0, targets.known.shape)
    path = joints + place[:, :, None], targets.joints + targets.p_cam_root[:, :, None]
    return {
        "mpjpe_mm": _mm(absolute_error(joints, targets.joints)),
        "pa_mpjpe_mm": _mm(procrustes_error(joints, targets.joints)),
        "acceleration_error_mm_per_frame2": _mm(_accelerations_apart(*path)),
        "limb_acceleration_error_mm_per_frame2": _mm(_accelerations_apart(joints, targets.joints)),
    }


@torch.no_grad()
def surface_scores(body: Body, keypoints: str, prediction: Prediction, clips: Clips) -> Scores:
    """`surface_mm`, from the pelvis, and `pck` of the set `keypoints`, all of which count, for predictions (clips,
    frames, ...); each clip with its mean shape. Posing whole bodies takes ten times as long as `clip_scores`."""
    targets, shape = clips.targets, clips.targets.known.shape
    betas = prediction.betas.mean(1, keepdim=True).expand(*shape, -1)
    origin = torch.zeros_like(targets.p_cam_root)
    ours = BodyParameters(betas, prediction.R_parent_joint, origin)
    theirs = BodyParameters(targets.betas, targets.R_cam_joint, origin)
    ours, theirs = (BodyParameters(*(x.flatten(0, 1) for x in vars(one).values())) for one in (ours, theirs))
    place = _flattened(prediction).parameters(clips.inputs).p_world_root[:, None]
    known = targets.map(lambda value: value.flatten(0, 1))
    surface, right = [], []
    for rows in torch.arange(shape.numel()).split(_AT_ONCE):
        vertices = body.pose(ours[rows]).vertices
        surface.append(absolute_error(vertices, body.pose(theirs[rows]).vertices).mean(-1))
        points = body.keypoints(vertices, keypoints) + place[rows]
        pixels = project(points, known.focal[rows], known.center[rows])
        right.append(right_keypoints(pixels, known.keypoints[rows], known.seen[rows] > 0))
    return {"surface_mm": _mm(torch.cat(surface)), "pck": float(torch.cat(right).float().mean())}


def _accelerations_apart(estimate: Tensor, truth: Tensor) -> Tensor:
    return acceleration_error(*(joints.transpose(0, 1).flatten(1, 2) for joints in (estimate, truth)))


def _mm(metres: Tensor) -> float:
    return float(1000 * metres.mean())


def _joints(
    body: Body, R: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*#batch betas"]
) -> Float[Tensor, "*batch 24 3"]:
    return forward_kinematics(R, body.shape(betas).joints, torch.zeros_like(R[..., 0, 0, :]))[1]


def _flattened(prediction: Prediction) -> Prediction:
    return Prediction(*(value.flatten(0, 1) for value in vars(prediction).values()))


def frame_answers(network: TemporalNetwork, clips: Clips) -> Float[Tensor, "clips frames numbers"]:
    """What the frame network says by itself."""
    return glimpses_of(network, clips.inputs).answers.unflatten(0, clips.targets.known.shape)


def temporal_answers(network: TemporalNetwork, clips: Clips) -> Prediction:
    """What the temporal network says of clips of any length."""
    shape = clips.targets.known.shape
    follows = torch.ones(shape[0] * shape[1] - 1, dtype=torch.bool)
    follows[shape[1] - 1 :: shape[1]] = False
    found = predict_sequence(network, clips.inputs, follows)
    return Prediction(*(value.unflatten(0, shape) for value in vars(found).values()))


def validation_scores(network: TemporalNetwork, body: Body, clips: Clips) -> dict[str, Scores]:
    """The rows `frame` and `temporal` of `clip_scores`, and `hallucination`, see `hallucination_scores`."""
    training = network.training
    scores = {
        "frame": clip_scores(body, prediction_of(frame_answers(network, clips)), clips),
        "temporal": clip_scores(body, temporal_answers(network, clips), clips),
        "hallucination": hallucination_scores(network, body, clips),
    }
    network.train(training)
    return scores


@torch.no_grad()
def hallucination_scores(network: TemporalNetwork, body: Body, clips: Clips) -> Scores:
    """Errors from the pelvis of the past and the future that one frame tells (`past_mm`, `future_mm`), and of repeating
    the frame network's present instead (`past_constant_mm`, `future_constant_mm`)."""
    network.eval()
    reach, targets = network.config.reach, clips.targets
    seen = glimpses_of(network, clips.inputs)
    past, _, future = network.around(seen)
    constant = prediction_of(seen.answers)

    def error(prediction: Prediction, offset: int) -> float:
        joints = _joints(body, prediction.R_parent_joint, prediction.betas).unflatten(0, targets.known.shape)
        time = joints.shape[1]
        here = slice(max(0, -offset), min(time, time - offset))
        there = slice(max(0, offset), min(time, time + offset))
        return _mm(absolute_error(joints[:, here], targets.joints[:, there]))

    return {
        "past_mm": error(past, -reach),
        "past_constant_mm": error(constant, -reach),
        "future_mm": error(future, reach),
        "future_constant_mm": error(constant, reach),
    }


# ---- filters --------------------------------------------------------------------------------------------------


class Tuned(NamedTuple):
    """A filter at its best."""

    setting: dict[str, float]
    scores: Scores
    prediction: Prediction
    """(clips, frames, ...)."""


def tuned_filters(network: TemporalNetwork, body: Body, clips: Clips) -> dict[str, Tuned]:
    """The rows `butterworth` (no lag), `one_euro` (causal, as it is used live) and `one_euro_both_ways` (no lag) over
    the frame network's answers, with the settings that are best on these very clips: those of the least acceleration
    error among all whose MPJPE is no worse than unfiltered, or the least MPJPE where none is."""
    answers = frame_answers(network, clips)
    plain = clip_scores(body, prediction_of(answers), clips)["mpjpe_mm"]
    rows = {}
    for name, settings in _settings().items():
        tried = [
            (setting, clip_scores(body, _filtered(answers, smooth), clips), smooth)
            for setting, smooth in settings
        ]
        good = [row for row in tried if row[1]["mpjpe_mm"] <= plain]
        key = "acceleration_error_mm_per_frame2" if good else "mpjpe_mm"
        setting, scores, smooth = min(good or tried, key=lambda row: row[1][key])
        rows[name] = Tuned(setting, scores, _filtered(answers, smooth))
    return rows


def filtered_scores(
    network: TemporalNetwork, body: Body, clips: Clips
) -> dict[str, dict[str, Scores | dict[str, float]]]:
    """The settings and scores of `tuned_filters`."""
    rows = tuned_filters(network, body, clips)
    return {name: {"setting": row.setting, "scores": row.scores} for name, row in rows.items()}


def _settings() -> dict[str, Sequence[tuple[dict[str, float], Filter]]]:
    def euro(both: bool, hz: float, speed: float) -> Filter:
        run = one_euro_both_ways if both else one_euro
        return lambda values: run(values, hz, speed, FPS)

    def low_pass(hz: float) -> Filter:
        return lambda values: butterworth(values, hz, FPS)

    grid = list(product(_CUTOFFS_HZ, _SPEEDS))
    return {
        "butterworth": [({"cutoff_hz": hz}, low_pass(hz)) for hz in _CUTOFFS_HZ],
        "one_euro": [({"cutoff_hz": hz, "speed": s}, euro(False, hz, s)) for hz, s in grid],
        "one_euro_both_ways": [({"cutoff_hz": hz, "speed": s}, euro(True, hz, s)) for hz, s in grid],
    }


def _filtered(answers: Float[Tensor, "clips frames numbers"], smooth: Filter) -> Prediction:
    """Rotations as their first two columns, orthonormal again afterwards."""
    values = smooth(answers.transpose(0, 1).double().numpy())
    return prediction_of(torch.from_numpy(values).to(answers).transpose(0, 1))
