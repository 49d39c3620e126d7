"""Bundle adjustment: the camera poses and the points of a background that explain where the points are seen.

A point is homogeneous, (x, y, z, w) of length 1: with w = 0 it is infinitely far. So a camera that only turns needs no
case of its own. Poses map the world to the camera: p_cam ~ R (x, y, z) + w t. The points are eliminated (Schur
complement), and residuals have Cauchy weights (Triggs et al. 2000)."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import spsolve
from scipy.spatial.transform import Rotation

_MIN_DEPTH = 1e-4
_CAUCHY = 2.0
"""Residuals of this many standard deviations count half."""
_PRIOR, _SPREAD_PRIOR = 1e-6, 1e-9
_MAX_DAMPING = 1e8

Focal = Literal["given", "shared", "zoom"]


@dataclass(frozen=True, eq=False)
class Sightings:
    """Where the points are seen by the cameras, in coordinates of a camera of focal length 1."""

    camera: Int[np.ndarray, " seen"]
    point: Int[np.ndarray, " seen"]
    ray: Float[np.ndarray, "seen 2"]
    noise: float
    """Standard deviation of a sighting, in the same unit."""

    def only(self, kept: np.ndarray) -> "Sightings":
        """Select sightings."""
        return replace(self, camera=self.camera[kept], point=self.point[kept], ray=self.ray[kept])


@dataclass(frozen=True, eq=False)
class Structure:
    """Cameras and points."""

    R: Float[np.ndarray, "cameras 3 3"]
    """World to camera."""
    t: Float[np.ndarray, "cameras 3"]
    """Origin of the world in the camera frame; any unit."""
    points: Float[np.ndarray, "points 4"]
    """Homogeneous, of length 1."""
    log_focal: Float[np.ndarray, " cameras"]
    """Logarithm of the ratio of each camera's focal length to the one that the rays were made with."""


def residuals(structure: Structure, seen: Sightings) -> Float[np.ndarray, "seen 2"]:
    """Compute projected minus seen positions, in units of a focal length of 1; large behind the camera."""
    p_cam = _to_camera(structure, seen)
    depth = np.maximum(p_cam[:, 2:], _MIN_DEPTH)
    return p_cam[:, :2] / depth * np.exp(structure.log_focal[seen.camera])[:, None] - seen.ray


def _to_camera(structure: Structure, seen: Sightings) -> np.ndarray:
    X = structure.points[seen.point]
    return np.einsum("nij,nj->ni", structure.R[seen.camera], X[:, :3]) + X[:, 3:] * structure.t[seen.camera]


def adjust(
    structure: Structure,
    seen: Sightings,
    iterations: int,
    translation: bool = True,
    focal: Focal = "given",
    fixed: int = 0,
) -> Structure:
    """Minimise the robust reprojection error by Levenberg-Marquardt.

    Without `translation`, all points stay infinitely far and all cameras at the origin. `focal` estimates one focal
    length for all cameras (`shared`) or one for each (`zoom`). The pose of the camera `fixed` stays."""
    damping, cost = 1e-3, _cost(structure, seen)
    for _ in range(iterations):
        system = _normal_equations(structure, seen, translation, focal, fixed)
        while damping < _MAX_DAMPING:
            candidate = _stepped(structure, *_solve(*system, damping), translation)
            new_cost = _cost(candidate, seen)
            if new_cost < cost:
                break
            damping *= 8
        else:
            return structure
        converged = cost - new_cost < 1e-5 * cost
        structure, cost, damping = candidate, new_cost, max(damping / 8, 1e-9)
        if converged:
            break
    return structure


def focal_spread(structure: Structure, seen: Sightings, translation: bool) -> float:
    """Compute the standard deviation of the logarithm of the focal length that all cameras share, by the curvature of
    the error at `structure`, poses and points free; infinite where the sightings do not tell."""
    H_c, g_c, W, g_p, H_p = _normal_equations(structure, seen, translation, "shared", 0)
    toward_focal = np.zeros_like(g_c)
    toward_focal[-1] = -1.0
    step, _ = _solve(H_c, toward_focal, W, np.zeros_like(g_p), H_p, 0.0, _SPREAD_PRIOR)
    return float(step[-1]) ** 0.5 if step[-1] > 0 else np.inf


def _cost(structure: Structure, seen: Sightings) -> float:
    squared = (residuals(structure, seen) ** 2).sum(1) / (_CAUCHY * seen.noise) ** 2
    return float(np.log1p(squared).sum())


def _normal_equations(
    structure: Structure, seen: Sightings, translation: bool, focal: Focal, fixed: int
) -> tuple[sparse.csr_matrix, np.ndarray, sparse.csr_matrix, np.ndarray, np.ndarray]:
    """Linearise: the blocks of cameras (6 numbers each, then focal lengths), of points (3 each) and between them."""
    p_cam = _to_camera(structure, seen)
    x, y, z = p_cam[:, 0], p_cam[:, 1], np.maximum(p_cam[:, 2], _MIN_DEPTH)
    scale, zero = np.exp(structure.log_focal[seen.camera]), np.zeros(len(z))
    behind = p_cam[:, 2] < _MIN_DEPTH
    D = (
        np.stack([1 / z, zero, -x / z**2, zero, 1 / z, -y / z**2], axis=1).reshape(-1, 2, 3)
        * scale[:, None, None]
    )
    projected = scale[:, None] * np.stack([x / z, y / z], axis=1)
    r = projected - seen.ray
    weight = 1 / (1 + (r**2).sum(1) / (_CAUCHY * seen.noise) ** 2) / seen.noise**2
    weight[behind] = 0
    root = np.sqrt(weight)[:, None, None]
    X = structure.points[seen.point]
    turned = np.einsum("nij,nj->ni", structure.R[seen.camera], X[:, :3])
    J_pose = np.concatenate([-D @ _cross(turned), D * X[:, 3, None, None] * translation], axis=2) * root
    J_pose[seen.camera == fixed] = 0
    M = np.concatenate([structure.R[seen.camera], structure.t[seen.camera][:, :, None]], axis=2)
    basis = _tangent(structure.points, translation)
    J_point = D @ M @ basis[seen.point] * root
    n, cameras, points = len(z), len(structure.R), len(structure.points)
    rows = np.arange(2 * n).reshape(n, 2, 1)
    columns = 6 * seen.camera[:, None, None] + np.arange(6)
    blocks = [_sparse(J_pose, rows, columns, 2 * n, 6 * cameras)]
    if focal != "given":
        lens = seen.camera if focal == "zoom" else np.zeros(n, int)
        J_focal = projected[:, :, None] * root
        blocks.append(_sparse(J_focal, rows, lens[:, None, None], 2 * n, cameras if focal == "zoom" else 1))
    J_c = sparse.hstack(blocks, format="csr")
    J_p = _sparse(J_point, rows, 3 * seen.point[:, None, None] + np.arange(3), 2 * n, 3 * points)
    e = (r * root[:, 0]).ravel()
    H_p = np.zeros((points, 3, 3))
    np.add.at(H_p, seen.point, J_point.swapaxes(1, 2) @ J_point)
    return (J_c.T @ J_c).tocsr(), J_c.T @ e, (J_c.T @ J_p).tocsr(), J_p.T @ e, H_p


def _solve(
    H_c: sparse.csr_matrix,
    g_c: np.ndarray,
    W: sparse.csr_matrix,
    g_p: np.ndarray,
    H_p: np.ndarray,
    damping: float,
    prior: float = _PRIOR,
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the damped normal equations for the steps of cameras and points. `prior` is the least curvature, relative
    to the greatest."""
    diagonal = np.einsum("pii->pi", H_p)
    inverse = np.linalg.inv(H_p + np.eye(3) * (diagonal * damping + prior * (1 + diagonal.max()))[:, :, None])
    count = len(H_p)
    V = sparse.bsr_matrix(
        (inverse, np.arange(count), np.arange(count + 1)), shape=(3 * count, 3 * count)
    ).tocsr()
    WV = W @ V
    d = H_c.diagonal()
    S = H_c + sparse.diags(d * damping + prior * (1 + d.max())) - WV @ W.T
    step_c = -spsolve(S.tocsc(), g_c - WV @ g_p)
    return step_c, -(V @ (g_p + W.T @ step_c))


def _stepped(structure: Structure, step_c: np.ndarray, step_p: np.ndarray, translation: bool) -> Structure:
    cameras = len(structure.R)
    pose = step_c[: 6 * cameras].reshape(-1, 6)
    turn = Rotation.from_rotvec(pose[:, :3]).as_matrix()
    basis = _tangent(structure.points, translation)
    points = structure.points + np.einsum("pij,pj->pi", basis, step_p.reshape(-1, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    focal_step = step_c[6 * cameras :] if len(step_c) > 6 * cameras else np.zeros(1)
    # The translation is not turned: R and t step independently.
    return Structure(turn @ structure.R, structure.t + pose[:, 3:], points, structure.log_focal + focal_step)


def _tangent(points: np.ndarray, translation: bool) -> Float[np.ndarray, "points 4 3"]:
    """Compute three directions in which each point can move on the unit sphere, by a Householder reflection. Without
    translation, none of them changes w."""
    if not translation:
        basis = np.zeros((len(points), 4, 3))
        basis[:, :3] = np.eye(3) - points[:, :3, None] * points[:, None, :3]
        return basis
    v = points.copy()
    v[:, 3] += np.where(points[:, 3] >= 0, 1.0, -1.0)
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    return (np.eye(4) - 2 * v[:, :, None] * v[:, None, :])[:, :, :3]


def _cross(v: np.ndarray) -> np.ndarray:
    x, y, z = v.T
    zero = np.zeros(len(v))
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)


def _sparse(
    blocks: np.ndarray, rows: np.ndarray, columns: np.ndarray, height: int, width: int
) -> sparse.csr_matrix:
    shape = blocks.shape
    at = (np.broadcast_to(rows, shape).ravel(), np.broadcast_to(columns, shape).ravel())
    return sparse.csr_matrix((blocks.ravel(), at), shape=(height, width))
