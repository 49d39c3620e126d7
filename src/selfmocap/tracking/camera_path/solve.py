"""Estimate the path of a camera from the background of its video."""

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from selfmocap.geometry.focal_prior import LogNormal
from selfmocap.tracking.camera_path.bundle import Sightings, Structure, residuals
from selfmocap.tracking.camera_path.path import CameraKind, CameraPath
from selfmocap.tracking.camera_path.poses import between_keyframes, refine_poses
from selfmocap.tracking.camera_path.structure import (
    SIGHTING_NOISE_PX,
    ShotStructure,
    solve_focal,
    solve_shot,
)
from selfmocap.tracking.camera_path.tracks import BackgroundTracks

_POINTS_PER_KEYFRAME = 160
"""Points that are adjusted."""
_MIN_INLIER_FRACTION = 0.5
_FOCAL_FRAMES, _FOCAL_ATTEMPTS = 24, 6
"""Frames from which the focal length is estimated, and how often from the last estimate."""
_MIN_PARALLAX = 0.05
"""Radians."""
_MAX_DEVIATIONS = 6.0
"""Standard deviations of a sighting that a well-known point may be off."""


def solve_path(tracks: BackgroundTracks, focal_px: float, center_px: tuple[float, float]) -> CameraPath:
    """Estimate the path of a camera of known focal length (px of the frame) from the tracked background.

    A shot whose background does not agree on one rigid world is `unknown`: its camera is level and static."""
    R = np.tile(np.diag([1.0, -1.0, -1.0]), (tracks.frames, 1, 1))
    eye, known = np.zeros((tracks.frames, 3)), np.zeros(tracks.frames, bool)
    kinds: list[CameraKind] = []
    solved: list[ShotStructure] = []
    points, point_shots = [np.zeros((0, 3))], [np.zeros(0, int)]
    ends = [*tracks.shot_starts[1:].tolist(), tracks.frames]
    for start, end in zip(tracks.shot_starts.tolist(), ends, strict=True):
        shot = slice(start, end)
        result = _solve_shot(tracks, shot, focal_px, center_px)
        if result is None:
            kinds.append("unknown")
            continue
        structure, (R[shot], eye[shot], known[shot]) = result
        solved.append(structure)
        kinds.append("moving" if structure.moves else "turning")
        axes = _level_axes(R[shot])
        near = _near_points(structure, eye[shot])
        points.append((near - eye[start]) @ axes.T)
        point_shots.append(np.full(len(near), len(kinds) - 1))
        R[shot], eye[shot] = R[shot] @ axes.T, (eye[shot] - eye[start]) @ axes.T
    ratios = np.exp(np.concatenate([one.structure.log_focal for one in solved])) if solved else np.ones(1)
    return CameraPath(
        R, eye, known, tracks.shot_starts, tuple(kinds), np.concatenate(points), np.concatenate(point_shots),
        inlier_fraction=float(np.mean([one.inlier_fraction for one in solved])) if solved else 0.0,
        error_px=float(np.mean([one.error_px for one in solved])) / tracks.work_scale if solved else 0.0,
        focal_ratio=(float(ratios.min()), float(ratios.max())),
        loops=tracks.loops,
    )  # fmt: skip


def focal_from_background(
    tracks: BackgroundTracks, focal_px: float, center_px: tuple[float, float]
) -> LogNormal | None:
    """Estimate the focal length (px) of one shot from the background before a camera that turns or moves, starting
    from a guess; see `solve_focal`. None where one estimate leads to another."""
    rows = np.unique(np.linspace(0, tracks.frames - 1, _FOCAL_FRAMES).astype(int))
    for _ in range(_FOCAL_ATTEMPTS):
        seen, points = _sightings(tracks, rows, focal_px, center_px)
        found = solve_focal(seen, len(rows), points, focal_px * tracks.work_scale) if points else None
        if found is None:
            return None
        focal_px *= found.median
        if abs(math.log(found.median)) < found.log_spread / 2:
            return LogNormal(focal_px, found.log_spread)
    return None


def _sightings(
    tracks: BackgroundTracks, rows: np.ndarray, focal_px: float, center_px: tuple[float, float]
) -> tuple[Sightings, int]:
    """Return where the points that are seen most often are seen in some frames (cameras), and their number."""
    inside = np.isin(tracks.row, rows)
    ray = (tracks.pixel[inside] - np.array(center_px)) / focal_px
    noise = SIGHTING_NOISE_PX / (focal_px * tracks.work_scale)
    seen = Sightings(np.searchsorted(rows, tracks.row[inside]), tracks.point[inside], ray, noise)
    chosen = _spread_points(seen)
    seen = seen.only(np.isin(seen.point, chosen))
    return replace(seen, point=np.searchsorted(chosen, seen.point)), len(chosen)


def _solve_shot(
    tracks: BackgroundTracks, shot: slice, focal_px: float, center_px: tuple[float, float]
) -> tuple[ShotStructure, tuple[np.ndarray, np.ndarray, np.ndarray]] | None:
    """Solve one shot: its keyframes, and pose, position and certainty of each frame; None without a rigid world."""
    inside = (tracks.row >= shot.start) & (tracks.row < shot.stop)
    ray = (tracks.pixel[inside] - np.array(center_px)) / focal_px
    noise = SIGHTING_NOISE_PX / (focal_px * tracks.work_scale)
    seen = Sightings(tracks.row[inside] - shot.start, tracks.point[inside], ray, noise)
    keyframes = (
        tracks.keyframes[(tracks.keyframes >= shot.start) & (tracks.keyframes < shot.stop)] - shot.start
    )
    at_keyframes = seen.only(np.isin(seen.camera, keyframes))
    chosen = _spread_points(at_keyframes)
    if not len(chosen):
        return None
    number = np.full(int(tracks.point.max()) + 1, -1)
    number[chosen] = np.arange(len(chosen))
    own = at_keyframes.only(number[at_keyframes.point] >= 0)
    cameras = np.searchsorted(keyframes, own.camera)
    own = Sightings(cameras, number[own.point], own.ray, noise)
    solved = solve_shot(own, len(keyframes), len(chosen), focal_px * tracks.work_scale)
    if not solved.known.any() or solved.inlier_fraction < _MIN_INLIER_FRACTION:
        return None
    every = np.arange(shot.stop - shot.start)
    R, t = between_keyframes(_select_cameras(solved.structure, solved.known), keyframes[solved.known], every)
    seen = seen.only(number[seen.point] >= 0)
    seen = replace(seen, point=number[seen.point])
    usable = np.bincount(own.point, solved.known[own.camera], minlength=len(chosen)) >= 2
    R, t, measured = refine_poses(R, t, solved.structure, keyframes, seen, usable, solved.moves)
    return solved, (R, -np.einsum("nji,nj->ni", R, t), measured)


def _select_cameras(structure: Structure, kept: np.ndarray) -> Structure:
    return replace(structure, R=structure.R[kept], t=structure.t[kept], log_focal=structure.log_focal[kept])


def _spread_points(seen: Sightings) -> Int[np.ndarray, " chosen"]:
    """Choose the points that are seen most often, up to _POINTS_PER_KEYFRAME in each keyframe, at least twice each."""
    count = np.bincount(seen.point) if len(seen.point) else np.zeros(0, int)
    chosen = np.zeros(len(count), bool)
    for camera in np.unique(seen.camera):
        here = seen.point[seen.camera == camera]
        order = here[np.argsort(-count[here], kind="stable")]
        chosen[order[:_POINTS_PER_KEYFRAME]] = True
    return np.flatnonzero(chosen & (count >= 2))


def _near_points(solved: ShotStructure, eye: np.ndarray) -> Float[np.ndarray, "points 3"]:
    """Return the points that are seen from directions at least _MIN_PARALLAX apart, and where they should be."""
    X = solved.structure.points
    if not solved.moves:
        return np.zeros((0, 3))
    error = np.linalg.norm(residuals(solved.structure, solved.seen), axis=1) / solved.seen.noise
    worst = np.zeros(len(X))
    np.maximum.at(worst, solved.seen.point, error)
    count = np.bincount(solved.seen.point, minlength=len(X))
    kept = (np.abs(X[:, 3]) > 1e-9) & (worst < _MAX_DEVIATIONS) & (count > 2)
    places = X[kept, :3] / X[kept, 3:]
    extent = np.linalg.norm(np.ptp(eye, axis=0))
    return places[np.linalg.norm(places - eye.mean(0), axis=1) * _MIN_PARALLAX < extent]


def _level_axes(R: np.ndarray) -> Float[np.ndarray, "3 3"]:
    """Compute the rotation to a world whose y is the mean of what is up in the images, and -z the direction of the
    first view."""
    up = -R[:, 1].mean(0)
    up /= np.linalg.norm(up)
    back = -R[0, 2] + (R[0, 2] @ up) * up
    if np.linalg.norm(back) < 1e-3:
        back = np.cross(R[0, 0], up)
    back /= np.linalg.norm(back)
    return np.stack([np.cross(up, back), up, back])
