"""Find how large the world is that a moving camera saw, from feet that stand.

Images show the path of a camera up to its scale. People are seen in metres, relative to the camera; while a foot
stands, its motion relative to the camera is the camera's own, reversed. That gives the metres of a path's unit, from
all people of a shot together."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.tracking.camera_path.path import CameraPath

_STEP_SECONDS = 0.15
"""A foot that stands does not move for this long."""
_LATERAL_NOISE, _DEPTH_NOISE = 0.015, 0.05
"""Standard deviations of a foot's motion in that time, metres: across the ray from the camera and along it."""
_SPEEDS = (0.005, 15.0)
"""Least and greatest speed of a camera, m/s, that is looked for."""
_CANDIDATES, _ITERATIONS = 240, 20
_MIN_STEPS = 10
_MAX_UNCERTAINTY = 0.25
"""Relative standard deviation of a scale that is used."""


@dataclass(frozen=True)
class PathScale:
    """The scale of one shot's path."""

    metres_per_unit: float
    """0 where the feet do not show it."""
    uncertainty: float
    """Relative standard deviation; infinite where it is not known."""


@dataclass(frozen=True, eq=False)
class _Steps:
    """Motions of the foot points of one person over _STEP_SECONDS: `own` + scale * `camera`, whitened."""

    own: Float[np.ndarray, "steps points 3"]
    camera: Float[np.ndarray, "steps points 3"]


def path_scales(motions: Sequence[Motion], path: CameraPath) -> list[PathScale]:
    """Find the scale of each shot of a path, from motions whose joints are in the frame of the camera, in metres."""
    return [_shot_scale(motions, path, shot) for shot in path.shots]


def _shot_scale(motions: Sequence[Motion], path: CameraPath, shot: slice) -> PathScale:
    unknown = PathScale(0.0, np.inf)
    eye = path.p_world_cam[shot]
    if len(eye) < 2 or not np.ptp(eye, axis=0).any():
        return unknown
    steps, fps = _steps(motions, path, shot)
    if len(steps.own) < _MIN_STEPS:
        return unknown
    unit_speed = np.median(np.linalg.norm(np.diff(eye, axis=0), axis=1)) * fps
    if unit_speed == 0:
        return unknown
    candidates = np.geomspace(*_SPEEDS, _CANDIDATES) / unit_speed
    scale = float(candidates[np.argmin([_cost(steps, one) for one in candidates])])
    information = 0.0
    for _ in range(_ITERATIONS):
        b, a, weight = _standing(steps, scale)
        information = float((weight * (b * b).sum(1)).sum())
        scale = -float((weight * (a * b).sum(1)).sum()) / max(information, 1e-12)
    if scale <= 0:
        return unknown
    # Steps that begin in neighbouring frames share most of their time.
    uncertainty = float(np.sqrt(max(round(_STEP_SECONDS * fps), 1) / max(information, 1e-12)) / scale)
    return PathScale(scale, uncertainty) if uncertainty < _MAX_UNCERTAINTY else PathScale(0.0, uncertainty)


def _steps(motions: Sequence[Motion], path: CameraPath, shot: slice) -> tuple[_Steps, float]:
    """Collect the steps of all people in a shot, and the frame rate."""
    own, camera, fps = [np.zeros((0, 4, 3))], [np.zeros((0, 4, 3))], 30.0
    columns = [DEFAULT_KEYPOINTS.index(name) for name in FOOT_POINTS]
    for motion in motions:
        fps = nominal_fps(motion.frame_index, motion.frame_times)
        frames = motion.frame_index.numpy()
        p_cam = motion.keypoints_cam[:, columns].double().numpy()
        apart = max(round(_STEP_SECONDS * fps), 1)
        later = np.searchsorted(frames, frames + apart).clip(max=len(frames) - 1)
        inside = (frames[later] - frames == apart) & (frames >= shot.start) & (frames[later] < shot.stop)
        i, j = np.flatnonzero(inside), later[inside]
        before, after = (np.einsum("nji,npj->npi", path.R_cam_world[frames[n]], p_cam[n]) for n in (i, j))
        moved = path.p_world_cam[frames[j]] - path.p_world_cam[frames[i]]
        ray = before / np.linalg.norm(before, axis=2, keepdims=True)
        own.append(_whitened(after - before, ray))
        camera.append(_whitened(np.repeat(moved[:, None], 4, axis=1), ray))
    return _Steps(np.concatenate(own), np.concatenate(camera)), fps


def _whitened(v: np.ndarray, ray: np.ndarray) -> np.ndarray:
    """Divide a vector by its noise, across the ray and along it."""
    along = (v * ray).sum(2, keepdims=True) * ray
    return (v - along) / _LATERAL_NOISE + along / _DEPTH_NOISE


def _cost(steps: _Steps, scale: float) -> float:
    """Sum over all steps how much the stillest point of a person's feet moves."""
    squared = ((steps.own + scale * steps.camera) ** 2).sum(2).min(1)
    return float(np.log1p(squared).sum())


def _standing(steps: _Steps, scale: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the camera's and the own motion of the stillest point of each step, and its Cauchy weight."""
    squared = ((steps.own + scale * steps.camera) ** 2).sum(2)
    stillest = squared.argmin(1)
    rows = np.arange(len(stillest))
    return steps.camera[rows, stillest], steps.own[rows, stillest], 1 / (1 + squared[rows, stillest])
