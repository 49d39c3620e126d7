"""Validation scores of a temporal network, of its frame network, and of the frame network's filtered predictions."""

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
    correct_keypoints,
    procrustes_error,
)
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import TemporalNetwork, unpack_theta
from selfmocap.models.temporal_inference import extract_features, predict_sequence
from selfmocap.training.baseline_filters import butterworth, one_euro, one_euro_both_ways
from selfmocap.training.temporal_data import CLIP_FPS, ClipBatch

Scores = dict[str, float]
Filter = Callable[[np.ndarray], np.ndarray]

_CUTOFFS_HZ = (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)
_SPEEDS = (0.0, 0.5, 1.0, 2.0, 4.0)
_FRAMES_PER_PASS = 256
"""Frames whose vertices are computed together."""


@torch.no_grad()
def clip_scores(body: Body, prediction: Prediction, clips: ClipBatch) -> Scores:
    """Compute `mpjpe_mm`, `pa_mpjpe_mm` and acceleration errors of predictions (clips, frames, ...).

    One acceleration error is in the camera frame, one of the limbs only, relative to the pelvis. The shape of a clip is
    the mean over its frames."""
    targets = clips.targets
    joints = _joints(body, prediction.R_parent_joint, prediction.betas.mean(1, keepdim=True))
    p_cam_root = _flattened(prediction).parameters(clips.inputs).p_world_root
    estimate_root = p_cam_root.unflatten(0, targets.has_truth.shape)
    paths = joints + estimate_root[:, :, None], targets.joints + targets.p_cam_root[:, :, None]
    return {
        "mpjpe_mm": _mm(absolute_error(joints, targets.joints)),
        "pa_mpjpe_mm": _mm(procrustes_error(joints, targets.joints)),
        "acceleration_error_mm_per_frame2": _mm(_acceleration_errors(*paths)),
        "limb_acceleration_error_mm_per_frame2": _mm(_acceleration_errors(joints, targets.joints)),
    }


@torch.no_grad()
def surface_scores(body: Body, keypoints: str, prediction: Prediction, clips: ClipBatch) -> Scores:
    """Compute `surface_mm` (relative to the pelvis) and `pck` of a keypoint set, for predictions (clips, frames, ...).

    All keypoints count. The shape of a clip is the mean over its frames. Posing full bodies takes ten times as long as
    `clip_scores`."""
    targets, shape = clips.targets, clips.targets.has_truth.shape
    betas = prediction.betas.mean(1, keepdim=True).expand(*shape, -1)
    origin = torch.zeros_like(targets.p_cam_root)
    estimate = BodyParameters(betas, prediction.R_parent_joint, origin)
    truth = BodyParameters(targets.betas, targets.R_cam_joint, origin)
    estimate, truth = (
        BodyParameters(*(x.flatten(0, 1) for x in vars(bodies).values())) for bodies in (estimate, truth)
    )
    p_cam_root = _flattened(prediction).parameters(clips.inputs).p_world_root[:, None]
    flat = targets.map(lambda value: value.flatten(0, 1))
    surface, correct = [], []
    for rows in torch.arange(shape.numel()).split(_FRAMES_PER_PASS):
        vertices = body.pose(estimate[rows]).vertices
        surface.append(absolute_error(vertices, body.pose(truth[rows]).vertices).mean(-1))
        points = body.keypoints(vertices, keypoints) + p_cam_root[rows]
        pixels = project(points, flat.focal[rows], flat.center[rows])
        correct.append(correct_keypoints(pixels, flat.keypoints[rows], flat.keypoint_weight[rows] > 0))
    return {"surface_mm": _mm(torch.cat(surface)), "pck": float(torch.cat(correct).float().mean())}


def _acceleration_errors(estimate: Tensor, truth: Tensor) -> Tensor:
    return acceleration_error(*(joints.transpose(0, 1).flatten(1, 2) for joints in (estimate, truth)))


def _mm(metres: Tensor) -> float:
    return float(1000 * metres.mean())


def _joints(
    body: Body, R: Float[Tensor, "*batch 24 3 3"], betas: Float[Tensor, "*#batch betas"]
) -> Float[Tensor, "*batch 24 3"]:
    return forward_kinematics(R, body.shape(betas).joints, torch.zeros_like(R[..., 0, 0, :]))[1]


def _flattened(prediction: Prediction) -> Prediction:
    return Prediction(*(value.flatten(0, 1) for value in vars(prediction).values()))


def predict_frames(network: TemporalNetwork, clips: ClipBatch) -> Float[Tensor, "clips frames theta"]:
    """Predict theta with the frame network only."""
    return extract_features(network, clips.inputs).theta.unflatten(0, clips.targets.has_truth.shape)


def predict_clips(network: TemporalNetwork, clips: ClipBatch) -> Prediction:
    """Predict clips of any length with the temporal network."""
    shape = clips.targets.has_truth.shape
    follows = torch.ones(shape[0] * shape[1] - 1, dtype=torch.bool)
    follows[shape[1] - 1 :: shape[1]] = False
    prediction = predict_sequence(network, clips.inputs, follows)
    return Prediction(*(value.unflatten(0, shape) for value in vars(prediction).values()))


def validation_scores(network: TemporalNetwork, body: Body, clips: ClipBatch) -> dict[str, Scores]:
    """Compute `clip_scores` of the rows `frame` and `temporal`, and `hallucination_scores`."""
    training = network.training
    scores = {
        "frame": clip_scores(body, unpack_theta(predict_frames(network, clips)), clips),
        "temporal": clip_scores(body, predict_clips(network, clips), clips),
        "hallucination": hallucination_scores(network, body, clips),
    }
    network.train(training)
    return scores


@torch.no_grad()
def hallucination_scores(network: TemporalNetwork, body: Body, clips: ClipBatch) -> Scores:
    """Compute errors, relative to the pelvis, of past and future hallucinated from one frame (`past_mm`, `future_mm`).

    `past_constant_mm` and `future_constant_mm` are those of the frame network's present instead."""
    network.eval()
    reach, targets = network.config.reach, clips.targets
    features = extract_features(network, clips.inputs)
    past, _, future = network.hallucinate(features)
    constant = unpack_theta(features.theta)

    def error(prediction: Prediction, offset: int) -> float:
        joints = _joints(body, prediction.R_parent_joint, prediction.betas).unflatten(
            0, targets.has_truth.shape
        )
        time = joints.shape[1]
        present = slice(max(0, -offset), min(time, time - offset))
        shifted = slice(max(0, offset), min(time, time + offset))
        return _mm(absolute_error(joints[:, present], targets.joints[:, shifted]))

    return {
        "past_mm": error(past, -reach),
        "past_constant_mm": error(constant, -reach),
        "future_mm": error(future, reach),
        "future_constant_mm": error(constant, reach),
    }


# ---- filters --------------------------------------------------------------------------------------------------


class TunedFilter(NamedTuple):
    """A filter with its best parameters."""

    setting: dict[str, float]
    scores: Scores
    prediction: Prediction
    """(clips, frames, ...)."""


def tuned_filters(network: TemporalNetwork, body: Body, clips: ClipBatch) -> dict[str, TunedFilter]:
    """Tune the filters `butterworth` (no lag), `one_euro` (causal) and `one_euro_both_ways` (no lag) on these clips.

    They filter the predictions of the frame network. The best parameters have the least acceleration error among those
    whose MPJPE is no worse than unfiltered, or the least MPJPE if there are none."""
    theta = predict_frames(network, clips)
    unfiltered = clip_scores(body, unpack_theta(theta), clips)["mpjpe_mm"]
    rows = {}
    for name, settings in _settings().items():
        tried = [
            (setting, clip_scores(body, _filtered(theta, smooth), clips), smooth)
            for setting, smooth in settings
        ]
        good = [row for row in tried if row[1]["mpjpe_mm"] <= unfiltered]
        key = "acceleration_error_mm_per_frame2" if good else "mpjpe_mm"
        setting, scores, smooth = min(good or tried, key=lambda row: row[1][key])
        rows[name] = TunedFilter(setting, scores, _filtered(theta, smooth))
    return rows


def filtered_scores(
    network: TemporalNetwork, body: Body, clips: ClipBatch
) -> dict[str, dict[str, Scores | dict[str, float]]]:
    """Compute the parameters and scores of `tuned_filters`."""
    rows = tuned_filters(network, body, clips)
    return {name: {"setting": row.setting, "scores": row.scores} for name, row in rows.items()}


def _settings() -> dict[str, Sequence[tuple[dict[str, float], Filter]]]:
    def euro(both: bool, hz: float, speed: float) -> Filter:
        run = one_euro_both_ways if both else one_euro
        return lambda values: run(values, hz, speed, CLIP_FPS)

    def low_pass(hz: float) -> Filter:
        return lambda values: butterworth(values, hz, CLIP_FPS)

    grid = list(product(_CUTOFFS_HZ, _SPEEDS))
    return {
        "butterworth": [({"cutoff_hz": hz}, low_pass(hz)) for hz in _CUTOFFS_HZ],
        "one_euro": [({"cutoff_hz": hz, "speed": s}, euro(False, hz, s)) for hz, s in grid],
        "one_euro_both_ways": [({"cutoff_hz": hz, "speed": s}, euro(True, hz, s)) for hz, s in grid],
    }


def _filtered(theta: Float[Tensor, "clips frames theta"], smooth: Filter) -> Prediction:
    """Filter theta over time; rotations are orthonormalised afterwards."""
    values = smooth(theta.transpose(0, 1).double().numpy())
    return unpack_theta(torch.from_numpy(values).to(theta).transpose(0, 1))
