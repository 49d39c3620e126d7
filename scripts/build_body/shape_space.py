"""The shape space: principal components of a population in the T-pose."""

from dataclasses import dataclass

import numpy as np

from .symmetry import symmetrised


@dataclass(frozen=True, eq=False)
class ShapeSpace:
    """Rest bodies: `v_template + shapedirs @ betas`, betas N(0, 1) over the population."""

    v_template: np.ndarray
    """(V, 3) f32, metres."""
    shapedirs: np.ndarray
    """(V, 3, B) f16, metres."""
    J_template: np.ndarray
    """(24, 3) f32."""
    J_shapedirs: np.ndarray
    """(24, 3, B) f32."""

    def betas(self, vertices: np.ndarray) -> np.ndarray:
        """Compute (N, B) least-squares betas of bodies (N, V, 3) in the T-pose."""
        directions = self.shapedirs.astype(np.float64).reshape(-1, self.shapedirs.shape[2])
        residual = (vertices - self.v_template).reshape(len(vertices), -1)
        return residual @ directions @ np.linalg.inv(directions.T @ directions)

    def rest(self, betas: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Convert (N, B) betas to vertices (N, V, 3) and joints (N, 24, 3)."""
        vertices = self.v_template + np.tensordot(betas, self.shapedirs.astype(np.float32), ([1], [2]))
        return vertices, self.J_template + np.tensordot(betas, self.J_shapedirs, ([1], [2]))


def fit_shape_space(
    vertices: np.ndarray, joints: np.ndarray, mirror: np.ndarray, joint_mirror: np.ndarray, count: int
) -> ShapeSpace:
    """Fit to a population's vertices (N, V, 3) and joints (N, 24, 3); feet of the mean body on y = 0.

    Every direction is signed so that it makes the body taller."""
    vertices = symmetrised(vertices.astype(np.float64), mirror)
    joints = symmetrised(joints, joint_mirror)
    mean, J_mean = vertices.mean(0), joints.mean(0)
    ground = np.array([0.0, mean[:, 1].min(), 0.0])
    centred = (vertices - mean).reshape(len(vertices), -1)
    scores = np.linalg.svd(centred @ centred.T)[0]
    betas = scores[:, :count] * np.sqrt(len(vertices))
    directions = (betas.T @ centred / len(vertices)).reshape(count, *mean.shape)
    taller = np.sign(directions[:, mean[:, 1].argmax(), 1] - directions[:, mean[:, 1].argmin(), 1])
    directions *= taller[:, None, None]
    J_directions = np.tensordot((betas * taller).T, joints - J_mean, 1) / len(vertices)
    return ShapeSpace(
        v_template=symmetrised(mean - ground, mirror).astype(np.float32),
        shapedirs=np.moveaxis(symmetrised(directions, mirror), 0, 2).astype(np.float16),
        J_template=symmetrised(J_mean - ground, joint_mirror).astype(np.float32),
        J_shapedirs=np.moveaxis(symmetrised(J_directions, joint_mirror), 0, 2).astype(np.float32),
    )
