"""The camera of every frame, from the background points whose places are known."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.transform import Rotation, Slerp

from selfmocap.tracking.camera_path.bundle import Sightings, Structure
from selfmocap.tracking.camera_path.structure import relative_rotation

_ITERATIONS, _CAUCHY = 8, 2.0
_MIN_POINTS = 6
_INTERPOLATED_WEIGHT = 1.0
"""Weight of the interpolated pose, in sightings of standard deviation one."""
_ROTATION_NOISE, _SHIFT_NOISE = 0.05, 0.5
"""Standard deviations of the interpolated pose: radians, and fractions of the distance between keyframes."""


def between_keyframes(
    structure: Structure, keyframes: np.ndarray, frames: np.ndarray
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, "frames 3"]]:
    """Interpolate the poses of keyframes: rotations along the shortest arc, positions along a line."""
    at = np.clip(frames, keyframes[0], keyframes[-1])
    eyes = -np.einsum("nji,nj->ni", structure.R, structure.t)
    if len(keyframes) < 2:
        return np.repeat(structure.R, len(frames), axis=0), np.repeat(structure.t, len(frames), axis=0)
    R = Slerp(keyframes, Rotation.from_matrix(structure.R))(at).as_matrix()
    eye = np.stack([np.interp(at, keyframes, eyes[:, axis]) for axis in range(3)], axis=1)
    return R, -np.einsum("nij,nj->ni", R, eye)


def refine_poses(
    R: np.ndarray,
    t: np.ndarray,
    structure: Structure,
    keyframes: np.ndarray,
    seen: Sightings,
    usable: Bool[np.ndarray, " points"],
    moves: bool,
) -> tuple[Float[np.ndarray, "frames 3 3"], Float[np.ndarray, "frames 3"], Bool[np.ndarray, " frames"]]:
    """Refine the pose of each frame by its own sightings of the points; also return which frames have enough.

    `seen.camera` counts the frames. A camera that only turns keeps its place."""
    R, t, measured = R.copy(), t.copy(), np.zeros(len(R), bool)
    scale = np.exp(np.interp(np.arange(len(R)), keyframes, structure.log_focal[: len(keyframes)]))
    starts = np.searchsorted(seen.camera, np.arange(len(R) + 1))
    step = np.linalg.norm(np.diff(-np.einsum("nji,nj->ni", R, t), axis=0), axis=1)
    shift_noise = _SHIFT_NOISE * max(float(np.median(step)) * 15, 1e-6) if len(step) else 1.0
    for frame in range(len(R)):
        rows = slice(starts[frame], starts[frame + 1])
        known = usable[seen.point[rows]]
        X, ray = structure.points[seen.point[rows]][known], seen.ray[rows][known] / scale[frame]
        if len(X) < _MIN_POINTS:
            continue
        measured[frame] = True
        if moves:
            R[frame], t[frame] = _refined_pose(R[frame], t[frame], X, ray, seen.noise, shift_noise)
        else:
            a = X[:, :3] / np.linalg.norm(X[:, :3], axis=1, keepdims=True)
            b = np.concatenate([ray, np.ones((len(ray), 1))], axis=1)
            R[frame] = relative_rotation(
                a, b / np.linalg.norm(b, axis=1, keepdims=True), _CAUCHY * seen.noise
            )
    return R, t, measured


def _refined_pose(
    R: np.ndarray, t: np.ndarray, X: np.ndarray, ray: np.ndarray, noise: float, shift_noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Minimise the robust reprojection error of one camera by Gauss-Newton, from an interpolated pose."""
    prior = _INTERPOLATED_WEIGHT * np.repeat([_ROTATION_NOISE, shift_noise], 3) ** -2.0
    total = np.zeros(6)
    for _ in range(_ITERATIONS):
        turned = X[:, :3] @ R.T
        p = turned + X[:, 3:] * t
        z = np.maximum(p[:, 2], 1e-4)
        r = p[:, :2] / z[:, None] - ray
        D = np.zeros((len(X), 2, 3))
        D[:, 0, 0] = D[:, 1, 1] = 1 / z
        D[:, :, 2] = -p[:, :2] / z[:, None] ** 2
        cross = np.zeros((len(X), 3, 3))
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -turned[:, 2], turned[:, 1], -turned[:, 0]
        cross -= cross.swapaxes(1, 2)
        J = np.concatenate([-D @ cross, D * X[:, 3, None, None]], axis=2)
        weight = (p[:, 2] > 1e-4) / (1 + (r**2).sum(1) / (_CAUCHY * noise) ** 2) / noise**2
        H = np.einsum("n,nki,nkj->ij", weight, J, J) + np.diag(prior)
        step = -np.linalg.solve(H, np.einsum("n,nki,nk->i", weight, J, r) + prior * total)
        total += step
        R, t = Rotation.from_rotvec(step[:3]).as_matrix() @ R, t + step[3:]
        if np.abs(step[:3]).max() < 1e-6:
            break
    return R, t
