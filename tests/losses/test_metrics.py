import math

import pytest
import roma
import torch

from selfmocap.losses.metrics import (
    PCK_THRESHOLD,
    acceleration_error,
    correct_keypoints,
    image_aligned,
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
def test_procrustes_alignment_inverts_a_similarity(batch: tuple[int, ...]) -> None:
    truth = torch.randn(*batch, 14, 3, dtype=torch.float64)
    assert procrustes_error(similarity(truth), truth).max() < 1e-12


def test_procrustes_alignment_does_not_mirror() -> None:
    truth = torch.randn(14, 3, dtype=torch.float64)
    assert procrustes_error(similarity(truth, mirror=True), truth).mean() > 0.1


def test_procrustes_alignment_is_better_than_similarities_nearby() -> None:
    truth, estimate = torch.randn(2, 10, 3, dtype=torch.float64)
    best = procrustes_aligned(estimate, truth)
    least = (best - truth).square().sum()
    for _ in range(20):
        R = roma.rotvec_to_rotmat(torch.randn(3, dtype=torch.float64) * 0.02)
        other = best @ R.mT * (1 + 0.02 * torch.randn(())) + 0.02 * torch.randn(3)
        assert (other - truth).square().sum() >= least


def test_coinciding_points_are_translated_only() -> None:
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


@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_image_alignment_inverts_scale_and_translation_of_visible_points(batch: tuple[int, ...]) -> None:
    truth = torch.randn(*batch, 13, 2, dtype=torch.float64)
    seen = torch.arange(13) < 9
    estimate = 0.4 * truth + torch.tensor([3.0, -7.0], dtype=torch.float64)
    estimate[..., 9:, :] = 1e3
    aligned = image_aligned(estimate, truth, seen.expand(*batch, 13))
    assert torch.allclose(aligned[..., :9, :], truth[..., :9, :])
    flipped = image_aligned(-estimate, truth, seen.expand(*batch, 13))
    middle = truth[..., :9, :].mean(-2, keepdim=True)
    assert torch.allclose(flipped[..., :9, :], middle.expand(*batch, 9, 2))
    together = image_aligned(torch.zeros_like(truth), truth, seen.expand(*batch, 13))
    assert torch.allclose(together[..., :9, :], middle.expand(*batch, 9, 2))


def test_correct_keypoints_by_hand() -> None:
    """The diagonal of the rectangle is 5. Opposite errors of two opposite points leave the best scale at 1."""
    corners = torch.tensor(
        [[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0], [1.5, 0.0], [1.5, 4.0], [9.0, 9.0]]
    )
    visible = torch.tensor([True] * 6 + [False])
    for error, correct in ((0.9, 6), (1.1, 4)):
        estimate = corners.clone()
        estimate[4, 0] += error * 5 * PCK_THRESHOLD
        estimate[5, 0] -= error * 5 * PCK_THRESHOLD
        found = correct_keypoints(estimate[None], corners[None], visible[None])
        assert len(found) == 6 and int(found.sum()) == correct
        assert torch.equal(found, correct_keypoints(2 * estimate[None] + 5, corners[None], visible[None]))
    few = torch.tensor([True] * 5 + [False] * 2)
    assert len(correct_keypoints(corners[None], corners[None], few[None])) == 0
