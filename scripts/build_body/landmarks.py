"""Named points as sums of a few vertices each, fitted on random people in random poses.

A row w minimises sum |sum_i w_i v_i - target|^2 + ridge |w|^2 over the samples under sum_i w_i = 1; vertices with
little weight are dropped step by step. Left rows are fitted and mirrored; rows of the midline are symmetric.
"""

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve

from .rig import JOINT_NAMES

JOINT_LANDMARKS = tuple(f"{joint}_joint" for joint in JOINT_NAMES)
COCO_LANDMARKS = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
KNUCKLE_BONES = {"pinky": "finger5-1", "index": "finger2-1", "thumb": "finger1-3"}
"""MediaPipe's points of the hand: the first knuckles of two fingers and the thumb's second, as anny's bone heads."""
KNUCKLE_LANDMARKS = tuple(f"{side}_{finger}" for finger in KNUCKLE_BONES for side in ("left", "right"))
FACE_LANDMARKS = (
    "left_eye_inner", "left_eye_outer", "right_eye_inner", "right_eye_outer", "mouth_left", "mouth_right",
)  # fmt: skip
VERTICES_OF = {name: (name,) for name in (*FACE_LANDMARKS, "head_top")} | {
    f"{side}_eye": (f"{side}_eye_inner", f"{side}_eye_outer") for side in ("left", "right")
}
"""Points that are the mean of vertices named in `source.PROTECTED`; the eye is the middle of its corners."""
NAMES = (*JOINT_LANDMARKS, *COCO_LANDMARKS, *FACE_LANDMARKS, *KNUCKLE_LANDMARKS, "head_top")
"""All landmarks, in the order of the file."""

_RIDGES = np.geomspace(1e-7, 1.0, 36)
"""Ridge penalties tried, as fractions of the Gram matrix' mean diagonal."""


@dataclass(frozen=True)
class RowLimits:
    """Maximum size of a row."""

    candidates: int
    """Vertices nearest to the point on the mean body from which it is chosen."""
    vertices: int
    absolute_sum: float
    """Bound on sum |w|, the factor by which a row may amplify errors of the vertices."""


@dataclass(frozen=True, eq=False)
class Row:
    """A point as a weighted sum of vertices."""

    vertices: np.ndarray
    """(n,) indices."""
    weights: np.ndarray
    """(n,) sum to 1."""

    def of(self, vertices: np.ndarray) -> np.ndarray:
        """Compute the point (N, 3) on bodies (N, V, 3)."""
        return np.tensordot(vertices[:, self.vertices], self.weights, ([1], [0]))


def fit_row(
    bodies: np.ndarray, target: np.ndarray, near: np.ndarray, limits: RowLimits, mirror: np.ndarray | None
) -> Row:
    """Fit the row that gives `target` (N, 3) on `bodies` (N, V, 3), of vertices among `near`; symmetric under `mirror`
    (V,) if that is given."""
    first = near if mirror is None else near[near <= mirror[near]]
    groups = [np.array([v]) if mirror is None else np.unique([v, mirror[v]]) for v in first]
    sizes = np.array([len(group) for group in groups])
    means = np.stack([bodies[:, group].mean(1) - target for group in groups], 1).astype(np.float64)
    flat = np.moveaxis(means, 1, 0).reshape(len(groups), -1)
    gram = flat @ flat.T
    alive = np.arange(len(groups))
    weights = _affine_ridge(gram, sizes, limits.absolute_sum)
    while (excess := sizes[alive].sum() - limits.vertices) > 0:
        drop = max(1, min(len(alive) // 3, excess // 2))
        alive = np.sort(alive[np.argsort(np.abs(weights), kind="stable")[drop:]])
        weights = _affine_ridge(gram[np.ix_(alive, alive)], sizes[alive], limits.absolute_sum)
    vertices = np.concatenate([groups[i] for i in alive])
    return Row(vertices, np.repeat(weights / sizes[alive], sizes[alive]))


def _affine_ridge(gram: np.ndarray, sizes: np.ndarray, absolute_sum: float) -> np.ndarray:
    """Compute weights that sum to 1, by the smallest of `_RIDGES` that keeps their absolute sum within its bound."""

    def solved(ridge: float) -> np.ndarray:
        penalty = ridge * np.trace(gram) / len(gram) / sizes
        weights = solve(gram + np.diag(penalty), np.ones(len(gram)), assume_a="pos")
        return weights / weights.sum()

    def exceeds(ridge: float) -> bool:
        return bool(np.abs(solved(ridge)).sum() > absolute_sum)

    return solved(
        _RIDGES[min(bisect_left(_RIDGES, True, key=lambda ridge: not exceeds(ridge)), len(_RIDGES) - 1)]
    )


def candidates(rest: np.ndarray, point: np.ndarray, count: int, mirror: np.ndarray | None) -> np.ndarray:
    """Return the vertices of the mean body `rest` (V, 3) nearest to `point` (3,), closed under `mirror` if given."""
    near = np.argsort(((rest - point) ** 2).sum(1), kind="stable")[:count]
    return np.unique(near) if mirror is None else np.unique([near, mirror[near]])


def fit_rows(
    bodies: np.ndarray,
    targets: dict[str, np.ndarray],
    rest: np.ndarray,
    mirror: np.ndarray,
    limits: RowLimits,
) -> dict[str, Row]:
    """Fit rows for all targets (name: (N, 3)); the first body is the mean body `rest` in the T-pose."""
    rows = {}
    for name, target in targets.items():
        if "right" not in name:
            own_mirror = None if "left" in name else mirror
            near = candidates(rest, target[0], limits.candidates, own_mirror)
            rows[name] = fit_row(bodies, target, near, limits, own_mirror)
    twins = {
        name.replace("left", "right"): mirrored(row, mirror) for name, row in rows.items() if "left" in name
    }
    return rows | twins


def mirrored(row: Row, mirror: np.ndarray) -> Row:
    """Return the row of the other side."""
    return Row(mirror[row.vertices], row.weights)


def packed_rows(rows: dict[str, Row]) -> dict[str, np.ndarray]:
    """Convert rows to arrays of the file."""
    order = [rows[name] for name in NAMES]
    return {
        "landmark_names": np.array(NAMES),
        "landmark_row": np.repeat(np.arange(len(order)), [len(row.vertices) for row in order]).astype(
            np.int32
        ),
        "landmark_vertex": np.concatenate([row.vertices for row in order]).astype(np.int32),
        "landmark_weight": np.concatenate([row.weights for row in order]).astype(np.float32),
    }


def unpacked_rows(arrays: dict[str, np.ndarray]) -> dict[str, Row]:
    """Convert arrays of the file to rows."""
    rows = arrays["landmark_row"]
    return {
        str(name): Row(arrays["landmark_vertex"][rows == i], arrays["landmark_weight"][rows == i])
        for i, name in enumerate(arrays["landmark_names"])
    }
