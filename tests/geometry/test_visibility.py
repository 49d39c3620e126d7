import numpy as np
import pytest
import roma
import torch
import trimesh
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.named_poses import NAMED_POSES, named_pose
from selfmocap.geometry.visibility import (
    rendered_mask,
    visible_faces,
    visible_faces_by_pairs,
    visible_faces_by_ray_casting,
    visible_vertices,
)


def _posed(body: Body, yaws: tuple[float, ...] = (0.5, 3.0)) -> Tensor:
    """Every named pose from several sides, in the frame of a camera 4 m away."""
    poses = torch.stack([named_pose(name) for name in NAMED_POSES for _ in yaws])
    rotations = torch.tensor(yaws).repeat(len(NAMED_POSES))
    poses[:, 0] = roma.rotvec_to_rotmat(rotations[:, None] * torch.tensor([0.0, 1.0, 0.0])) @ poses[:, 0]
    vertices = body.pose(BodyParameters(torch.zeros(1), poses, torch.zeros(3))).vertices
    return vertices * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, 4.0])


def _mesh(mesh: trimesh.Trimesh) -> tuple[Tensor, Tensor]:
    return torch.tensor(mesh.vertices), torch.tensor(np.asarray(mesh.faces))


def _vertices_of(faces: Tensor, visible: Tensor, count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.bool).index_fill(0, faces[visible].flatten(), True)


@pytest.mark.slow
def test_equals_ray_casting_on_a_posed_body(body: Body) -> None:
    p_cam = _posed(body)[3]
    expected = visible_faces_by_ray_casting(p_cam, body.faces)
    assert torch.equal(visible_faces(p_cam, body.faces, cull=False), expected)
    marked = _vertices_of(body.faces, expected, len(body.vertex_joint))
    assert torch.equal(visible_vertices(p_cam, body.faces, cull=False), marked)
    assert (visible_vertices(p_cam, body.faces) == marked).float().mean() >= 0.9999


def test_equals_ray_casting_on_many_posed_coarse_bodies(body: Body) -> None:
    assert body.proxy_vertices is not None
    assert body.proxy_faces is not None
    p_cam = _posed(body, (1.5,))[::2, body.proxy_vertices]
    assert torch.equal(
        visible_faces(p_cam, body.proxy_faces, cull=False),
        visible_faces_by_ray_casting(p_cam, body.proxy_faces),
    )


@pytest.mark.parametrize("cull", [True, False])
def test_the_gpu_algorithm_equals_the_cpu_algorithm(body: Body, cull: bool) -> None:
    p_cam = _posed(body)[:9]
    assert torch.equal(
        visible_faces_by_pairs(p_cam, body.faces, cull), visible_faces(p_cam, body.faces, cull)
    )


def test_culling_changes_at_most_one_vertex_in_ten_thousand(body: Body) -> None:
    p_cam = _posed(body)
    culled, whole = visible_vertices(p_cam, body.faces), visible_vertices(p_cam, body.faces, cull=False)
    assert (culled == whole).float().mean() >= 0.9999
    assert 0.3 < whole.float().mean() < 0.6


def test_without_culling_a_self_intersecting_body_is_correct() -> None:
    points, faces = _mesh(trimesh.creation.icosphere(subdivisions=3))
    # The rear cap is pushed out through the front: there the inside of the closed surface shows first.
    cap = points[:, 2] > 0.7
    points[cap, 2] -= 2.5
    points[:, 2] += 5
    expected = visible_faces_by_ray_casting(points, faces)
    assert torch.equal(visible_faces(points, faces, cull=False), expected)
    assert not torch.equal(visible_faces(points, faces, cull=True), expected)


def test_triangles_around_and_behind_the_camera() -> None:
    for seed in range(20):
        torch.manual_seed(seed)
        centre = torch.randn(150, 1, 3, dtype=torch.float64)
        points = (centre + torch.randn(150, 3, 3, dtype=torch.float64) * 0.5).reshape(-1, 3)
        faces = torch.arange(450).reshape(150, 3)
        visible = visible_faces(points, faces, cull=False)
        assert torch.equal(visible, visible_faces_by_ray_casting(points, faces))
        assert torch.equal(visible, visible_faces_by_pairs(points, faces, cull=False))
        assert 0 < visible.sum() < 100
        assert not visible[points[faces].mean(1)[:, 2] <= 0].any()
        assert not visible_vertices(points, faces, cull=False)[points[:, 2] <= 0].any()


def test_a_nearer_triangle_hides_a_farther_one() -> None:
    near = torch.tensor([[-1.0, -1.0, 2.0], [0.0, 1.0, 2.0], [1.0, -1.0, 2.0]])
    points = torch.cat([near * 2, near])
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]])
    assert visible_faces(points, faces).tolist() == [False, True]
    assert visible_vertices(points, faces).tolist() == [False] * 3 + [True] * 3
    assert visible_faces(points, faces.flip(-1), cull=True).tolist() == [False, False]
    assert visible_faces(points, faces.flip(-1), cull=False).tolist() == [False, True]


@pytest.mark.parametrize("batch", [(), (1,), (3, 2), (0,), (2, 0)])
def test_any_batch_shape_in_any_number_of_threads(batch: tuple[int, ...]) -> None:
    points, faces = _mesh(trimesh.creation.icosphere(subdivisions=1))
    shift = torch.rand(*batch, 1, 3, dtype=torch.float64) + torch.tensor([0, 0, 3.0])
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(visible_vertices(points + shift, faces))
    torch.set_num_threads(before)
    assert results[0].shape == (*batch, len(points))
    assert torch.equal(*results)
    for way in (visible_faces, visible_faces_by_pairs, visible_faces_by_ray_casting):
        assert way(points + shift, faces).shape == (*batch, len(faces))
    if 0 not in batch:
        assert (results[0].sum(-1) > 0).all()


def test_nan_vertices_are_invisible_and_occlude_nothing() -> None:
    points, faces = _mesh(trimesh.creation.icosphere(subdivisions=1))
    for bad in (points * torch.nan, points * torch.inf, points - 9):
        assert not visible_vertices(bad, faces, cull=False).any()
        assert not visible_faces_by_pairs(bad, faces, cull=False).any()


def test_a_body_without_faces_is_invisible(body: Body) -> None:
    few = body.with_vertices(torch.arange(10))
    assert not visible_vertices(torch.rand(2, 10, 3) + 1, few.faces).any()


def test_rendered_mask_of_a_sphere() -> None:
    points, faces = _mesh(trimesh.creation.icosphere(subdivisions=4, radius=0.5))
    points = torch.stack([points + torch.tensor([0, 0, 3.0]), points - torch.tensor([0, 0, 3.0])])
    focal, center = torch.tensor([100.0, 100.0]), torch.tensor([[31.5, 31.5], [0.0, 0.0]])
    mask = rendered_mask(points, faces, focal, center, 64, 64)
    disc = np.pi * (100 * 0.5 / np.sqrt(3.0**2 - 0.5**2)) ** 2
    assert mask[0].sum() == pytest.approx(disc, rel=0.02)
    assert not mask[1].any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_equal_results(body: Body) -> None:
    p_cam = _posed(body)[:4]
    on_gpu = visible_vertices(p_cam.cuda(), body.faces.cuda())
    assert (on_gpu.cpu() == visible_vertices(p_cam, body.faces)).float().mean() > 0.9999
