import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from selfmocap.geometry.nearest import (
    pixel_centres,
    squared_distance_to_mask,
    squared_distance_to_nearest,
    squared_distance_to_nearest_by_search,
)


def _points(kind: str, *shape: int) -> Tensor:
    points = torch.randn(*shape, 2, dtype=torch.float64) * 20
    if kind == "far apart":
        points[..., ::2, :] += 1e5
    elif kind == "on a line":
        points[..., 0] = 3.0
    elif kind == "on a grid":
        points = points.round()
    elif kind == "all at one place":
        points = torch.full_like(points, 7.0)
    return points


@pytest.mark.parametrize("kind", ["scattered", "far apart", "on a line", "on a grid", "all at one place"])
@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_equals_the_brute_force_search(kind: str, batch: tuple[int, ...]) -> None:
    queries, targets = _points("scattered", *batch, 300), _points(kind, *batch, 200)
    asks, answers = torch.rand(*batch, 300) > 0.3, torch.rand(*batch, 200) > 0.3
    pull = torch.rand(*batch, 300, dtype=torch.float64)
    results = []
    for function in (squared_distance_to_nearest, squared_distance_to_nearest_by_search):
        inputs = queries.clone().requires_grad_(), targets.clone().requires_grad_()
        squared = function(*inputs, asks, answers)
        results.append((squared, *torch.autograd.grad((squared * pull).sum(), inputs)))
    (ours, to_queries, to_targets), (theirs, expected_queries, expected_targets) = results
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-9)
    assert (ours[~asks] == 0).all()
    if kind != "on a grid":  # where two targets may be equally near
        torch.testing.assert_close(to_queries, expected_queries, rtol=1e-12, atol=1e-9)
    if kind in ("scattered", "far apart", "on a line"):
        torch.testing.assert_close(to_targets, expected_targets, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.9, 1.0])
@pytest.mark.parametrize("batch", [(), (1,), (3, 2), (0,)])
def test_distance_to_a_mask_equals_the_brute_force_search(share: float, batch: tuple[int, ...]) -> None:
    masks = torch.rand(*batch, 20, 30) < share
    points = (torch.rand(*batch, 300, 2, dtype=torch.float64) * 60 - 15).requires_grad_()
    asks = torch.rand(*batch, 300) > 0.3
    ours = squared_distance_to_mask(points, asks, masks)
    theirs = squared_distance_to_nearest_by_search(
        points, pixel_centres(masks).to(points), asks, masks.flatten(-2)
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    pull = torch.rand_like(ours)
    gradients = [torch.autograd.grad((squared * pull).sum(), points)[0] for squared in (ours, theirs)]
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


def test_gradient_towards_a_mask() -> None:
    masks, points = (
        torch.rand(2, 6, 7) > 0.7,
        (torch.rand(2, 12, 2, dtype=torch.float64) * 9 - 1).requires_grad_(),
    )
    asks = torch.rand(2, 12) > 0.3
    assert gradcheck(lambda x: squared_distance_to_mask(x, asks, masks), points)


def test_single_precision_has_the_error_of_its_inputs() -> None:
    queries, targets = _points("scattered", 4, 500), _points("scattered", 4, 300)
    everything = torch.ones(4, 500, dtype=torch.bool), torch.ones(4, 300, dtype=torch.bool)
    exact = squared_distance_to_nearest_by_search(queries, targets, *everything)
    torch.testing.assert_close(
        squared_distance_to_nearest(queries.float(), targets.float(), *everything).double(),
        exact,
        rtol=1e-5,
        atol=1e-4,
    )


def test_gradient_in_queries_and_targets() -> None:
    queries, targets = (
        _points("scattered", 2, 12).requires_grad_(),
        _points("scattered", 2, 9).requires_grad_(),
    )
    asks, answers = torch.rand(2, 12) > 0.3, torch.rand(2, 9) > 0.3
    assert gradcheck(lambda q, t: squared_distance_to_nearest(q, t, asks, answers), (queries, targets))


@pytest.mark.parametrize(("queries", "targets"), [(0, 5), (5, 0), (0, 0), (5, 5)])
def test_the_distance_is_zero_for_empty_masks(queries: int, targets: int) -> None:
    q, t = (
        _points("scattered", 2, queries).requires_grad_(),
        _points("scattered", 2, targets).requires_grad_(),
    )
    asks, answers = torch.ones(2, queries, dtype=torch.bool), torch.zeros(2, targets, dtype=torch.bool)
    squared = squared_distance_to_nearest(q, t, asks, answers)
    gradients = torch.autograd.grad(squared.sum(), (q, t))
    assert not squared.any()
    assert not any(gradient.any() for gradient in gradients)


def test_points_that_are_not_finite_are_refused() -> None:
    queries, one = torch.full((3, 2), torch.nan), torch.ones(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="finite points"):
        squared_distance_to_nearest(queries, torch.zeros(3, 2), one, one)
    with pytest.raises(ValueError, match="finite points"):
        squared_distance_to_mask(queries, one, torch.ones(4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="finite points"):
        squared_distance_to_nearest(torch.zeros(3, 2), torch.full((3, 2), torch.inf), one, one)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_gives_equal_results() -> None:
    inputs = (
        _points("scattered", 2, 300),
        _points("scattered", 2, 200),
        torch.rand(2, 300) > 0.3,
        torch.rand(2, 200) > 0.3,
    )
    on_gpu = squared_distance_to_nearest(*(x.cuda() for x in inputs))
    torch.testing.assert_close(on_gpu.cpu(), squared_distance_to_nearest(*inputs))
