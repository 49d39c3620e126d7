"""Losses against known 3D, unreduced: one value a sample."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project, translation_to_crop
from selfmocap.geometry.rotations import matrix_to_euler
from selfmocap.models.corrector import Located, gaussians
from selfmocap.models.frame import UPRIGHT, FrameInputs, Prediction

CROP_CAMERA_SCALE = (0.2, 0.2, 0.25)
"""Standard deviations of the crop camera over the training cameras."""


@dataclass(frozen=True)
class SupervisedWeights:
    """How much each term counts."""

    rotations: float = 1.0
    joints: float = 20.0
    vertices: float = 20.0
    betas: float = 0.1
    crop_camera: float = 1.0
    keypoints_2d: float = 10.0
    places: float = 0.5
    """Of a network that corrects keypoints, as are those that follow."""
    found: float = 10.0
    heat: float = 0.15
    depths: float = 0.5


def supervised_losses(
    body: Body, keypoint_set: str, prediction: Prediction, inputs: FrameInputs, truth: BodyParameters
) -> dict[str, Float[Tensor, " batch"]]:
    """The terms of SupervisedWeights. `truth` is in the camera frame (the camera is the world); `body` may be
    restricted to a sample of vertices that includes those of the network's keypoint set.

    Rotations: squared Frobenius distance, mean over joints. Joints and vertices: L1, metres, both from the pelvis.
    Shape: mean squared. Crop camera: L1 in standard deviations. 2D: L1 in half crop sides, at most 1 a coordinate."""
    count = prediction.betas.shape[-1]
    estimate = prediction.parameters(inputs)
    posed, posed_truth = body.pose(estimate), body.pose(truth)
    crop_camera = translation_to_crop(truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
    pixels, pixels_truth = (
        project(body.keypoints(vertices, keypoint_set), inputs.focal, inputs.center)
        for vertices in (posed.vertices, posed_truth.vertices)
    )
    root, root_truth = estimate.p_world_root.unsqueeze(-2), truth.p_world_root.unsqueeze(-2)
    return {
        "rotations": (prediction.R_parent_joint - truth.R_parent_joint).square().sum((-1, -2)).mean(-1),
        "joints": (posed.joints - root - posed_truth.joints + root_truth).abs().mean((-1, -2)),
        "vertices": (posed.vertices - root - posed_truth.vertices + root_truth).abs().mean((-1, -2)),
        "betas": (prediction.betas - truth.betas[..., :count]).square().mean(-1),
        "crop_camera": (
            (prediction.crop_camera - crop_camera).abs() / torch.tensor(CROP_CAMERA_SCALE).to(crop_camera)
        ).mean(-1),
        "keypoints_2d": ((pixels - pixels_truth) / inputs.boxes[:, None, 2:])
        .abs()
        .clamp_max(1)
        .mean((-1, -2)),
    }


def located_losses(
    body: Body, keypoint_set: str, located: Located, inputs: FrameInputs, truth: BodyParameters
) -> dict[str, Float[Tensor, " batch"]]:
    """How far the keypoints are off that a network has `located` in these inputs; `body` as in `supervised_losses`.

    Places and depths: negative log likelihood of the Laplace distributions, up to a constant. Found: L1, half crop
    sides. Heat: cross entropy of the heatmaps with Gaussians around the keypoints that lie in the crop."""
    keypoints = body.keypoints(body.pose(truth).vertices, keypoint_set)
    pixels = project(keypoints, inputs.focal, inputs.center)
    places = (pixels - inputs.boxes[:, None, :2]) / inputs.boxes[:, None, 2:]
    miss = (located.places - places.clamp(-1, 1)).abs().sum(-1)
    wanted = gaussians(places)
    entropy = -(wanted * located.log_heat).sum(-1)
    crop_camera = translation_to_crop(truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
    depths = (keypoints[..., 2] - truth.p_world_root[..., None, 2]) / crop_camera[..., 2:].exp()
    off = (located.depths - depths).abs()
    return {
        "places": (miss / located.log_spread.exp() + 2 * located.log_spread).mean(-1),
        "found": (located.found - places.clamp(-1, 1)).abs().sum(-1).mean(-1),
        "heat": torch.where((places.abs() < 1).all(-1), entropy, 0.0).mean(-1),
        "depths": (off / located.log_depth_spread.exp() + located.log_depth_spread).mean(-1),
    }


def paper_losses(
    prediction: Prediction, inputs: FrameInputs, truth: BodyParameters
) -> dict[str, Float[Tensor, " batch"]]:
    """The paper's four terms, each a mean of squares: joint rotations as rotation vectors (rad), 10 betas, the root's
    six sines and cosines, the place (m). Their weights are PAPER_WEIGHTS (the authors' release)."""
    estimate = prediction.parameters(inputs)
    count = prediction.betas.shape[-1]

    def rotvec(R: Tensor) -> Tensor:
        return roma.rotmat_to_rotvec(R[..., 1:, :, :])

    def angles(R: Tensor) -> Tensor:
        return torch.cat(matrix_to_euler(R[..., 0, :, :] @ UPRIGHT.to(R)), dim=-1)

    R, R_truth = prediction.R_parent_joint, truth.R_parent_joint
    return {
        "theta": (rotvec(R) - rotvec(R_truth)).square().mean((-1, -2)),
        "betas": (prediction.betas - truth.betas[..., :count]).square().mean(-1),
        "root": (angles(R) - angles(R_truth)).square().mean(-1),
        "translation": (estimate.p_world_root - truth.p_world_root).square().mean(-1),
    }


PAPER_WEIGHTS = {"theta": 1.0, "betas": 0.05, "root": 1.0, "translation": 0.1}
