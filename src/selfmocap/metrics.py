"""Distances between an estimate and the truth, unreduced, in metres; the names are those of docs/conventions.md."""

import torch
from jaxtyping import Float
from torch import Tensor

Points = Float[Tensor, "*batch points 3"]
PerPoint = Float[Tensor, "*batch points"]


def absolute_error(estimate: Points, truth: Points) -> PerPoint:
    """Distance of each point, nothing aligned."""
    return (estimate - truth).norm(dim=-1)


def root_aligned_error(
    estimate: Points,
    truth: Points,
    estimate_root: Float[Tensor, "*batch 3"],
    truth_root: Float[Tensor, "*batch 3"],
) -> PerPoint:
    """Distance of each point after the roots are put onto each other: `mpjpe` for joints, `surface` for vertices."""
    return absolute_error(estimate - estimate_root.unsqueeze(-2), truth - truth_root.unsqueeze(-2))


def translation_aligned_error(estimate: Points, truth: Points) -> PerPoint:
    """Distance after the translation that is best in the sense of least squares: the means are put onto each other
    (Tung et al. 2017, section 4: the error minimised over T)."""
    return absolute_error(estimate - estimate.mean(-2, keepdim=True), truth - truth.mean(-2, keepdim=True))


def procrustes_aligned(estimate: Points, truth: Points) -> Points:
    """The estimate after the similarity (rotation, scale, translation) that is best in the sense of least squares
    (Umeyama 1991). Points that all coincide are only moved."""
    truth_mean = truth.mean(-2, keepdim=True)
    centred, target = estimate - estimate.mean(-2, keepdim=True), truth - truth_mean
    U, S, Vh = torch.linalg.svd(centred.mT @ target)
    sign = torch.ones_like(S)
    sign[..., -1] = torch.linalg.det(U @ Vh).sign()
    spread = centred.square().sum((-1, -2))
    scale = torch.where(spread > 0, (S * sign).sum(-1) / torch.where(spread > 0, spread, 1.0), 1.0)
    return scale[..., None, None] * (centred @ (U * sign.unsqueeze(-2)) @ Vh) + truth_mean


def procrustes_error(estimate: Points, truth: Points) -> PerPoint:
    """`pa_mpjpe`: distance after `procrustes_aligned`, each frame by itself."""
    return absolute_error(procrustes_aligned(estimate, truth), truth)


def acceleration_error(
    estimate: Float[Tensor, "time points 3"], truth: Float[Tensor, "time points 3"]
) -> Float[Tensor, "time-2 points"]:
    """Length of the difference of second differences, metres per frame squared (Kanazawa et al. 2019). The frames are
    consecutive."""
    return (estimate - truth).diff(n=2, dim=0).norm(dim=-1)
