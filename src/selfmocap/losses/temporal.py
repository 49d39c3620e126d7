"""What a temporal network is trained by: 3D truth where there is some, detected keypoints everywhere (Kanazawa et al.
2019, section 3)."""

from dataclasses import dataclass, fields, replace
from typing import Any

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
from selfmocap.losses.supervised import CROP_CAMERA_SCALE
from selfmocap.models.frame import Prediction

_WIDEST, _NARROWEST = 1 / 0.7, 1 / 10
"""Metres of half a crop: the paper's bounds of the scale, without which a figure that faces the other way shrinks."""
_RIDGE = 1e-6

Weighed = tuple[Tensor, Tensor]
"""Values, and how much each counts; NaN-free also where they count for nothing."""


@dataclass(frozen=True)
class TemporalWeights:
    """How much each term counts; the defaults are the paper's."""

    keypoints: float = 60.0
    """L1, half crop sides."""
    joints: float = 60.0
    """Half the mean square, metres from the pelvis."""
    rotations: float = 60.0
    """Half the mean square over the elements of all matrices."""
    betas: float = 60.0
    """Half the mean square."""
    steady_shape: float = 1.0
    """Half the mean square of a frame's betas from the next one's."""
    shape_prior: float = 1.0
    """Mean square of the betas of all predictions."""
    adversary: float = 1.0
    hallucination: float = 1.0
    crop_camera: float = 0.0
    """Not in the paper, whose camera is weak perspective: L1, standard deviations, where a camera is predicted."""
    acceleration: float = 0.0
    """Not in the paper: L1 of the accelerations of joints and pelvis from the true ones, metres a frame^2."""

    @classmethod
    def compact(cls) -> "TemporalWeights":
        """Of the default network. One view says little about the shape, which would drown the rest; joints count as
        much as rotations do."""
        return cls(joints=600.0, betas=1.0, adversary=0.1, crop_camera=1.0, acceleration=60.0)


@dataclass(frozen=True, eq=False)
class Targets:
    """What is known of frames, one a row."""

    boxes: Float[Tensor, "*batch 3"]
    """px of the image, as in `FrameInputs`."""
    focal: Float[Tensor, "*batch 2"]
    center: Float[Tensor, "*batch 2"]
    keypoints: Float[Tensor, "*batch keypoints 2"]
    """px of the image: the true ones where there is truth, otherwise a detector's."""
    seen: Float[Tensor, "*batch keypoints"]
    """In [0, 1]: how much each keypoint counts."""
    known: Bool[Tensor, "*batch"]
    """Whether there is 3D truth; where there is none, the next four may hold anything."""
    R_cam_joint: Float[Tensor, "*batch 24 3 3"]
    """As in `Prediction`."""
    betas: Float[Tensor, "*batch betas"]
    joints: Float[Tensor, "*batch 24 3"]
    """Metres from the pelvis, camera frame."""
    p_cam_root: Float[Tensor, "*batch 3"]
    """Metres."""

    def map(self, change: Any) -> "Targets":
        """Each of the tensors changed alike."""
        return Targets(**{field.name: change(getattr(self, field.name)) for field in fields(self)})

    def rows(self, rows: Int[Tensor, " chosen"], valid: Bool[Tensor, " chosen"]) -> "Targets":
        """Some rows of clips and frames in one axis; where not `valid`, they count for nothing."""
        chosen = self.map(lambda value: value.flatten(0, 1)[rows.clamp(0, self.known.numel() - 1)])
        return replace(chosen, seen=chosen.seen * valid[:, None], known=chosen.known & valid)


@dataclass(frozen=True, eq=False)
class Figure:
    """A predicted body, the pelvis at the origin of the camera's axes; metres."""

    prediction: Prediction
    joints: Float[Tensor, "batch 24 3"]
    keypoints: Float[Tensor, "batch keypoints 3"]

    def __getitem__(self, rows: slice) -> "Figure":
        some = Prediction(*(value[rows] for value in vars(self.prediction).values()))
        return Figure(some, self.joints[rows], self.keypoints[rows])


def figures(body: Body, keypoints: str, prediction: Prediction) -> Figure:
    """The bodies of predictions (one batch axis). `body` may be restricted to the vertices of that keypoint set."""
    origin = torch.zeros_like(prediction.crop_camera)
    posed = body.pose(BodyParameters(prediction.betas, prediction.R_parent_joint, origin))
    return Figure(prediction, posed.joints, body.keypoints(posed.vertices, keypoints))


@torch.no_grad()
def best_camera(points: Float[Tensor, "batch points 3"], targets: Targets) -> Float[Tensor, "batch 3"]:
    """The crop camera with which points (metres from the pelvis, in the camera's axes) come nearest to the keypoints
    seen, in closed form and without gradient: least squares of x (Z + t_z) = X + t_x, weighted by `seen`, which is the
    paper's (a scale and an offset) in full perspective. The crop is kept from being narrower than 0.2 m or wider than
    2.9 m."""
    rays = (targets.keypoints - targets.center.unsqueeze(-2)) / targets.focal.unsqueeze(-2)
    weights = targets.seen.unsqueeze(-1)
    total = weights.sum(-2, keepdim=True).clamp_min(_RIDGE)

    def centred(x: Tensor) -> Tensor:
        return x - (weights * x).sum(-2, keepdim=True) / total

    offset = rays * points[..., 2:] - points[..., :2]
    about, spread = centred(rays), weights * centred(rays)
    # Rays of a crop spread over a fraction of a radian: the ridge is relative to that.
    ridge = _RIDGE * (targets.boxes[..., 2] / targets.focal.mean(-1)).square()
    depth = -(spread * centred(offset)).sum((-1, -2)) / ((spread * about).sum((-1, -2)) + ridge)
    a_metre = targets.focal.mean(-1) / targets.boxes[..., 2]
    depth = depth.clamp(min=_NARROWEST * a_metre, max=_WIDEST * a_metre).clamp_min(NEAREST_DEPTH)
    sideways = (weights * (rays * depth[:, None, None] + offset)).sum(-2) / total.squeeze(-2)
    place = torch.cat([sideways, depth.unsqueeze(-1)], dim=-1)
    return translation_to_crop(place, targets.boxes, targets.focal, targets.center)


def figure_losses(figure: Figure, targets: Targets) -> dict[str, Weighed]:
    """The terms `keypoints`, `joints`, `rotations`, `betas` and `crop_camera` of TemporalWeights. Where truth is
    missing they neither count nor have a gradient, whatever stands in its place."""
    prediction, known = figure.prediction, targets.known
    place = translation_from_crop(prediction.crop_camera, targets.boxes, targets.focal, targets.center)
    pixels = project(figure.keypoints + place.unsqueeze(-2), targets.focal, targets.center)
    seen = targets.seen.unsqueeze(-1).expand_as(pixels)
    goal = torch.where(seen > 0, targets.keypoints, pixels.detach())
    count = prediction.betas.shape[-1]
    return {
        "keypoints": ((pixels - goal).abs() / targets.boxes[:, None, 2:], seen),
        "joints": _squares(figure.joints, targets.joints, known),
        "rotations": _squares(prediction.R_parent_joint, targets.R_cam_joint, known),
        "betas": _squares(prediction.betas, targets.betas[:, :count], known),
        "crop_camera": _camera_loss(prediction.crop_camera, targets),
    }


def _camera_loss(crop_camera: Float[Tensor, "batch 3"], targets: Targets) -> Weighed:
    truth = translation_to_crop(targets.p_cam_root, targets.boxes, targets.focal, targets.center)
    counts = targets.known.unsqueeze(-1).expand_as(crop_camera)
    apart = crop_camera - torch.where(counts, truth, crop_camera.detach())
    return apart.abs() / torch.tensor(CROP_CAMERA_SCALE).to(apart), counts.to(apart)


def _squares(estimate: Tensor, truth: Tensor, known: Bool[Tensor, " batch"]) -> Weighed:
    counts = known.view(-1, *[1] * (estimate.ndim - 1)).expand_as(estimate)
    return 0.5 * (estimate - torch.where(counts, truth, estimate.detach())).square(), counts.to(estimate)


def steady_shape(betas: Float[Tensor, "clips time betas"]) -> Float[Tensor, "clips time-1 betas"]:
    """Half the square of what changes in a shape from frame to frame."""
    return 0.5 * betas.diff(dim=1).square()


def acceleration_loss(
    joints: Float[Tensor, "clips time 24 3"], p_cam_root: Float[Tensor, "clips time 3"], targets: Targets
) -> Weighed:
    """How far the accelerations of joints (from the pelvis) and of the pelvis are from the true ones, metres a
    frame^2."""
    estimate = torch.cat([joints, p_cam_root.unsqueeze(2)], dim=2)
    known = targets.known[..., None, None]
    truth = torch.cat([targets.joints, targets.p_cam_root.unsqueeze(2)], dim=2)
    apart = (estimate - torch.where(known, truth, estimate.detach())).diff(n=2, dim=1).abs()
    return apart, known[:, 1:-1].expand_as(apart).to(apart)


def mean_of(weighed: Weighed) -> Float[Tensor, ""]:
    """The mean over what counts; 0 where nothing does."""
    values, counts = weighed
    return (values * counts).sum() / counts.sum().clamp_min(1.0)
