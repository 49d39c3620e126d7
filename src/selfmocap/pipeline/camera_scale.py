"""Find how large the world is that a moving camera saw, from people on its floor.

Images show the path of a camera up to its scale. People are seen in metres, relative to the camera. While a foot
stands, its motion relative to the camera is the camera's own, reversed. And the floor, a plane of the background, is as
far below the camera as the lower foot. Both give the metres of a path's unit, from all people of a shot together; the
floor, which is the more accurate, counts where the feet do not contradict it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.tracking.camera_path.path import CameraPath

_FOOT_COLUMNS = [DEFAULT_KEYPOINTS.index(name) for name in FOOT_POINTS]
_FOOT_HEIGHTS = np.array([0.036, 0.018, 0.036, 0.018])
"""Height of FOOT_POINTS above the floor under a flat foot, metres, of the default body; stature hardly changes it."""
_STEP_SECONDS = 0.15
"""A foot that stands does not move for this long."""
_LATERAL_NOISE, _DEPTH_NOISE = 0.015, 0.05
"""Standard deviations of a foot's motion in that time, metres: across the ray from the camera and along it."""
_SPEEDS = (0.005, 15.0)
"""Least and greatest speed of a camera, m/s, that is looked for."""
_CANDIDATES, _ITERATIONS = 240, 20
_MIN_STEPS = 10
_MAX_UNCERTAINTY = 0.3
"""Relative standard deviation of a scale that is used."""
_UNDERESTIMATED = 3.0
"""Ratio of the true standard deviation of the scale by feet to that of the least squares, whose errors it takes to be
independent."""
_FLOOR_UNCERTAINTY = 0.05
"""Relative standard deviation of the scale by the floor: that of people's sizes."""
_MAX_DEVIATIONS = 2.5
_MIN_FLOOR_COSINE, _FLOOR_TOLERANCE = 0.8, 0.025
"""Cosine of the greatest angle between the floor's normal and the mean of what is up in the images, and the distance of
a point of the floor, as a fraction of the height of the camera."""
_MIN_FLOOR_POINTS, _FLOOR_TRIALS = 20, 2000
_MIN_FLOOR_FRACTION = 0.15
"""Of the points below the camera."""
_SAME_SUPPORT = 0.6
"""Fraction of the points of the best plane from which a lower plane is the floor."""


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
    return [_shot_scale(motions, path, number, shot) for number, shot in enumerate(path.shots)]


def _shot_scale(motions: Sequence[Motion], path: CameraPath, number: int, shot: slice) -> PathScale:
    feet = _scale_by_feet(motions, path, shot)
    floor = floor_plane(path.points[path.point_shots == number], path.p_world_cam[shot])
    if floor is None:
        return feet if feet.uncertainty < _MAX_UNCERTAINTY else PathScale(0.0, feet.uncertainty)
    lower = _scale_by_floor(motions, path, shot, floor)
    if np.isfinite(feet.uncertainty):
        deviations = np.log(lower.metres_per_unit / feet.metres_per_unit) / np.hypot(
            feet.uncertainty, lower.uncertainty
        )
        return lower if abs(deviations) < _MAX_DEVIATIONS else feet
    return lower


def _scale_by_feet(motions: Sequence[Motion], path: CameraPath, shot: slice) -> PathScale:
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
    return PathScale(scale, _UNDERESTIMATED * uncertainty)


def floor_plane(
    points: Float[np.ndarray, "points 3"], eye: Float[np.ndarray, "time 3"]
) -> Float[np.ndarray, "4"] | None:
    """Find the plane (normal upwards, then the height along it) on which many points below the camera lie: the lowest
    that has nearly as many as any. None if there is no such plane."""
    below = points[points[:, 1] < eye[:, 1].min()]
    if len(below) < _MIN_FLOOR_POINTS:
        return None
    rng = np.random.default_rng(0)
    a, b, c = (below[rng.integers(len(below), size=_FLOOR_TRIALS)] for _ in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    normal = normal[length > 0] / length[length > 0, None]
    normal *= np.where(normal[:, 1:2] < 0, -1, 1)
    height = (normal * a[length > 0]).sum(1)
    drop = normal @ eye.mean(0) - height
    upright = (normal[:, 1] > _MIN_FLOOR_COSINE) & (drop > 0)
    normal, height, drop = normal[upright], height[upright], drop[upright]
    if not len(normal):
        return None
    support = (np.abs(below @ normal.T - height) < _FLOOR_TOLERANCE * drop).sum(0)
    if support.max() < max(_MIN_FLOOR_POINTS, _MIN_FLOOR_FRACTION * len(below)):
        return None
    wide = np.flatnonzero(support >= _SAME_SUPPORT * support.max())
    lowest = drop[wide] >= (1 - 2 * _FLOOR_TOLERANCE) * drop[wide].max()
    best = wide[lowest][support[wide][lowest].argmax()]
    on = below[np.abs(below @ normal[best] - height[best]) < _FLOOR_TOLERANCE * drop[best]]
    middle = on.mean(0)
    fitted = np.linalg.svd(on - middle)[2][2]
    fitted *= 1 if fitted[1] > 0 else -1
    return np.append(fitted, fitted @ middle)


def _scale_by_floor(
    motions: Sequence[Motion], path: CameraPath, shot: slice, floor: Float[np.ndarray, "4"]
) -> PathScale:
    """Compare how far the floor and people's lower feet are below the camera."""
    normal, ratios = floor[:3], []
    for motion in motions:
        frames = motion.frame_index.numpy()
        inside = (frames >= shot.start) & (frames < shot.stop)
        p_cam = motion.keypoints_cam[:, _FOOT_COLUMNS].double().numpy()[inside]
        feet = np.einsum("nji,npj,i->np", path.R_cam_world[frames[inside]], p_cam, normal)
        below = (_FOOT_HEIGHTS - feet).max(1)
        ratios.append(below / (path.p_world_cam[frames[inside]] @ normal - floor[3]))
    return PathScale(float(np.median(np.concatenate(ratios))), _FLOOR_UNCERTAINTY)


def _steps(motions: Sequence[Motion], path: CameraPath, shot: slice) -> tuple[_Steps, float]:
    """Collect the steps of all people in a shot, and the frame rate."""
    own, camera, fps = [np.zeros((0, 4, 3))], [np.zeros((0, 4, 3))], 30.0
    for motion in motions:
        fps = nominal_fps(motion.frame_index, motion.frame_times)
        frames = motion.frame_index.numpy()
        p_cam = motion.keypoints_cam[:, _FOOT_COLUMNS].double().numpy()
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
