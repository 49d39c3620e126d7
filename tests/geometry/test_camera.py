import pytest
import roma
import torch
from torch.autograd import gradcheck

from selfmocap.geometry.camera import (
    NEAREST_DEPTH,
    Camera,
    from_crop,
    project,
    to_crop,
    translation_from_crop,
    translation_to_crop,
    unproject,
)

BATCHES = [(), (1,), (3, 2)]


def random_camera(*batch: int) -> Camera:
    return Camera(
        focal=torch.rand(*batch, 2, dtype=torch.float64) * 500 + 300,
        center=torch.rand(*batch, 2, dtype=torch.float64) * 100 + 300,
        R_cam_world=roma.random_rotmat(batch, dtype=torch.float64)
        if batch
        else roma.random_rotmat(dtype=torch.float64),
        t_cam_world=torch.randn(*batch, 3, dtype=torch.float64),
    )


def points_in_front(*batch: int) -> torch.Tensor:
    return torch.randn(*batch, 5, 3, dtype=torch.float64) + torch.tensor([0.0, 0.0, 6.0])


@pytest.mark.parametrize("batch", BATCHES)
def test_project_after_unproject_is_the_identity(batch: tuple[int, ...]) -> None:
    camera, p_cam = random_camera(*batch), points_in_front(*batch)
    pixels = project(p_cam, camera.focal, camera.center)
    assert torch.allclose(unproject(pixels, p_cam[..., 2], camera.focal, camera.center), p_cam)


@pytest.mark.parametrize("batch", BATCHES)
def test_to_world_inverts_to_camera(batch: tuple[int, ...]) -> None:
    camera, p = random_camera(*batch), points_in_front(*batch)
    assert torch.allclose(camera.to_world(camera.to_camera(p)), p)


def test_known_pixels() -> None:
    """A point one metre to the right and one up, five metres ahead of an upright camera."""
    camera = Camera.looking_along_z(500.0, 641, 481)
    assert camera.project(torch.tensor([[1.0, 1.0, -5.0]])).tolist() == [[420.0, 140.0]]


@pytest.mark.parametrize("batch", BATCHES)
def test_the_crop_camera_projects_to_the_pixels_of_the_crop(batch: tuple[int, ...]) -> None:
    camera, p_cam = random_camera(*batch), points_in_front(*batch)
    p_world = camera.to_world(p_cam)
    box = torch.tensor([310.0, 250.0, 90.0], dtype=torch.float64).expand(*batch, 3)
    pixels = to_crop(camera.project(p_world), box)
    assert torch.allclose(camera.crop(box).project(p_world), pixels)
    assert torch.allclose(from_crop(pixels, box), camera.project(p_world))


def test_a_crop_of_the_whole_image_keeps_pixel_centres() -> None:
    """A 128 px window at its own size is a shift; the centre of its first pixel stays (0, 0)."""
    box = torch.tensor([63.5, 63.5, 64.0])
    assert to_crop(torch.tensor([[0.0, 0.0], [127.0, 127.0]]), box).tolist() == [[0.0, 0.0], [127.0, 127.0]]


@pytest.mark.parametrize("batch", BATCHES)
def test_translation_from_crop_inverts_translation_to_crop(batch: tuple[int, ...]) -> None:
    camera, p_cam = random_camera(*batch), points_in_front(*batch)[..., 0, :]
    box = torch.tensor([310.0, 250.0, 90.0], dtype=torch.float64).expand(*batch, 3)
    crop_camera = translation_to_crop(p_cam, box, camera.focal, camera.center)
    assert torch.allclose(translation_from_crop(crop_camera, box, camera.focal, camera.center), p_cam)


def test_crop_camera_does_not_depend_on_the_focal_length_in_the_image_plane() -> None:
    """With twice the focal length, equal (u, v, log m) is a person at twice the depth and the same pixel."""
    crop_camera, box = torch.tensor([0.1, -0.2, 0.0]), torch.tensor([320.0, 240.0, 100.0])
    center = torch.tensor([319.5, 239.5])
    near, far = (
        translation_from_crop(crop_camera, box, torch.full((2,), f), center) for f in (500.0, 1000.0)
    )
    assert far[2] == 2 * near[2]
    assert torch.allclose(far[:2], near[:2])


def test_gradients_are_exact() -> None:
    camera, p_world = random_camera(2), torch.randn(2, 4, 3, dtype=torch.float64)
    box = torch.tensor([[300.0, 200.0, 80.0]], dtype=torch.float64).expand(2, 3).contiguous()
    fields = [value.clone().requires_grad_() for value in vars(camera).values()]
    p_cam = points_in_front(2).requires_grad_()

    def pixels(focal: torch.Tensor, center: torch.Tensor, R: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        moved = Camera(focal, center, R, t + torch.tensor([0.0, 0.0, 20.0]))
        return moved.crop(box).project(p_world)

    assert gradcheck(pixels, fields)
    assert gradcheck(lambda p: project(p, camera.focal, camera.center), [p_cam])
    crop_camera = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda c: translation_from_crop(c, box, camera.focal, camera.center), [crop_camera])


@pytest.mark.parametrize("depth", [0.0, NEAREST_DEPTH, -3.0])
def test_points_at_or_behind_the_camera_are_safe(depth: float) -> None:
    p_cam = torch.tensor([[0.3, -0.2, depth], [0.0, 0.0, depth]], requires_grad=True)
    pixels = project(p_cam, torch.tensor([500.0, 500.0]), torch.tensor([320.0, 240.0]))
    (gradient,) = torch.autograd.grad(pixels.sum(), p_cam)
    assert pixels.isfinite().all()
    assert gradient.isfinite().all()
    assert (gradient[:, 2] == 0).all()
