"""Renderings of meshes."""

import numpy as np
import torch
from PIL import Image

from selfmocap.body_model.body import Body
from selfmocap.visualization.render import render_body, write_render


def test_the_body_fills_the_image_upright(body: Body) -> None:
    vertices = body.v_template.view(3, -1).mT.contiguous()
    image = render_body(vertices, body.faces, height=200)
    assert image.shape == (200, 160, 3)
    person = (np.abs(image.astype(int) - image[0, 0]) > 12).any(-1)
    rows, columns = np.flatnonzero(person.any(1)), np.flatnonzero(person.any(0))
    assert 0.6 * 160 < columns.max() - columns.min() < 160
    assert abs((columns.min() + columns.max()) / 2 - 79.5) < 3
    widest = person.sum(1).argmax()
    assert widest < (rows.min() + rows.max()) / 2, "the arms of a T are in its upper half"


def test_light_comes_from_above(body: Body) -> None:
    image = render_body(body.v_template.view(3, -1).mT.contiguous(), body.faces, height=240).astype(float)
    upturned = render_body(
        body.v_template.view(3, -1).mT.contiguous() * torch.tensor([1.0, -1.0, -1.0]), body.faces, height=240
    )
    assert np.abs(image - upturned).mean() > 1


def test_the_render_is_written_atomically(body: Body, tmp_path) -> None:
    path = tmp_path / "body.png"
    write_render(path, body.v_template.view(3, -1).mT.contiguous(), body.faces)
    with Image.open(path) as image:
        assert image.size == (576, 720)
    assert [p.name for p in tmp_path.iterdir()] == ["body.png"]
