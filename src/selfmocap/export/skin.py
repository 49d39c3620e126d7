"""The skinned mesh of one person's shape as real-time programs need it: four joints per vertex."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from selfmocap.geometry.meshes import vertex_normals

INFLUENCES = 4


@dataclass(frozen=True, eq=False)
class SkinnedMesh:
    """A mesh in the rest pose with its skinning weights.

    The body's pose blendshapes, a few mm at bent joints, are left out: the formats share linear skinning only."""

    vertices: np.ndarray
    """(V, 3) float32."""
    normals: np.ndarray
    """(V, 3) float32, unit vectors."""
    faces: np.ndarray
    """(F, 3) int, counter-clockwise from outside."""
    joints: np.ndarray
    """(V, 4) int, in order of decreasing weight."""
    weights: np.ndarray
    """(V, 4) float32; rows sum to 1."""


def skinned_mesh(
    vertices: Float[np.ndarray, "vertices 3"],
    all_weights: Float[np.ndarray, "vertices joints"],
    faces: Int[np.ndarray, "faces 3"],
) -> SkinnedMesh:
    """Return the skinned mesh of vertices in the rest pose: the four largest weights of each, scaled to sum to 1."""
    joints = np.argsort(-all_weights, axis=1, kind="stable")[:, :INFLUENCES]
    weights = np.take_along_axis(all_weights, joints, axis=1)
    weights /= weights.sum(1, keepdims=True)
    joints[weights == 0] = 0
    normals = vertex_normals(vertices, faces)
    normals[~normals.any(1)] = [0.0, 1.0, 0.0]
    return SkinnedMesh(
        vertices=vertices.astype(np.float32),
        normals=normals.astype(np.float32),
        faces=faces,
        joints=joints,
        weights=weights.astype(np.float32),
    )
