import math

import cv2
import numpy as np
import pytest
import torch

from selfmocap.geometry.camera import project
from selfmocap.geometry.lens import Lens

BROWN = Lens((640, 360), (500.0, 490.0), (330.0, 170.0), (-0.3, 0.05, 0.001, -0.002))
FISHEYE = Lens((640, 360), (300.0, 300.0), (320.0, 180.0), (-0.02, 0.005), "fisheye")


def pixels_of(lens: Lens, count: int = 300) -> torch.Tensor:
    return torch.rand(count, 2, generator=torch.Generator().manual_seed(0)) * torch.tensor(lens.size)


@pytest.mark.parametrize("lens", [BROWN, FISHEYE])
@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_distort_inverts_undistort(lens: Lens, batch: tuple[int, ...]) -> None:
    pixels = pixels_of(lens)[: math.prod(batch)].reshape(*batch, 2)
    assert (lens.distort(lens.undistort(pixels)) - pixels).abs().max() < 1e-3


def test_distortion_is_that_of_opencv() -> None:
    """OpenCV projects points with its own distortion."""
    points = torch.randn(100, 3, generator=torch.Generator().manual_seed(1)) * 0.7 + torch.tensor([0, 0, 4.0])
    array = points.double().numpy()
    for lens, projected in ((BROWN, cv2.projectPoints), (FISHEYE, None)):
        K = np.array([[lens.focal[0], 0, lens.center[0]], [0, lens.focal[1], lens.center[1]], [0, 0, 1.0]])
        k, zero = np.array([*lens.distortion, 0, 0][:4]), np.zeros(3)
        if projected is not None:
            expected = cv2.projectPoints(array, zero, zero, K, k)[0]
        else:
            expected = cv2.fisheye.projectPoints(array[:, None], zero, zero, K, k)[0]
        camera = lens.camera()
        found = lens.distort(project(points, camera.focal, camera.center))
        np.testing.assert_allclose(found.numpy(), expected.reshape(-1, 2), atol=2e-3)
        bent = project(lens.distort_points(points), camera.focal, camera.center)
        torch.testing.assert_close(bent, found, atol=2e-3, rtol=0)


def test_beyond_the_turning_point_nothing_folds_back() -> None:
    lens = Lens((640, 360), (300.0, 300.0), (320.0, 180.0), (-0.3,))
    assert lens.max_radius == pytest.approx(1 / math.sqrt(0.9), abs=2e-3)  # Of r (1 - 0.3 r^2).
    line = torch.stack([torch.linspace(320, 2000, 200), torch.full((200,), 180.0)], dim=-1)
    assert (lens.distort(line)[:, 0].diff() >= -1e-3).all()
    edge = float(lens.distort(line)[-1, 0])
    assert torch.isnan(lens.undistort(torch.tensor([edge + 5, 180.0]))).all()
    assert torch.isfinite(lens.undistort(torch.tensor([edge - 5, 180.0]))).all()


def test_scaled_lens_has_scaled_pixels() -> None:
    half = BROWN.scaled((320, 180))
    pixels = pixels_of(BROWN)
    expected = (BROWN.distort(pixels) + 0.5) / 2 - 0.5
    torch.testing.assert_close(half.distort((pixels + 0.5) / 2 - 0.5), expected, atol=1e-3, rtol=0)
