"""Rendering: the fast rasteriser against the exact one, and the lighting model."""

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.named_poses import named_pose
from selfmocap.geometry.rasterizer import rasterize
from selfmocap.synthetic import appearance, shading, surface
from selfmocap.synthetic.appearance import AppearanceConfig, light_in_camera, sample_light
from selfmocap.synthetic.figure import (
    BODY_FACE,
    HELD_FACE,
    NUM_BOXES,
    SKIRT_FACE,
    SKIRT_RINGS,
    SKIRT_SEGMENTS,
    box_vertices,
    figure_mesh,
)
from selfmocap.synthetic.scene import FigureAssets, figure_assets
from selfmocap.synthetic.shading import FigureAppearance, render_figures


@pytest.fixture(scope="module")
def stage(body: Body) -> FigureAssets:
    return figure_assets(body)


@pytest.fixture(scope="module")
def vertices(body: Body, stage: FigureAssets) -> np.ndarray:
    """Bodies in three poses, 3 m before the camera, without skirt and props."""
    R = torch.stack([named_pose(name) for name in ("run", "squat", "t")])
    R[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0])) @ R[:, 0]
    posed = body.shape(torch.zeros(3, body.num_betas)).pose(R, torch.tensor([0.0, 0.1, 3.0]).expand(3, 3))
    count = stage.figure.rest_vertices.shape[1] - stage.figure.num_body_vertices
    return torch.cat([posed.vertices.mT, torch.full((3, 3, count), 50.0)], dim=-1).contiguous().numpy()


def sample_appearance(images: int, seed: int = 0, body: Body | None = None) -> FigureAppearance:
    rng = np.random.default_rng(seed)
    layers = appearance.sample_layers(rng, AppearanceConfig(), images)
    light = light_in_camera(sample_light(rng, images), np.tile(np.eye(3), (images, 1, 1, 1)))
    edges = appearance.sample_edges(rng, body or Body.load(), images)
    return appearance.appearance_of_frames(edges, layers, light, rng.uniform(0, 16, (images, 3)))


def naked(look: FigureAppearance) -> FigureAppearance:
    layers = look.layers.copy()
    layers[..., surface.THICKNESS] = 0
    return look._replace(layers=layers)


LENS = np.tile([180.0, 180.0, 63.5, 63.5], (3, 1))


def test_rasteriser_agrees_with_the_exact_one(body, stage, vertices) -> None:
    drawn = render_figures(vertices, LENS, naked(sample_appearance(3, body=body)), stage.model, 128, 1, False)
    face, depth, _ = rasterize(vertices.swapaxes(1, 2), stage.figure.faces, LENS, 128, 128, True)
    covered = face >= 0
    assert covered.mean() > 0.05
    assert (covered == (drawn.coverage > 0.5)).mean() > 0.9995
    both = covered & (drawn.coverage > 0.5)
    difference = np.abs(drawn.depth[both] - depth[both])
    assert np.median(difference) < 1e-4
    assert (difference < 0.01).mean() > 0.995


def test_more_samples_agree_with_fewer_on_average(body, stage, vertices) -> None:
    look = sample_appearance(3, body=body)
    one, two = (render_figures(vertices, LENS, look, stage.model, 128, samples, True) for samples in (1, 2))
    assert two.coverage.mean() == pytest.approx(one.coverage.mean(), rel=0.03)
    assert two.colour.mean() == pytest.approx(one.colour.mean(), rel=0.03)
    assert ((two.coverage > 0) & (two.coverage < 1)).any(), "edges are smooth"
    assert (two.colour <= two.coverage[..., None] + 1e-5).all()


def test_clothes_make_the_figure_larger(body, stage, vertices) -> None:
    look = sample_appearance(3, body=body)
    dressed = render_figures(vertices, LENS, look, stage.model, 128, 2, False).person.sum((1, 2))
    assert (
        dressed > render_figures(vertices, LENS, naked(look), stage.model, 128, 2, False).person.sum((1, 2))
    ).all()


def test_edges_separate_the_layers_of_clothes(body, stage) -> None:
    look, rest = (
        sample_appearance(64, body=body),
        stage.figure.rest_vertices[:, : stage.figure.num_body_vertices],
    )
    highest, hand, heel = rest[:, rest[1].argmax()], rest[:, rest[0].argmax()], rest[:, rest[1].argmin()]
    chest = np.array([0.0, 1.2, rest[2].max()], np.float32)
    hairy = [surface.layer_at(*highest, edges) == surface.HAIR for edges in look.edges]
    assert 0.8 < np.mean(hairy) <= 1, "few are bald"
    for edges in look.edges:
        assert surface.layer_at(*hand, edges) == surface.SKIN
        assert surface.layer_at(*heel, edges) == surface.SHOES
        assert surface.layer_at(*chest, edges) == surface.TOP
        knee_or_hip = surface.layer_at(0.1, float(body.J_template[1, 1]) - 0.05, 0.0, edges)
        assert knee_or_hip in (surface.BOTTOM, surface.TOP)


def test_light_rotates_with_the_camera() -> None:
    rng = np.random.default_rng(0)
    light = sample_light(rng, 5)
    R, _ = np.linalg.qr(rng.normal(size=(5, 2, 3, 3)))
    R *= np.sign(np.linalg.det(R))[..., None, None]
    in_camera = light_in_camera(light, R)
    n_world = rng.normal(size=3)
    n_world /= np.linalg.norm(n_world)
    for clip in range(5):
        for frame in range(2):
            n_cam = R[clip, frame] @ n_world
            for channel in range(3):
                expected = shading._light(light[clip], channel, *n_world)
                assert shading._light(in_camera[clip, frame], channel, *n_cam) == pytest.approx(expected)


def test_a_lobe_is_the_second_order_expansion_of_a_lamp() -> None:
    """Ramamoorthi and Hanrahan 2001: max(0, cos) is 1/4 + cos/2 + 5/32 (3 cos^2 - 1), 9 % off at most."""
    d = np.array([[0.6, 0.0, 0.8]])
    lobe = np.broadcast_to(appearance._lobe(d)[0], (3, 10))
    for angle in np.linspace(0, np.pi, 9):
        n = np.array(
            [0.6 * np.cos(angle) + 0.8 * np.sin(angle), 0.0, 0.8 * np.cos(angle) - 0.6 * np.sin(angle)]
        )
        cosine = float(n @ d[0])
        value = shading._light(lobe, 0, *n)
        assert value == pytest.approx(1 / 4 + cosine / 2 + 5 / 32 * (3 * cosine**2 - 1))
        assert abs(value - max(cosine, 0)) < 0.1


def test_noise_is_smooth_and_periodic(stage) -> None:
    noise, seed = stage.model.noise, np.zeros(3, np.float32)
    value = np.array(surface.noise_at(noise, 0.3, 1.7, -2.2, 1.0, seed))
    assert np.allclose(value, surface.noise_at(noise, 16.3, 1.7, -18.2, 1.0, seed), atol=1e-6)
    assert np.abs(value - surface.noise_at(noise, 0.301, 1.7, -2.2, 1.0, seed)).max() < 0.01
    assert 0.1 < noise.std() < 1


def test_the_figure_is_one_mesh(body, stage) -> None:
    figure = stage.figure
    assert (
        figure.rest_vertices.shape[1] == len(body.vertex_joint) + SKIRT_RINGS * SKIRT_SEGMENTS + 8 * NUM_BOXES
    )
    assert figure.faces.max() == figure.rest_vertices.shape[1] - 1
    assert {BODY_FACE, SKIRT_FACE, HELD_FACE, HELD_FACE + 1, HELD_FACE + 2} == set(figure.face_kind.tolist())
    assert set(figure.face_part[figure.face_kind == BODY_FACE].tolist()) == set(range(1, 25))
    assert not figure.face_part[figure.face_kind >= HELD_FACE].any()


def test_boxes_face_outwards() -> None:
    corners = box_vertices(torch.tensor([1.0, 2.0, 3.0]), torch.eye(3), torch.tensor([5.0, 0.0, 0.0])).T
    faces = figure_mesh(Body.load()).faces[-12:]
    triangle = corners[faces - faces.min()]
    normal = torch.cross(triangle[:, 1] - triangle[:, 0], triangle[:, 2] - triangle[:, 0], dim=-1)
    outwards = (normal * (triangle.mean(1) - torch.tensor([5.0, 0.0, 0.0]))).sum(-1)
    assert (outwards > 0).all()
    volume = (triangle[:, 0] * torch.cross(triangle[:, 1], triangle[:, 2], dim=-1)).sum() / 6
    assert volume.item() == pytest.approx(48.0)
