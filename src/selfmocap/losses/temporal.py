"""Losses of the temporal network: 3D truth where it is known, detected keypoints everywhere (Kanazawa et al. 2019)."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import (
    NEAREST_DEPTH,
    project,
    translation_from_crop,
    translation_to_crop,
)
from selfmocap.losses.supervised import CROP_CAMERA_STD
from selfmocap.models.frame import Prediction

_MAX_METRES_PER_HALF_CROP, _MIN_METRES_PER_HALF_CROP = 1 / 0.7, 1 / 10
"""The paper's bounds of the scale. Without them a body that faces the wrong way shrinks."""
_RIDGE_WEIGHT = 1e-6

WeightedValues = tuple[Tensor, Tensor]
"""Values and their weights; finite also where the weight is 0."""


@dataclass(frozen=True)
class TemporalWeights:
    """Weights of the terms. The defaults are the paper's."""

    keypoints: float = 60.0
    """L1, half crop sides."""
    joints: float = 60.0
    """Half the mean square, metres, relative to the pelvis."""
    rotations: float = 60.0
    """Half the mean square over the elements of all rotation matrices."""
    betas: float = 60.0
    """Half the mean square."""
    shape_consistency: float = 1.0
    """Half the mean square of the difference of betas between consecutive frames."""
    shape_prior: float = 1.0
    """Mean square of the betas of all predictions."""
    adversarial: float = 1.0
    """Adversarial loss of all predicted poses."""
    hallucination: float = 1.0
    """Mean squared distance of hallucinated movie strips."""
    crop_camera: float = 0.0
    """L1, standard deviations, where a camera is predicted. Not in the paper, whose camera is weak perspective."""
    acceleration: float = 0.0
    """L1 of the acceleration error of joints and pelvis, metres per frame^2. Not in the paper."""

    @classmethod
    def compact(cls) -> "TemporalWeights":
        """Return the weights of the default network.

        One view says little about shape, so betas count less; joints count as much as rotations."""
        return cls(joints=600.0, betas=1.0, adversarial=0.1, crop_camera=1.0, acceleration=60.0)


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of the predictions, one row a frame."""

    boxes: Float[Tensor, "*batch 3"]
    """px of the image, as in `FrameInputs`."""
    focal: Float[Tensor, "*batch 2"]
    center: Float[Tensor, "*batch 2"]
    keypoints: Float[Tensor, "*batch keypoints 2"]
    """px of the image: the true ones for frames with truth, otherwise detected ones."""
    keypoint_weight: Float[Tensor, "*batch keypoints"]
    """In [0, 1]."""
    has_truth: Bool[Tensor, "*batch"]
    """Whether there is 3D truth. Without it the next four may hold anything."""
    R_cam_joint: Float[Tensor, "*batch 24 3 3"]
    """As in `Prediction`."""
    betas: Float[Tensor, "*batch betas"]
    joints: Float[Tensor, "*batch 24 3"]
    """Metres from the pelvis, camera frame."""
    p_cam_root: Float[Tensor, "*batch 3"]
    """Metres."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "Targets":
        """Apply a function to every tensor."""
        return Targets(**{field.name: function(getattr(self, field.name)) for field in fields(self)})

    def rows(self, rows: Int[Tensor, " rows"], valid: Bool[Tensor, " rows"]) -> "Targets":
        """Return rows of (clips, time) in one axis; rows that are not `valid` have weight 0 and no truth."""
        chosen = self.map(lambda value: value.flatten(0, 1)[rows.clamp(0, self.has_truth.numel() - 1)])
        return replace(
            chosen,
            keypoint_weight=chosen.keypoint_weight * valid[:, None],
            has_truth=chosen.has_truth & valid,
        )


@dataclass(frozen=True, eq=False)
class PredictedBody:
    """Predicted bodies with the pelvis at the origin of the camera's axes; metres."""

    prediction: Prediction
    joints: Float[Tensor, "batch 24 3"]
    keypoints: Float[Tensor, "batch keypoints 3"]

    def __getitem__(self, rows: slice) -> "PredictedBody":
        prediction = Prediction(*(value[rows] for value in vars(self.prediction).values()))
        return PredictedBody(prediction, self.joints[rows], self.keypoints[rows])


def predicted_bodies(body: Body, keypoints: str, prediction: Prediction) -> PredictedBody:
    """Pose the bodies of predictions (one batch axis). `body` may have only the vertices of that keypoint set."""
    origin = torch.zeros_like(prediction.crop_camera)
    posed = body.pose(BodyParameters(prediction.betas, prediction.R_parent_joint, origin))
    return PredictedBody(prediction, posed.joints, body.keypoints(posed.vertices, keypoints))


@torch.no_grad()
def fit_crop_camera(points: Float[Tensor, "batch points 3"], targets: Targets) -> Float[Tensor, "batch 3"]:
    """Fit the crop camera that best projects points to the target keypoints, in closed form, without gradient.

    Points are in metres from the pelvis, in the camera's axes. Least squares of x (Z + t_z) = X + t_x, weighted by
    `keypoint_weight`: the paper's scale and offset in full perspective. The crop is at least 0.2 m and at most 2.9 m
    wide."""
    rays = (targets.keypoints - targets.center.unsqueeze(-2)) / targets.focal.unsqueeze(-2)
    weights = targets.keypoint_weight.unsqueeze(-1)
    total = weights.sum(-2, keepdim=True).clamp_min(_RIDGE_WEIGHT)

    def centred(x: Tensor) -> Tensor:
        return x - (weights * x).sum(-2, keepdim=True) / total

    offset = rays * points[..., 2:] - points[..., :2]
    centred_rays, weighted_rays = centred(rays), weights * centred(rays)
    # Rays of a crop spread over a fraction of a radian: the ridge is relative to that.
    ridge = _RIDGE_WEIGHT * (targets.boxes[..., 2] / targets.focal.mean(-1)).square()
    variance = (weighted_rays * centred_rays).sum((-1, -2)) + ridge
    depth = -(weighted_rays * centred(offset)).sum((-1, -2)) / variance
    half_crops_per_metre = targets.focal.mean(-1) / targets.boxes[..., 2]
    depth = depth.clamp(
        min=_MIN_METRES_PER_HALF_CROP * half_crops_per_metre,
        max=_MAX_METRES_PER_HALF_CROP * half_crops_per_metre,
    ).clamp_min(NEAREST_DEPTH)
    sideways = (weights * (rays * depth[:, None, None] + offset)).sum(-2) / total.squeeze(-2)
    p_cam_root = torch.cat([sideways, depth.unsqueeze(-1)], dim=-1)
    return translation_to_crop(p_cam_root, targets.boxes, targets.focal, targets.center)


def body_losses(body: PredictedBody, targets: Targets) -> dict[str, WeightedValues]:
    """Compute the terms `keypoints`, `joints`, `rotations`, `betas` and `crop_camera` of TemporalWeights.

    Missing truth has weight 0 and no gradient, whatever its values are."""
    prediction, has_truth = body.prediction, targets.has_truth
    p_cam_root = translation_from_crop(prediction.crop_camera, targets.boxes, targets.focal, targets.center)
    pixels = project(body.keypoints + p_cam_root.unsqueeze(-2), targets.focal, targets.center)
    weight = targets.keypoint_weight.unsqueeze(-1).expand_as(pixels)
    target_pixels = torch.where(weight > 0, targets.keypoints, pixels.detach())
    count = prediction.betas.shape[-1]
    return {
        "keypoints": ((pixels - target_pixels).abs() / targets.boxes[:, None, 2:], weight),
        "joints": _half_squares(body.joints, targets.joints, has_truth),
        "rotations": _half_squares(prediction.R_parent_joint, targets.R_cam_joint, has_truth),
        "betas": _half_squares(prediction.betas, targets.betas[:, :count], has_truth),
        "crop_camera": _camera_loss(prediction.crop_camera, targets),
    }


def _camera_loss(crop_camera: Float[Tensor, "batch 3"], targets: Targets) -> WeightedValues:
    truth = translation_to_crop(targets.p_cam_root, targets.boxes, targets.focal, targets.center)
    has_truth = targets.has_truth.unsqueeze(-1).expand_as(crop_camera)
    error = crop_camera - torch.where(has_truth, truth, crop_camera.detach())
    return error.abs() / torch.tensor(CROP_CAMERA_STD).to(error), has_truth.to(error)


def _half_squares(estimate: Tensor, truth: Tensor, has_truth: Bool[Tensor, " batch"]) -> WeightedValues:
    mask = has_truth.view(-1, *[1] * (estimate.ndim - 1)).expand_as(estimate)
    return 0.5 * (estimate - torch.where(mask, truth, estimate.detach())).square(), mask.to(estimate)


def shape_consistency_loss(betas: Float[Tensor, "clips time betas"]) -> Float[Tensor, "clips time-1 betas"]:
    """Compute half the square of the difference of betas between consecutive frames."""
    return 0.5 * betas.diff(dim=1).square()


def acceleration_loss(
    joints: Float[Tensor, "clips time 24 3"], p_cam_root: Float[Tensor, "clips time 3"], targets: Targets
) -> WeightedValues:
    """Compute the L1 error of accelerations of joints (relative to the pelvis) and pelvis, metres per frame^2."""
    estimate = torch.cat([joints, p_cam_root.unsqueeze(2)], dim=2)
    has_truth = targets.has_truth[..., None, None]
    truth = torch.cat([targets.joints, targets.p_cam_root.unsqueeze(2)], dim=2)
    error = (estimate - torch.where(has_truth, truth, estimate.detach())).diff(n=2, dim=1).abs()
    return error, has_truth[:, 1:-1].expand_as(error).to(error)


def weighted_mean(weighted: WeightedValues) -> Float[Tensor, ""]:
    """Compute the sum of weighted values over the sum of weights (at least 1); 0 if all weights are 0."""
    values, weights = weighted
    return (values * weights).sum() / weights.sum().clamp_min(1.0)
