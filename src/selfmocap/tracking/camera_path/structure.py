"""Poses of the keyframes of one shot: a camera that turns, or one that also moves, from the tracked background.

A turning camera is tried first. If it leaves points unexplained, two keyframes with parallax give a first structure
(essential matrix; Nister 2004), the other keyframes are added by resection, and bundle adjustment refines all."""

import math
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial.transform import Rotation

from selfmocap.geometry.focal_prior import LogNormal
from selfmocap.tracking.camera_path.bundle import (
    Focal,
    Sightings,
    Structure,
    adjust,
    focal_spread,
    residuals,
)

SIGHTING_NOISE_PX = 0.5
"""Standard deviation of a tracked point, px of the work image."""
_MAX_ERROR_PX = 3.0
"""A sighting that is farther from its place, px of the work image, is of something that moves by itself."""
_ROTATION_MAX_PX = 1.0
"""A camera that only turns explains the points of a keyframe within this, px of the work image (median)."""
_FOCALS: tuple[Focal, ...] = ("given", "shared", "zoom")
_MAX_LOG_FOCAL = np.log(6.0)
_FOCAL_ITERATIONS = 40
_MIN_FOCAL_SPREAD = 0.02
_MIN_SHARED = 20
"""Points that two keyframes must share."""
_MIN_POINT_SIGHTINGS = 3
_MIN_EXTENT = 0.03
"""Length of a path over the distance of half of the points."""
MEDIAN_OF_NOISE = 1.18
"""Median length of a two-dimensional error of standard deviation one."""
_MIN_NOISE_PX = 0.05
_RANSAC_CONFIDENCE = 0.9999
_BEST_ANGLE_DEG = 12.0
"""Angle between the rays of a point beyond which more parallax is not better."""
_MIN_PARALLAX_DEG = 0.3


@dataclass(frozen=True, eq=False)
class ShotStructure:
    """The keyframes of one shot."""

    structure: Structure
    seen: Sightings
    known: Bool[np.ndarray, " cameras"]
    """False for keyframes whose translation could not be found."""
    moves: bool
    """The camera moves from its place; false if it only turns, or no parallax is seen."""
    error_px: float
    """Median distance of a sighting from its place, px of the work image."""
    inlier_fraction: float
    """Fraction of the sightings that the structure explains."""


def solve_shot(seen: Sightings, cameras: int, points: int, focal_px: float) -> ShotStructure:
    """Estimate the poses of the keyframes of a shot. The first keyframe is the world.

    `focal_px` is the focal length in px of the work image, by which the noise of a sighting is known."""
    turning = adjust(solve_rotations(seen, cameras, points), seen, 20, translation=False)
    turns = _turning_shot(turning, seen, cameras, focal_px)
    if turns is not None and turns.structure.log_focal.any():
        return turns
    structure, known = solve_poses(turning, seen, cameras, points, focal_px)
    moves = _shot(structure, seen, known, True, focal_px)
    return moves if turns is None or _is_better(moves, turns, focal_px) else turns


def _turning_shot(turning: Structure, seen: Sightings, cameras: int, focal_px: float) -> ShotStructure | None:
    """Explain what is seen by a camera that only turns, if need be of another focal length, or with a zoom; None if
    that fails."""
    for focal in _FOCALS:
        tried = adjust(turning, seen, 30, translation=False, focal=focal)
        plausible = np.abs(tried.log_focal).max() < _MAX_LOG_FOCAL
        if plausible and _explains(_errors_px(tried, seen, focal_px), seen):
            return _shot(tried, seen, np.ones(cameras, bool), False, focal_px)
    return None


def _errors_px(structure: Structure, seen: Sightings, focal_px: float) -> Float[np.ndarray, " seen"]:
    return np.linalg.norm(residuals(structure, seen), axis=1) * focal_px


def _explains(error_px: np.ndarray, seen: Sightings) -> bool:
    """Decide whether nine of ten keyframes have a median error below _ROTATION_MAX_PX."""
    medians = [np.median(error_px[seen.camera == c]) for c in np.unique(seen.camera)]
    return bool(np.quantile(medians, 0.9) < _ROTATION_MAX_PX)


def _is_better(moves: ShotStructure, turns: ShotStructure, focal_px: float) -> bool:
    """Decide by the Bayesian information criterion (Schwarz 1978) whether translations and depths are worth their
    number.

    Of a path that is short beside the distance of the background, people show no scale: the turning camera is kept."""
    places = moves.structure.points
    eyes = -np.einsum("nji,nj->ni", moves.structure.R, moves.structure.t)
    near = np.abs(places[:, 3]) * np.linalg.norm(np.ptp(eyes, axis=0)) > _MIN_EXTENT * np.linalg.norm(
        places[:, :3], axis=1
    )
    if not moves.known.all() or near.mean() < 0.5:
        return False
    return _explains_more(moves, turns, focal_px, np.log(2 * len(moves.seen.point)))


def _explains_more(moves: ShotStructure, turns: ShotStructure, focal_px: float, price: float) -> bool:
    """Decide whether translations and depths, which a turning camera does not need, lower twice the negative
    log-likelihood by `price` each. The noise is that of the moving camera."""
    noise = max(moves.error_px / MEDIAN_OF_NOISE, _MIN_NOISE_PX)
    costs = [
        2 * np.log1p((_errors_px(one.structure, one.seen, focal_px) / (2 * noise)) ** 2).sum()
        for one in (turns, moves)
    ]
    extra = 3 * len(moves.known) + len(moves.structure.points)
    return bool(costs[0] - costs[1] > extra * price)


def solve_focal(seen: Sightings, cameras: int, points: int, focal_px: float) -> LogNormal | None:
    """Estimate the ratio of the focal length to `focal_px`, which made the rays, and its spread, by bundle adjustment
    with one focal length for all cameras; None where neither a turning nor a moving camera explains what is seen.

    A camera that turns and moves a little looks like one that turns and has another lens. So translations are kept
    where they are worth their number by the criterion of Akaike (1974)."""
    rotations = adjust(solve_rotations(seen, cameras, points), seen, 20, translation=False)
    turns = _with_focal(rotations, seen, np.ones(cameras, bool), False, focal_px)
    structure, known = solve_poses(rotations, seen, cameras, points, focal_px)
    best = turns
    if known.all():
        moves = _with_focal(structure, seen, known, True, focal_px)
        best = moves if _explains_more(moves, turns, focal_px, 2.0) else turns
    if not _explains(_errors_px(best.structure, seen, focal_px), seen):
        return None
    noise = max(best.error_px / MEDIAN_OF_NOISE, SIGHTING_NOISE_PX) / SIGHTING_NOISE_PX
    spread = noise * focal_spread(best.structure, seen, best.moves)
    return LogNormal(float(np.exp(best.structure.log_focal[0])), math.hypot(spread, _MIN_FOCAL_SPREAD))


def _with_focal(
    structure: Structure, seen: Sightings, known: np.ndarray, moves: bool, focal_px: float
) -> ShotStructure:
    adjusted = adjust(structure, seen, _FOCAL_ITERATIONS, translation=moves, focal="shared")
    return _shot(adjusted, seen, known, moves, focal_px)


def _shot(
    structure: Structure, seen: Sightings, known: np.ndarray, moves: bool, focal_px: float
) -> ShotStructure:
    error = _errors_px(structure, seen, focal_px)[known[seen.camera]]
    inlier = error < _MAX_ERROR_PX
    if not inlier.any():
        return ShotStructure(structure, seen, np.zeros_like(known), moves, np.inf, 0.0)
    return ShotStructure(structure, seen, known, moves, float(np.median(error[inlier])), float(inlier.mean()))


# ---- a camera that turns --------------------------------------------------------------------------------------


def solve_rotations(seen: Sightings, cameras: int, points: int) -> Structure:
    """Chain the rotations between successive keyframes; points are where their first keyframe sees them."""
    R = np.tile(np.eye(3), (cameras, 1, 1))
    for camera in range(1, cameras):
        a, b = _common(seen, camera - 1, camera)
        R[camera] = relative_rotation(_unit(seen.ray[a]), _unit(seen.ray[b])) @ R[camera - 1]
    world = np.einsum("nji,nj->ni", R[seen.camera], _unit(seen.ray))
    X = np.zeros((points, 4))
    np.add.at(X[:, :3], seen.point, world)
    X[:, 2] += np.abs(X).sum(1) == 0
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    return Structure(R, np.zeros((cameras, 3)), X, np.zeros(cameras))


def relative_rotation(
    a: Float[np.ndarray, "n 3"], b: Float[np.ndarray, "n 3"], scale: float = 0.005
) -> Float[np.ndarray, "3 3"]:
    """Compute the rotation that turns unit rays `a` to `b`, with Cauchy weights of `scale` radians; the identity for
    fewer than two rays."""
    if len(a) < 2:
        return np.eye(3)
    weight, R = np.ones(len(a)), np.eye(3)
    for width in (16 * scale, 8 * scale, 4 * scale, 2 * scale, *[scale] * 6):
        U, _, Vh = np.linalg.svd((b * weight[:, None]).T @ a)
        R = U @ np.diag([1, 1, np.linalg.det(U @ Vh)]) @ Vh
        weight = 1 / (1 + ((b - a @ R.T) ** 2).sum(1) / width**2)
    return R


def _unit(ray: np.ndarray) -> np.ndarray:
    full = np.concatenate([ray, np.ones((len(ray), 1))], axis=1)
    return full / np.linalg.norm(full, axis=1, keepdims=True)


def _common(seen: Sightings, a: int, b: int) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Return the rows of the sightings of the points that two cameras share."""
    in_a, in_b = np.flatnonzero(seen.camera == a), np.flatnonzero(seen.camera == b)
    _, i, j = np.intersect1d(seen.point[in_a], seen.point[in_b], return_indices=True)
    return in_a[i], in_b[j]


# ---- a camera that moves --------------------------------------------------------------------------------------


def solve_poses(
    turning: Structure, seen: Sightings, cameras: int, points: int, focal_px: float
) -> tuple[Structure, Bool[np.ndarray, " cameras"]]:
    """Estimate rotations and translations of all keyframes, and which are known."""
    pair = _best_pair(turning, seen, cameras, focal_px)
    known = np.zeros(cameras, bool)
    if pair is None:
        return turning, known
    (first, second), R_second, t_second = pair
    R, t = turning.R.copy(), np.zeros((cameras, 3))
    # The world of the turning cameras is kept: it is turned so that the first of the pair has its pose there.
    R[second], t[second] = R_second @ R[first], t_second
    known[[first, second]] = True
    structure = Structure(R, t, turning.points, np.zeros(cameras))
    structure = _refined(structure, seen, known, points, first, 10)
    while (camera := _next_camera(structure, seen, known)) is not None:
        pose = _resection(structure, seen.only(seen.camera == camera), known, seen, focal_px)
        near = int(np.flatnonzero(known)[np.argmin(np.abs(np.flatnonzero(known) - camera))])
        R, t = structure.R.copy(), structure.t.copy()
        R[camera], t[camera] = pose if pose is not None else (R[near], t[near])
        known[camera] = True
        structure = replace(structure, R=R, t=t)
        if known.sum() % 5 == 0 or known.sum() < 8:
            structure = _refined(structure, seen, known, points, first, 4)
        else:
            structure = replace(structure, points=_triangulated(structure, seen, known))
    structure = _refined(structure, seen, known, points, first, 40)
    return structure, known


def _best_pair(
    turning: Structure, seen: Sightings, cameras: int, focal_px: float
) -> tuple[tuple[int, int], np.ndarray, np.ndarray] | None:
    """Find the pair of keyframes with the most points that agree on one motion with parallax, and the relative pose of
    the second."""
    import cv2

    best, found = 0.0, None
    for first in range(0, cameras, max(1, cameras // 12)):
        for second in range(first + 1, min(first + 14, cameras)):
            a, b = _common(seen, first, second)
            if len(a) < _MIN_SHARED:
                break
            E, mask = cv2.findEssentialMat(
                seen.ray[a], seen.ray[b], np.eye(3), cv2.RANSAC, _RANSAC_CONFIDENCE, 1.5 / focal_px
            )
            if E is None or E.shape != (3, 3):
                continue
            _, R, t, mask = cv2.recoverPose(E, seen.ray[a], seen.ray[b], np.eye(3), mask=mask)
            inlier = mask[:, 0] > 0
            if inlier.sum() < _MIN_SHARED:
                continue
            turned = _unit(seen.ray[a][inlier]) @ R.T
            cosine = (turned * _unit(seen.ray[b][inlier])).sum(1)
            angle = float(np.rad2deg(np.median(np.arccos(cosine.clip(-1, 1)))))
            score = inlier.sum() * min(angle, _BEST_ANGLE_DEG)
            if angle > _MIN_PARALLAX_DEG and score > best:
                best, found = score, ((first, second), R, t[:, 0])
    return found


def _next_camera(structure: Structure, seen: Sightings, known: np.ndarray) -> int | None:
    """Choose the unknown keyframe that sees the most points of known ones; None when none sees enough."""
    in_known = np.zeros(len(structure.points), bool)
    in_known[seen.point[known[seen.camera]]] = True
    counts = np.bincount(seen.camera, in_known[seen.point], minlength=len(known)) * ~known
    camera = int(counts.argmax())
    return camera if counts[camera] >= _MIN_SHARED else None


def _resection(
    structure: Structure, own: Sightings, known: np.ndarray, seen: Sightings, focal_px: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """Compute the pose of a camera from points that are not far; None if they do not agree on one."""
    import cv2

    X = structure.points[own.point]
    sightings = np.bincount(seen.point, known[seen.camera], minlength=len(structure.points))
    near = (np.abs(X[:, 3]) > 1e-3) & (sightings[own.point] >= 2)
    if near.sum() < _MIN_SHARED:
        return None
    world, rays = X[near, :3] / X[near, 3:], own.ray[near]
    found, turn, t, inliers = cv2.solvePnPRansac(
        world, rays, np.eye(3), np.zeros(0), reprojectionError=2.0 / focal_px, iterationsCount=200,
        confidence=_RANSAC_CONFIDENCE, flags=cv2.SOLVEPNP_SQPNP,
    )  # fmt: skip
    if not found or inliers is None or len(inliers) < 0.3 * near.sum():
        return None
    return Rotation.from_rotvec(turn[:, 0]).as_matrix(), t[:, 0]


def _triangulated(structure: Structure, seen: Sightings, known: np.ndarray) -> Float[np.ndarray, "points 4"]:
    """Triangulate all points linearly from the known cameras (direct linear transform, homogeneous); those that few
    cameras see keep their direction, infinitely far."""
    used = seen.only(known[seen.camera])
    P = np.concatenate([structure.R, structure.t[:, :, None]], axis=2)[used.camera]
    rows = P[:, :2] - used.ray[:, :, None] * P[:, 2:]
    rows /= np.linalg.norm(rows[..., :3], axis=2, keepdims=True)
    A = np.zeros((len(structure.points), 4, 4))
    np.add.at(A, used.point, np.einsum("nki,nkj->nij", rows, rows))
    X = np.linalg.eigh(A)[1][:, :, 0]
    depth = np.einsum("nj,nj->n", P[:, 2], X[used.point])
    in_front = np.bincount(used.point, np.sign(depth), minlength=len(X))
    X = X * np.where(in_front < 0, -1, 1)[:, None]
    count = np.bincount(used.point, minlength=len(X))
    behind = np.abs(in_front) < count
    few = (count < 2) | behind
    return np.where(few[:, None], structure.points, X)


def _refined(
    structure: Structure, seen: Sightings, known: np.ndarray, points: int, fixed: int, iterations: int
) -> Structure:
    """Triangulate the points and adjust the known cameras and the points; drop sightings that do not fit."""
    structure = replace(structure, points=_triangulated(structure, seen, known))
    used = seen.only(known[seen.camera])
    enough = np.bincount(used.point, minlength=points)[used.point] >= 2
    used = used.only(enough)
    number = np.cumsum(known) - 1
    chosen, point = np.unique(used.point, return_inverse=True)
    small = Structure(
        structure.R[known], structure.t[known], structure.points[chosen], structure.log_focal[known]
    )
    own = Sightings(number[used.camera], point, used.ray, used.noise)
    small = adjust(small, own, iterations, fixed=int(number[fixed]))
    R, t, X = structure.R.copy(), structure.t.copy(), structure.points.copy()
    R[known], t[known], X[chosen] = small.R, small.t, small.points
    return Structure(R, t, X, structure.log_focal)
