"""Exact left-right symmetry: every array of the body equals its mirror image bit for bit."""

import numpy as np

from .rig import JOINT_MIRROR

MIRROR = np.array([-1.0, 1.0, 1.0])
"""Reflection of a point onto the other side of the person."""
MAX_JOINTS = 4
"""Joints that may move one vertex."""


def symmetrised(points: np.ndarray, mirror: np.ndarray, parity: int = 1) -> np.ndarray:
    """Average points or offsets (..., P, 3) with their reflection (`parity` -1: with its negative)."""
    return (points + parity * points[..., mirror, :] * MIRROR) / 2


def feature_mirror() -> tuple[np.ndarray, np.ndarray]:
    """Return the permutation and the sign for which the pose features f (207,) of a mirrored pose are `sign *
    f[permutation]`."""
    joints = JOINT_MIRROR[1:] - 1
    permutation = (9 * joints[:, None] + np.arange(9)).ravel()
    return permutation, np.tile(np.outer(MIRROR, MIRROR).ravel(), len(joints))


def parity_basis(parity: int) -> np.ndarray:
    """Compute a (207, n) orthonormal basis of the pose features that mirroring keeps (1) or negates (-1)."""
    permutation, sign = feature_mirror()
    columns = []
    for index, (twin, factor) in enumerate(zip(permutation, sign, strict=True)):
        if twin < index or (twin == index and factor != parity):
            continue
        column = np.zeros(len(sign))
        column[twin] = parity * factor
        column[index] = 1.0
        columns.append(column / np.linalg.norm(column))
    return np.stack(columns, 1)


def sparse_weights(weights: np.ndarray, mirror: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reduce symmetric skinning weights (V, 24) to the `MAX_JOINTS` largest: joints (V, 4) uint8 and weights (V, 4) f32
    that sum to 1. A joint and its twin move a vertex of the midline both or not at all."""
    joints = np.zeros((len(weights), MAX_JOINTS), np.uint8)
    kept = np.zeros((len(weights), MAX_JOINTS))
    for vertex in np.flatnonzero(np.arange(len(mirror)) <= mirror):
        chosen = _largest(weights[vertex], together=bool(mirror[vertex] == vertex))
        joints[vertex, : len(chosen)] = chosen
        kept[vertex, : len(chosen)] = weights[vertex, chosen]
        if mirror[vertex] != vertex:
            joints[mirror[vertex], : len(chosen)] = JOINT_MIRROR[chosen]
            kept[mirror[vertex]] = kept[vertex]
    return joints, (kept / kept.sum(1, keepdims=True)).astype(np.float32)


def _largest(row: np.ndarray, together: bool) -> list[int]:
    chosen: list[int] = []
    for joint in np.argsort(-row, kind="stable"):
        group = sorted({int(joint), int(JOINT_MIRROR[joint])}) if together else [int(joint)]
        if row[joint] > 0 and joint not in chosen and len(chosen) + len(group) <= MAX_JOINTS:
            chosen += group
    return chosen


def dense_weights(joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Convert (V, 4) joints and weights to (V, 24)."""
    dense = np.zeros((len(joints), len(JOINT_MIRROR)), np.float32)
    np.add.at(dense, (np.arange(len(joints))[:, None], joints), weights)
    return dense


def parts(weights: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    """Return (V,) uint8: the joint that moves each vertex most; where a joint and its twin tie, the next one."""
    own = weights.copy()
    middle = np.flatnonzero(mirror == np.arange(len(mirror)))
    sided = np.flatnonzero(np.arange(len(JOINT_MIRROR)) != JOINT_MIRROR)
    own[np.ix_(middle, sided)] = 0
    return own.argmax(1).astype(np.uint8)
