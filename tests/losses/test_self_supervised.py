import math

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from selfmocap.losses.self_supervised import (
    halve_mask,
    halve_points,
    intersection_over_union,
    keypoint_loss,
    motion_loss,
    motion_loss_through_position,
    robust_keypoint_loss,
    sample_bilinear,
    segmentation_loss,
)

SIDE = 24


def _disc(x: float, y: float, radius: float) -> Tensor:
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    return (column - x) ** 2 + (row - y) ** 2 <= radius**2


def _everywhere(mask: Tensor) -> Tensor:
    return torch.ones_like(mask)


def _segmentation_by_hand(vertices: Tensor, visible: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 5 for one image, from all pairs of distances."""
    pixels = mask.nonzero().flip(-1).to(vertices)
    squared = (vertices[visible][:, None] - pixels[None]).square().sum(-1)
    return squared.min(1).values.mean(), squared.min(0).values.mean()


# ---- keypoints


def test_keypoint_losses_of_a_known_error() -> None:
    estimate, seen = torch.tensor([[3.0, 4.0], [1.0, 1.0]]), torch.tensor([[0.0, 0.0], [1.0, 1.0]])
    assert keypoint_loss(estimate, seen).tolist() == [25.0, 0.0]
    robust = robust_keypoint_loss(estimate, seen, torch.tensor([0.5, 1.0]), scale=2.0)
    torch.testing.assert_close(robust, torch.tensor([0.5 * 2 * (math.sqrt(1 + 25 / 4) - 1), 0.0]))


def test_gradients_are_bounded_for_outliers_and_linear_for_small_errors() -> None:
    seen, one = torch.zeros(3, 2, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    estimate = torch.tensor([[1e6, 0.0], [1e-3, 0.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(robust_keypoint_loss(estimate, seen, one).sum(), estimate)
    torch.testing.assert_close(
        gradient[:, 0], torch.tensor([1.0, 1e-3 / 2, 0.0], dtype=torch.float64), rtol=1e-6, atol=0
    )


def test_gradient_of_the_keypoint_losses() -> None:
    estimate = torch.randn(2, 5, 2, dtype=torch.float64, requires_grad=True)
    seen, confidence = torch.randn(2, 5, 2, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64)
    assert gradcheck(lambda x: keypoint_loss(x, seen), estimate)
    assert gradcheck(lambda x: robust_keypoint_loss(x, seen, confidence), estimate)


# ---- motion


def test_bilinear_is_exact_on_a_ramp_and_at_pixel_centres() -> None:
    row, column = torch.meshgrid(torch.arange(7.0), torch.arange(9.0), indexing="ij")
    ramp = torch.stack([2 * column + row, -column], dim=-1).expand(3, 7, 9, 2)
    points = torch.rand(3, 50, 2) * torch.tensor([8.0, 6.0])
    expected = torch.stack([2 * points[..., 0] + points[..., 1], -points[..., 0]], dim=-1)
    torch.testing.assert_close(sample_bilinear(ramp, points), expected, rtol=1e-5, atol=1e-5)
    noise = torch.randn(1, 4, 5, 1)
    torch.testing.assert_close(sample_bilinear(noise, torch.tensor([[[3.0, 2.0]]]))[0, 0], noise[0, 2, 3])
    assert sample_bilinear(noise, torch.tensor([[[-1.0, 2.0], [5.0, 0.0], [99.0, 99.0]]])).abs().max() < 1e-5


def test_motion_loss_of_a_known_error_counts_visible_vertices_only() -> None:
    flow = torch.zeros(SIDE, SIDE, 2) + torch.tensor([3.0, -1.0])
    confidence = torch.ones(SIDE, SIDE)
    confidence[:, :8] = 0
    vertices = torch.tensor([[10.0, 10], [12, 12], [14, 14], [4, 4], [-40, 4]])
    vertex_flow = torch.tensor([[3.0, -1], [4, -3], [99, 99], [99, 99], [99, 99]])
    visible = torch.tensor([True, True, False, True, True])
    # Errors: 0; 1 + 2; not visible; flow with confidence 0; outside the crop. Four are visible.
    loss = motion_loss(vertices, vertex_flow, visible, flow, confidence)
    torch.testing.assert_close(loss, torch.tensor(3 / 4))
    assert motion_loss(vertices, vertex_flow, torch.zeros_like(visible), flow, confidence) == 0


def test_gradient_of_the_motion_losses_differs_only_in_the_position() -> None:
    flow, confidence = torch.randn(2, SIDE, SIDE, 2).double(), torch.rand(2, SIDE, SIDE).double()
    vertices = (torch.rand(2, 6, 2).double() * (SIDE - 1)).requires_grad_()
    vertex_flow = torch.randn(2, 6, 2).double().requires_grad_()
    visible = torch.rand(2, 6) > 0.3
    inputs = (vertices, vertex_flow)
    assert gradcheck(lambda x: motion_loss(vertices, x, visible, flow, confidence), vertex_flow)
    ones = torch.ones_like(confidence)  # The weight also depends on the position, without gradient.
    assert gradcheck(lambda x, u: motion_loss_through_position(x, u, visible, flow, ones), inputs)
    loss, paper = (
        motion_loss(*inputs, visible, flow, ones),
        motion_loss_through_position(*inputs, visible, flow, ones),
    )
    assert torch.equal(loss, paper)
    at_position, at_flow = torch.autograd.grad(loss.sum(), inputs, allow_unused=True)
    paper_at_position, paper_at_flow = torch.autograd.grad(paper.sum(), inputs)
    assert at_position is None
    assert paper_at_position.abs().sum() > 0
    assert torch.equal(at_flow, paper_at_flow)


# ---- segmentation


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_segmentation_equals_all_pairs_of_distances(dtype: torch.dtype) -> None:
    masks = torch.stack([_disc(8, 9, 5), _disc(14, 12, 7)])
    vertices = (torch.rand(2, 400, 2, dtype=dtype) * 30 - 3).requires_grad_()
    visible = torch.rand(2, 400) > 0.5
    over, under = segmentation_loss(vertices, visible, masks, _everywhere(masks))
    pairs = [_segmentation_by_hand(*item) for item in zip(vertices, visible, masks, strict=True)]
    torch.testing.assert_close(
        torch.stack([over, under], 1), torch.stack([torch.stack(pair) for pair in pairs])
    )
    gradient = torch.autograd.grad((over + 3 * under).sum(), vertices, retain_graph=True)[0]
    expected = torch.autograd.grad(sum(o + 3 * u for o, u in pairs), vertices)[0]
    assert (gradient - expected).norm() <= 1e-6 * expected.norm()


def test_gradient_of_the_segmentation_loss() -> None:
    masks = torch.stack([_disc(8, 9, 5), _disc(14, 12, 7)])
    vertices = (torch.rand(2, 8, 2, dtype=torch.float64) * SIDE).requires_grad_()
    visible = torch.rand(2, 8) > 0.2
    assert gradcheck(lambda x: segmentation_loss(x, visible, masks, _everywhere(masks)), vertices)


@pytest.mark.parametrize("mask", ["empty", "full", "one pixel"])
@pytest.mark.parametrize("where", ["inside", "partly outside", "far outside", "unseen"])
@pytest.mark.parametrize("certain", [True, False])
def test_values_and_gradients_are_finite(mask: str, where: str, certain: bool) -> None:
    masks = torch.zeros(1, SIDE, SIDE, dtype=torch.bool)
    masks[:, 5:6, 7:8] = mask == "one pixel"
    masks |= mask == "full"
    shift = {"partly outside": SIDE / 2, "far outside": 1e5}.get(where, 0)
    vertices = (torch.rand(1, 50, 2) * SIDE + shift).requires_grad_()
    visible = torch.full((1, 50), where != "unseen")
    over, under = segmentation_loss(vertices, visible, masks, torch.full_like(masks, certain))
    (gradient,) = torch.autograd.grad((over + under).sum(), vertices)
    assert torch.isfinite(torch.cat([over, under])).all()
    assert torch.isfinite(gradient).all()
    alive = certain and mask != "empty" and where != "unseen"
    assert bool(gradient.any()) == alive


def test_uncertain_pixels_add_no_loss() -> None:
    mask = _disc(8, 8, 4)
    certain = _everywhere(mask)
    certain[:, 16:] = False
    inside = torch.tensor([[8.0, 8.0]])
    beyond = torch.tensor([[8.0, 8.0], [20.0, 8.0], [40.0, 8.0]])
    expected = segmentation_loss(inside, torch.ones(1, dtype=torch.bool), mask, certain)
    assert segmentation_loss(beyond, torch.ones(3, dtype=torch.bool), mask, certain)[0] == expected[0] == 0
    more = mask | ~certain  # person or not, where it is uncertain
    assert segmentation_loss(inside, torch.ones(1, dtype=torch.bool), more, certain) == expected
    # A vertex on certain background is as far from the person as the nearest pixel that may be the person.
    assert (
        segmentation_loss(torch.tensor([[14.0, 8.0]]), torch.ones(1, dtype=torch.bool), mask, certain)[0] == 4
    )


def test_the_gradient_of_the_printed_equation_7_has_the_wrong_sign() -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[10, 5] = True
    vertex = torch.tensor([[14.7, 10.0]], requires_grad=True)  # background, right of the mask
    rows, columns = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    pixels = torch.stack([columns, rows], dim=-1).float()
    to_mask = (pixels - torch.tensor([5.0, 10.0])).norm(dim=-1)
    to_vertex = (pixels - vertex).norm(dim=-1)
    silhouette = to_vertex.clamp_max(0.5) + 0.5 * (to_vertex < 0.5)
    (printed,) = torch.autograd.grad((silhouette * to_mask).sum(), vertex)
    over, _ = segmentation_loss(vertex, torch.ones(1, dtype=torch.bool), mask, _everywhere(mask))
    (gradient,) = torch.autograd.grad(over, vertex)
    assert printed[0, 0] < 0  # a step downhill goes right, away from the mask
    torch.testing.assert_close(gradient, torch.tensor([[2 * 9.7, 0.0]]))


def test_halved_points_and_masks_agree() -> None:
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[8:12, 4:10] = True
    half = halve_mask(mask)
    assert half.sum() * 4 == mask.sum()
    centre = mask.nonzero().float().mean(0)
    torch.testing.assert_close(halve_points(centre[None])[0], half.nonzero().float().mean(0))


def test_intersection_over_union_of_known_masks() -> None:
    masks = torch.stack([_disc(8, 8, 3), _disc(8, 8, 3), torch.zeros(SIDE, SIDE, dtype=torch.bool)])
    others = torch.stack([masks[0], ~masks[0], masks[2]]).float()
    assert intersection_over_union(others, masks).tolist() == [1.0, 0.0, 1.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_the_same_values() -> None:
    masks = torch.stack([_disc(8, 9, 5), _disc(14, 12, 7)])
    inputs = torch.rand(2, 400, 2) * SIDE, torch.rand(2, 400) > 0.5, masks, _everywhere(masks)
    on_gpu = torch.stack(segmentation_loss(*(x.cuda() for x in inputs)))
    torch.testing.assert_close(on_gpu.cpu(), torch.stack(segmentation_loss(*inputs)))
