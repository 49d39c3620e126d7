import numpy as np
import pytest
import torch
import trimesh

from selfmocap.geometry.rasterizer import rasterize

LENS = np.array([[100.0, 100.0, 31.5, 31.5]])


def _sphere(depth: float, radius: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    sphere = trimesh.creation.icosphere(subdivisions=4, radius=radius)
    return np.asarray(sphere.vertices)[None] + [0, 0, depth], np.asarray(sphere.faces, np.int32)


def test_barycentric_coordinates_give_the_pixel_and_its_depth() -> None:
    points, faces = _sphere(3.0)
    face, depth, weights = rasterize(points, faces, LENS, 64, 64, True)
    row, column = np.nonzero(face[0] >= 0)
    hit = (points[0][faces[face[0, row, column]]] * weights[0, row, column, :, None]).sum(1)
    assert len(row) > 500
    assert weights[0, row, column].min() >= 0
    np.testing.assert_allclose(weights[0, row, column].sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(hit[:, 0] / hit[:, 2] * 100 + 31.5, column, atol=1e-4)
    np.testing.assert_allclose(hit[:, 1] / hit[:, 2] * 100 + 31.5, row, atol=1e-4)
    np.testing.assert_allclose(hit[:, 2], depth[0, row, column], atol=1e-6)
    assert np.isinf(depth[face < 0]).all()


def test_a_sphere_covers_its_disc_without_holes() -> None:
    points, faces = _sphere(3.0)
    face, depth, _ = rasterize(points, faces, LENS, 64, 64, True)
    row, column = np.mgrid[:64, :64]
    x, y = (column - 31.5) / 100, (row - 31.5) / 100
    # A ray (x, y, 1) touches the sphere where its distance from the centre is the radius.
    distance = 3 * np.sqrt((x**2 + y**2) / (1 + x**2 + y**2))
    assert (face[0][distance < 0.495] >= 0).all()
    assert (face[0][distance > 0.5] < 0).all()
    assert depth[0, 31, 31] == pytest.approx(2.5, abs=0.01)


def test_culling_removes_only_the_far_side() -> None:
    points, faces = _sphere(3.0)
    with_all = rasterize(points, faces, LENS, 64, 64, False)
    for culled, whole in zip(rasterize(points, faces, LENS, 64, 64, True), with_all, strict=True):
        np.testing.assert_array_equal(culled, whole)
    inside_out, _, _ = rasterize(points, faces[:, ::-1].copy(), LENS, 64, 64, True)
    assert (points[0][faces[inside_out[inside_out >= 0]]].mean(1)[:, 2] > 3 - 0.1).all()


def test_the_nearer_of_two_squares_covers_its_pixels() -> None:
    def square(depth: float, first: int, last: int) -> list[list[float]]:
        low, high = (first - 0.5 - 31.5) / 100 * depth, (last + 0.5 - 31.5) / 100 * depth
        return [[low, low, depth], [high, low, depth], [high, high, depth], [low, high, depth]]

    points = np.array([square(4.0, 10, 40) + square(2.0, 20, 29)])
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    face, depth, _ = rasterize(points, faces, LENS, 64, 64, False)
    expected = np.full((64, 64), np.inf)
    expected[10:41, 10:41] = 4
    expected[20:30, 20:30] = 2
    np.testing.assert_allclose(depth[0], expected, rtol=1e-6)
    assert set(np.unique(face[0, 20:30, 20:30])) == {2, 3}


def test_a_floor_that_reaches_behind_the_camera_ends_at_the_horizon() -> None:
    points = np.array([[[-1e4, 1.5, -10.0], [1e4, 1.5, -10.0], [0.0, 1.5, 1e6]]])
    face, depth, _ = rasterize(points, np.array([[0, 1, 2]], np.int32), LENS, 64, 64, False)
    assert (face[0, 32:] == 0).all()
    assert (face[0, :32] == -1).all()
    np.testing.assert_allclose(depth[0, 63], 1.5 * 100 / 31.5, rtol=1e-6)


def test_triangles_behind_the_camera_or_with_nan_are_not_drawn() -> None:
    points, faces = _sphere(-3.0)
    assert (rasterize(points, faces, LENS, 64, 64, False)[0] == -1).all()
    assert (rasterize(points * np.nan, faces, LENS, 64, 64, False)[0] == -1).all()


def test_images_of_a_batch_are_independent_of_threads() -> None:
    points = np.concatenate([_sphere(depth)[0] for depth in (2.0, 3.0, 4.0)])
    faces = _sphere(2.0)[1]
    lenses = np.tile(LENS, (3, 1))
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    together = rasterize(points, faces, lenses, 48, 64, True)
    torch.set_num_threads(before)
    for item in range(3):
        for alone, batch in zip(
            rasterize(points[item, None], faces, LENS, 48, 64, True), together, strict=True
        ):
            np.testing.assert_array_equal(alone[0], batch[item])
