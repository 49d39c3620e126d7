"""Pose blendshapes, fitted to the difference between anny's skinning from its A-pose and SMPL's from a T-pose.

A ridge regression on SMPL's pose features, cut to low rank (each component symmetric or antisymmetric under
mirroring) and to the vertices where it matters.
"""

from dataclasses import dataclass

import numpy as np

from .poses import mixed
from .rig import PARENTS, pose_features, posed_heads, skinning_maps, world_rotations
from .source import Source
from .symmetry import feature_mirror, parity_basis, symmetrised

BATCH = 40


@dataclass(frozen=True, eq=False)
class PoseBlendshapes:
    """Offset of vertex `vertices[i]` in the rest pose: `sum_r (feature @ coefficients)_r basis[r, i]`, metres."""

    vertices: np.ndarray
    """(n,) int32."""
    coefficients: np.ndarray
    """(207, r) f32, metres."""
    basis: np.ndarray
    """(r, n, 3) f16, the largest entry of each component is 1."""


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over training poses."""

    features: np.ndarray
    """(207, 207)."""
    offsets: np.ndarray
    """(207, V, 3)."""
    count: int


def gather_moments(source: Source, weights: np.ndarray, coefficients: np.ndarray, seed: int) -> Moments:
    """Draw one random pose for each body (N, K), and sum the rest-pose offsets that would make skinning with SMPL's
    joints and `weights` (V, 24) exact, against the pose features; mirrored poses count as well."""
    rng = np.random.default_rng(seed)
    R_parent_joint = mixed(len(coefficients), rng)
    features = np.zeros((207, 207))
    offsets = np.zeros((207, len(weights) * 3))
    for start in range(0, len(coefficients), BATCH):
        part = slice(start, start + BATCH)
        feature = pose_features(R_parent_joint[part])
        offset = _exact_offsets(source, weights, coefficients[part], world_rotations(R_parent_joint[part]))
        features += feature.T @ feature
        offsets += feature.T @ offset.reshape(len(offset), -1)
    return _with_mirrored(Moments(features, offsets.reshape(207, -1, 3), len(coefficients)), source.mirror)


def _exact_offsets(
    source: Source, weights: np.ndarray, coefficients: np.ndarray, R_world_joint: np.ndarray
) -> np.ndarray:
    rest, heads = source.t_pose(coefficients)
    truth, _ = source.posed(coefficients, R_world_joint)
    joints = source.joints(heads).astype(np.float32)
    maps = skinning_maps(joints, R_world_joint, posed_heads(joints, R_world_joint, PARENTS))
    blended = (weights @ maps.reshape(*maps.shape[:2], 12)).reshape(*rest.shape[:2], 3, 4)
    linear = blended[..., :3]
    miss = truth - (linear @ rest[..., None])[..., 0] - blended[..., 3]
    transposed = np.swapaxes(linear, -1, -2)
    damped = transposed @ linear + np.float32(0.02) * np.eye(3, dtype=np.float32)
    return np.linalg.solve(damped, transposed @ miss[..., None])[..., 0]


def _with_mirrored(moments: Moments, mirror: np.ndarray) -> Moments:
    permutation, sign = feature_mirror()
    twin_features = moments.features[np.ix_(permutation, permutation)] * np.outer(sign, sign)
    reflected = symmetrised(moments.offsets, mirror) * 2 - moments.offsets
    twin_offsets = reflected[permutation] * sign[:, None, None]
    return Moments(moments.features + twin_features, moments.offsets + twin_offsets, 2 * moments.count)


def fit_pose_blendshapes(
    moments: Moments, mirror: np.ndarray, ridge: float, rank: int, least_effect: float
) -> PoseBlendshapes:
    """Fit by ridge regression with penalty `ridge`, cut to the `rank` components with the greatest effect over the
    training poses, on the vertices whose root-mean-square offset over them is at least `least_effect` metres."""
    components = []
    for parity in (1, -1):
        into = parity_basis(parity)
        features = into.T @ moments.features @ into + ridge * np.eye(into.shape[1])
        lower = np.linalg.cholesky(features)
        whitened = np.linalg.solve(lower, np.tensordot(into.T, moments.offsets, 1).reshape(len(features), -1))
        energy, directions = np.linalg.eigh(whitened @ whitened.T)
        basis = (directions.T @ whitened).reshape(len(energy), -1, 3)
        coefficients = into @ np.linalg.solve(lower.T, directions)
        components += [(energy[i], parity, coefficients[:, i], basis[i]) for i in range(len(energy))]
    components.sort(key=lambda component: -component[0])
    kept = components[:rank]
    effect = np.sqrt(sum((basis**2).sum(-1) for _, _, _, basis in kept) / moments.count)
    vertices = np.flatnonzero(np.maximum(effect, effect[mirror]) >= least_effect)
    twin_rows = np.searchsorted(vertices, mirror[vertices])
    permutation, sign = feature_mirror()
    scales = [np.abs(basis[vertices]).max() for _, _, _, basis in kept]
    return PoseBlendshapes(
        vertices=vertices.astype(np.int32),
        coefficients=np.stack(
            [
                (c + parity * sign * c[permutation]) / 2 * s
                for (_, parity, c, _), s in zip(kept, scales, strict=True)
            ],
            axis=1,
        ).astype(np.float32),
        basis=np.stack(
            [
                symmetrised(b[vertices] / s, twin_rows, parity)
                for (_, parity, _, b), s in zip(kept, scales, strict=True)
            ]
        ).astype(np.float16),
    )
