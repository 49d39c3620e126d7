"""Windows: their affine maps and their crops."""

import numpy as np
import pytest
import torch

from selfmocap.geometry.camera import to_crop
from selfmocap.tracking.detectors.window import Window, crop_window
from selfmocap.tracking.masks import box_window


def test_mapping_to_the_image_and_back_is_the_identity() -> None:
    window = Window(300.0, 200.0, 150.0, angle=0.7)
    points = np.random.default_rng(0).uniform(0, 1, (20, 2))
    matrix = window.matrix(256)
    pixels = window.to_image(points) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose((pixels + 0.5) / 256, points, atol=1e-9)


def test_a_box_window_maps_points_like_to_crop() -> None:

    box = np.array([310.0, 205.0, 80.0], np.float32)
    matrix = box_window(box).matrix(128)
    points = np.random.default_rng(0).uniform(200, 400, (20, 2))
    expected = to_crop(torch.from_numpy(points), torch.from_numpy(box).double())
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("side", [32.0, 100.0, 700.0])
def test_a_crop_keeps_colours_and_is_black_outside_the_image(side: float) -> None:
    image = np.full((300, 400, 3), (200, 90, 10), np.uint8)
    inside = crop_window(image, Window(200.0, 150.0, min(side, 200.0)), 64)
    assert (inside == (200, 90, 10)).all()
    outside = crop_window(image, Window(-3 * side, 150.0, side), 64)
    assert not outside.any()
