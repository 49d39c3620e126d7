import math

import pytest
import roma
import torch
from torch.autograd import gradcheck

from selfmocap.geometry.rotations import (
    interpolate_frames,
    matrix_from_6d,
    matrix_from_axis_times_angle,
    matrix_from_euler,
    matrix_to_6d,
    matrix_to_euler,
    shortest_arc,
)

BATCHES = [(), (1,), (3, 2)]


def random_rotations(*batch: int) -> torch.Tensor:
    return roma.rotvec_to_rotmat(torch.randn(*batch, 3, dtype=torch.float64) * 2)


@pytest.mark.parametrize("batch", BATCHES)
def test_round_trips(batch: tuple[int, ...]) -> None:
    R = random_rotations(*batch)
    assert torch.allclose(matrix_from_6d(matrix_to_6d(R)), R)
    assert torch.allclose(matrix_from_euler(*matrix_to_euler(R)), R)


def test_euler_is_the_product_rz_ry_rx() -> None:
    angles = torch.tensor([0.3, -0.8, 2.1], dtype=torch.float64)
    about = [
        roma.rotvec_to_rotmat(torch.eye(3, dtype=torch.float64)[axis] * angles[axis]) for axis in range(3)
    ]
    assert torch.allclose(matrix_from_euler(angles.sin(), angles.cos()), about[2] @ about[1] @ about[0])


def test_axis_times_angle_ignores_the_axis_length() -> None:
    R = matrix_from_axis_times_angle(torch.tensor([0.0, 7.0, 0.0, math.pi / 2]))
    assert torch.allclose(R, torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]), atol=1e-6)


def test_gradients_are_exact() -> None:
    assert gradcheck(matrix_from_6d, torch.randn(3, 6, dtype=torch.float64, requires_grad=True))
    assert gradcheck(matrix_from_axis_times_angle, torch.randn(3, 4, dtype=torch.float64, requires_grad=True))
    sin, cos = torch.randn(2, 3, 3, dtype=torch.float64)
    assert gradcheck(matrix_from_euler, [sin.requires_grad_(), cos.requires_grad_()])


@pytest.mark.parametrize(
    "columns", [(0.0,) * 6, (1.0, 0.0, 0.0, 2.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0, 0.0, 0.0)], ids=str
)
def test_degenerate_6d_is_finite(columns: tuple[float, ...]) -> None:
    columns_6d = torch.tensor(columns, requires_grad=True)
    R = matrix_from_6d(columns_6d)
    (gradient,) = torch.autograd.grad(R.sum(), columns_6d)
    assert R.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_euler_angles_at_the_pole_are_finite(dtype: torch.dtype) -> None:
    poles = torch.tensor([[[0.0, 0, y], [0, 1, 0], [-y, 0, 0]] for y in (1.0, -1.0)], dtype=dtype)
    R = poles.requires_grad_()
    sin, cos = matrix_to_euler(R)
    assert torch.equal(sin[:, 1], torch.tensor([1.0, -1.0], dtype=dtype))
    (sin.sum() + cos.sum()).backward()
    assert R.grad is not None and R.grad.isfinite().all()


def test_axis_of_length_zero_and_angle_zero_are_finite() -> None:
    zero = torch.zeros(4, requires_grad=True)
    (gradient,) = torch.autograd.grad(matrix_from_axis_times_angle(zero).sum(), zero)
    assert gradient.isfinite().all()


@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_the_shortest_arc_turns_one_direction_to_the_other(batch: tuple[int, ...]) -> None:
    a, b = torch.randn(2, *batch, 3, dtype=torch.float64)
    R = shortest_arc(a, b)
    turned = (R @ a[..., None]).squeeze(-1)
    expected = b * (a.norm(dim=-1) / b.norm(dim=-1))[..., None]
    assert torch.allclose(turned, expected, atol=1e-12)
    angle = torch.acos(torch.nn.functional.cosine_similarity(a, b, dim=-1))
    assert torch.allclose(roma.rotmat_to_rotvec(R).norm(dim=-1), angle, atol=1e-6)
    identity = torch.eye(3).double().expand(*batch, 3, 3)
    assert torch.allclose(shortest_arc(a, a), identity, atol=1e-12)


def test_frames_are_interpolated_between_their_neighbours() -> None:
    R, p = roma.random_rotmat((600, 24)).double(), torch.randn(600, 3, dtype=torch.float64)
    before = torch.arange(599)
    mid_R, mid_p = interpolate_frames(R, p, before, before + 1, torch.full((599,), 0.5).double())
    assert torch.allclose(mid_p, (p[:-1] + p[1:]) / 2)
    assert torch.allclose(R[:-1].mT @ mid_R, mid_R.mT @ R[1:], atol=1e-6)
    for fraction, frames in ((0.0, slice(None, -1)), (1.0, slice(1, None))):
        one_R, one_p = interpolate_frames(R, p, before, before + 1, torch.full((599,), fraction).double())
        assert torch.allclose(one_R, R[frames], atol=1e-6)
        assert torch.equal(one_p, p[frames])
