"""The skin of one person's shape in the form that real-time programs want: four joints a vertex."""

from dataclasses import dataclass

import numpy as np

from selfmocap.body_model.body import Body
from selfmocap.export.rig import Rig

INFLUENCES = 4


@dataclass(frozen=True, eq=False)
class Skin:
    """A mesh in the rest pose and what moves it. The body's pose blendshapes, which bulge it a few mm at bent
    joints, are not in it: linear skinning is all that the formats share."""

    vertices: np.ndarray
    """(V, 3) float32."""
    normals: np.ndarray
    """(V, 3) float32, of unit length."""
    faces: np.ndarray
    """(F, 3) int, counter-clockwise from outside."""
    joints: np.ndarray
    """(V, 4) int, the strongest first."""
    weights: np.ndarray
    """(V, 4) float32; rows sum to 1."""


def skin(skeleton: Rig, body: Body) -> Skin:
    """The skin of a rig: the four strongest of each vertex' joints, scaled to sum to 1."""
    all_weights = body.weights.double().T.numpy()
    joints = np.argsort(-all_weights, axis=1, kind="stable")[:, :INFLUENCES]
    weights = np.take_along_axis(all_weights, joints, axis=1)
    weights /= weights.sum(1, keepdims=True)
    joints[weights == 0] = 0
    vertices, faces = skeleton.rest_vertices.numpy(), body.faces.numpy()
    return Skin(
        vertices=vertices.astype(np.float32),
        normals=_normals(vertices, faces).astype(np.float32),
        faces=faces,
        joints=joints,
        weights=weights.astype(np.float32),
    )


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Of each vertex the mean of its faces' normals, weighted by area; up where it has none."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    of_face = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], of_face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 0, normals / np.where(length > 0, length, 1), [0.0, 1.0, 0.0])
