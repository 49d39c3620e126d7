import math

import pytest
import roma
import torch

from selfmocap.metrics import (
    acceleration_error,
    procrustes_aligned,
    procrustes_error,
    root_aligned_error,
    translation_aligned_error,
)


def similarity(points: torch.Tensor, mirror: bool = False) -> torch.Tensor:
    R = roma.random_rotmat(dtype=points.dtype)
    if mirror:
        R = R @ torch.diag(torch.tensor([1.0, 1.0, -1.0], dtype=points.dtype))
    return 1.7 * points @ R.mT + torch.tensor([0.3, -1.0, 2.0], dtype=points.dtype)


@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_procrustes_undoes_a_similarity(batch: tuple[int, ...]) -> None:
    truth = torch.randn(*batch, 14, 3, dtype=torch.float64)
    assert procrustes_error(similarity(truth), truth).max() < 1e-12


def test_procrustes_does_not_undo_a_mirror_image() -> None:
    truth = torch.randn(14, 3, dtype=torch.float64)
    assert procrustes_error(similarity(truth, mirror=True), truth).mean() > 0.1


def test_procrustes_is_the_best_similarity_nearby() -> None:
    truth, estimate = torch.randn(2, 10, 3, dtype=torch.float64)
    best = procrustes_aligned(estimate, truth)
    least = (best - truth).square().sum()
    for _ in range(20):
        R = roma.rotvec_to_rotmat(torch.randn(3, dtype=torch.float64) * 0.02)
        other = best @ R.mT * (1 + 0.02 * torch.randn(())) + 0.02 * torch.randn(3)
        assert (other - truth).square().sum() >= least


def test_points_that_coincide_are_only_moved() -> None:
    truth = torch.randn(5, 3)
    aligned = procrustes_aligned(torch.ones(5, 3), truth)
    assert torch.allclose(aligned, truth.mean(0).expand(5, 3), atol=1e-6)


def test_known_errors() -> None:
    truth = torch.zeros(2, 3)
    estimate = torch.tensor([[0.0, 0.0, 1.0], [0.0, 2.0, 1.0]])
    assert root_aligned_error(estimate, truth, estimate[0], truth[0]).tolist() == [0, 2]
    assert translation_aligned_error(estimate, truth).tolist() == [1, 1]


def test_acceleration_error_of_a_parabola_is_its_acceleration() -> None:
    time = torch.arange(5.0)
    falling = torch.zeros(5, 2, 3)
    falling[:, 1, 1] = -0.5 * 3 * time**2
    error = acceleration_error(falling + 7 + time[:, None, None], torch.zeros(5, 2, 3))
    assert error.shape == (3, 2)
    assert error[:, 0].max() < 1e-5
    assert error[:, 1].tolist() == pytest.approx([3.0] * 3)
    assert math.isclose(float(error.mean()), 1.5, rel_tol=1e-5)
