"""How far an estimate is from the truth, unreduced: in 3D metres, in the image right or wrong; the names are those of
docs/reference/conventions.md."""

import torch
from jaxtyping import Bool, Float
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


PCK_SHARE = 11.2 / 150
"""How far off a right keypoint may be, in diagonals of the box around the true ones: Kanazawa et al. 2019 allow 0.05 of
a crop of 224 px in which that diagonal has 150 px."""
PCK_LEAST = 6
"""Keypoints that a frame must show to count."""


def image_aligned(
    estimate: Float[Tensor, "*batch points 2"],
    truth: Float[Tensor, "*batch points 2"],
    seen: Bool[Tensor, "*batch points"],
) -> Float[Tensor, "*batch points 2"]:
    """The estimate after the scale and translation in the image that are best over the points seen, in the sense of
    least squares. Points that all coincide are only moved. `truth` is finite also where nothing is seen."""
    counts = seen.unsqueeze(-1).to(estimate)
    total = counts.sum(-2, keepdim=True).clamp_min(1.0)
    middle, target_middle = ((counts * points).sum(-2, keepdim=True) / total for points in (estimate, truth))
    centred, target = estimate - middle, truth - target_middle
    spread = (counts * centred.square()).sum((-1, -2))
    scale = (counts * centred * target).sum((-1, -2)).clamp_min(0.0) / torch.where(spread > 0, spread, 1.0)
    return torch.where(spread > 0, scale, 1.0)[..., None, None] * centred + target_middle


def right_keypoints(
    estimate: Float[Tensor, "*batch points 2"],
    truth: Float[Tensor, "*batch points 2"],
    seen: Bool[Tensor, "*batch points"],
) -> Bool[Tensor, " judged"]:
    """`pck`: whether each keypoint seen, in frames that show PCK_LEAST of them, is within PCK_SHARE of where it truly
    is, after `image_aligned` (Kanazawa et al. 2019). Any unit."""
    hidden = ~seen.unsqueeze(-1)
    low, high = truth.masked_fill(hidden, torch.inf).amin(-2), truth.masked_fill(hidden, -torch.inf).amax(-2)
    apart = (image_aligned(estimate, truth, seen) - truth).norm(dim=-1)
    right = apart < PCK_SHARE * (high - low).norm(dim=-1, keepdim=True)
    return right[seen & (seen.sum(-1, keepdim=True) >= PCK_LEAST)]
