"""Errors of an estimate, unreduced: metres in 3D, correct or not in the image.

The names of the metrics are those of docs/reference/conventions.md."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Points = Float[Tensor, "*batch points 3"]
PerPoint = Float[Tensor, "*batch points"]

PCK_THRESHOLD = 11.2 / 150
"""Maximum error of a correct keypoint, in diagonals of the box around the true keypoints.

Kanazawa et al. 2019 allow 0.05 of a crop of 224 px, in which that diagonal has 150 px."""
PCK_MIN_KEYPOINTS = 6
"""Minimum number of visible keypoints of a frame that counts."""


def absolute_error(estimate: Points, truth: Points) -> PerPoint:
    """Compute the distance of each point without alignment."""
    return (estimate - truth).norm(dim=-1)


def root_aligned_error(
    estimate: Points,
    truth: Points,
    estimate_root: Float[Tensor, "*batch 3"],
    truth_root: Float[Tensor, "*batch 3"],
) -> PerPoint:
    """Compute the distance of each point after alignment of the roots: `mpjpe` of joints, `surface` of vertices."""
    return absolute_error(estimate - estimate_root.unsqueeze(-2), truth - truth_root.unsqueeze(-2))


def translation_aligned_error(estimate: Points, truth: Points) -> PerPoint:
    """Compute the distance of each point after the best translation (least squares): the means are aligned.

    Tung et al. 2017, section 4: the error minimised over T."""
    return absolute_error(estimate - estimate.mean(-2, keepdim=True), truth - truth.mean(-2, keepdim=True))


def procrustes_aligned(estimate: Points, truth: Points) -> Points:
    """Apply the best similarity (rotation, scale, translation; least squares) to the estimate (Umeyama 1991).

    Points that all coincide are translated only. `roma.rigid_points_registration` gives NaN there, and differs by up to
    0.2 mm in float32 where the best rotation is nearly undefined (mirror images)."""
    truth_mean = truth.mean(-2, keepdim=True)
    centred, target = estimate - estimate.mean(-2, keepdim=True), truth - truth_mean
    U, S, Vh = torch.linalg.svd(centred.mT @ target)
    sign = torch.ones_like(S)
    sign[..., -1] = torch.linalg.det(U @ Vh).sign()
    spread = centred.square().sum((-1, -2))
    scale = torch.where(spread > 0, (S * sign).sum(-1) / torch.where(spread > 0, spread, 1.0), 1.0)
    return scale[..., None, None] * (centred @ (U * sign.unsqueeze(-2)) @ Vh) + truth_mean


def procrustes_error(estimate: Points, truth: Points) -> PerPoint:
    """Compute `pa_mpjpe`: the distance of each point after `procrustes_aligned`, each frame by itself."""
    return absolute_error(procrustes_aligned(estimate, truth), truth)


def acceleration_error(
    estimate: Float[Tensor, "time points 3"], truth: Float[Tensor, "time points 3"]
) -> Float[Tensor, "time-2 points"]:
    """Compute the length of the difference of accelerations, metres per frame^2 (Kanazawa et al. 2019).

    Accelerations are second differences of consecutive frames."""
    return (estimate - truth).diff(n=2, dim=0).norm(dim=-1)


def image_aligned(
    estimate: Float[Tensor, "*batch points 2"],
    truth: Float[Tensor, "*batch points 2"],
    visible: Bool[Tensor, "*batch points"],
) -> Float[Tensor, "*batch points 2"]:
    """Apply the best scale (at least 0) and translation in the image (least squares over visible points).

    Points that all coincide are translated only. `truth` must be finite also for points that are not visible."""
    counts = visible.unsqueeze(-1).to(estimate)
    total = counts.sum(-2, keepdim=True).clamp_min(1.0)
    middle, target_middle = ((counts * points).sum(-2, keepdim=True) / total for points in (estimate, truth))
    centred, target = estimate - middle, truth - target_middle
    spread = (counts * centred.square()).sum((-1, -2))
    scale = (counts * centred * target).sum((-1, -2)).clamp_min(0.0) / torch.where(spread > 0, spread, 1.0)
    return torch.where(spread > 0, scale, 1.0)[..., None, None] * centred + target_middle


def correct_keypoints(
    estimate: Float[Tensor, "*batch points 2"],
    truth: Float[Tensor, "*batch points 2"],
    visible: Bool[Tensor, "*batch points"],
) -> Bool[Tensor, " counted"]:
    """Compute `pck`: whether each visible keypoint is within PCK_THRESHOLD of the truth after `image_aligned`.

    Frames with less than PCK_MIN_KEYPOINTS visible keypoints do not count (Kanazawa et al. 2019). Any unit."""
    hidden = ~visible.unsqueeze(-1)
    low, high = truth.masked_fill(hidden, torch.inf).amin(-2), truth.masked_fill(hidden, -torch.inf).amax(-2)
    distance = (image_aligned(estimate, truth, visible) - truth).norm(dim=-1)
    correct = distance < PCK_THRESHOLD * (high - low).norm(dim=-1, keepdim=True)
    return correct[visible & (visible.sum(-1, keepdim=True) >= PCK_MIN_KEYPOINTS)]
