import numpy as np
import trimesh

from selfmocap.geometry.meshes import vertex_normals


def test_normals_of_a_sphere_point_outwards() -> None:

    sphere = trimesh.creation.icosphere(subdivisions=3)
    points = np.asarray(sphere.vertices, np.float64)
    normals = vertex_normals(points, np.asarray(sphere.faces))
    np.testing.assert_allclose(normals, points, atol=0.02)


def test_a_vertex_without_faces_has_a_zero_normal() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]])
    assert vertex_normals(points, np.array([[0, 1, 2]])).tolist() == [[0, 0, 1]] * 3 + [[0, 0, 0]]
