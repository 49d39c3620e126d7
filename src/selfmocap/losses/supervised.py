"""Supervised losses of the frame network against 3D truth, one value a sample."""

from dataclasses import dataclass

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project, translation_to_crop
from selfmocap.geometry.rotations import matrix_to_euler
from selfmocap.models.corrector import RefinedKeypoints, target_heatmaps
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameInputs, Prediction

CROP_CAMERA_STD = (0.2, 0.2, 0.25)
"""Standard deviations of the crop camera (u, v, log m) over the training cameras."""


@dataclass(frozen=True)
class SupervisedWeights:
    """Weights of the terms."""

    rotations: float = 1.0
    joints: float = 20.0
    vertices: float = 20.0
    betas: float = 0.1
    crop_camera: float = 1.0
    keypoints_2d: float = 10.0
    coords: float = 0.5
    """Of a network with a corrector, as are the next three."""
    heatmap_coords: float = 10.0
    heatmaps: float = 0.15
    depths: float = 0.5


def supervised_losses(
    body: Body, keypoint_set: str, prediction: Prediction, inputs: FrameInputs, truth: BodyParameters
) -> dict[str, Float[Tensor, " batch"]]:
    """Compute the terms of SupervisedWeights. `truth` is in the camera frame.

    `body` may have a subset of vertices that includes those of the network's keypoint set. Rotations: squared
    Frobenius distance, mean over joints. Joints and vertices: L1, metres, relative to the pelvis. Betas: mean squared
    error. Crop camera: L1 in standard deviations. Keypoints: L1 in half crop sides, at most 1 a coordinate."""
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
            (prediction.crop_camera - crop_camera).abs() / torch.tensor(CROP_CAMERA_STD).to(crop_camera)
        ).mean(-1),
        "keypoints_2d": ((pixels - pixels_truth) / inputs.boxes[:, None, 2:])
        .abs()
        .clamp_max(1)
        .mean((-1, -2)),
    }


def refinement_losses(
    body: Body, keypoint_set: str, refined: RefinedKeypoints, inputs: FrameInputs, truth: BodyParameters
) -> dict[str, Float[Tensor, " batch"]]:
    """Compute the losses of refined keypoints: the last four terms of SupervisedWeights; arguments as above.

    Coords and depths: negative log likelihood of the Laplace distributions, up to a constant. Heatmap coords: L1, half
    crop sides. Heatmaps: cross entropy with Gaussians around the keypoints that lie in the crop."""
    keypoints = body.keypoints(body.pose(truth).vertices, keypoint_set)
    pixels = project(keypoints, inputs.focal, inputs.center)
    coords = (pixels - inputs.boxes[:, None, :2]) / inputs.boxes[:, None, 2:]
    coord_error = (refined.coords - coords.clamp(-1, 1)).abs().sum(-1)
    target = target_heatmaps(coords)
    entropy = -(target * refined.log_heatmaps).sum(-1)
    crop_camera = translation_to_crop(truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
    depths = (keypoints[..., 2] - truth.p_world_root[..., None, 2]) / crop_camera[..., 2:].exp()
    depth_error = (refined.depths - depths).abs()
    return {
        "coords": (coord_error / refined.log_scale.exp() + 2 * refined.log_scale).mean(-1),
        "heatmap_coords": (refined.heatmap_coords - coords.clamp(-1, 1)).abs().sum(-1).mean(-1),
        "heatmaps": torch.where((coords.abs() < 1).all(-1), entropy, 0.0).mean(-1),
        "depths": (depth_error / refined.log_depth_scale.exp() + refined.log_depth_scale).mean(-1),
    }


def paper_losses(
    prediction: Prediction, inputs: FrameInputs, truth: BodyParameters
) -> dict[str, Float[Tensor, " batch"]]:
    """Compute the paper's four terms, each a mean of squares; their weights are PAPER_LOSS_WEIGHTS.

    Rotation vectors of the joints (rad), betas, sines and cosines of the root's Euler angles, translation (m)."""
    estimate = prediction.parameters(inputs)
    count = prediction.betas.shape[-1]

    def rotvec(R: Tensor) -> Tensor:
        return roma.rotmat_to_rotvec(R[..., 1:, :, :])

    def angles(R: Tensor) -> Tensor:
        return torch.cat(matrix_to_euler(R[..., 0, :, :] @ R_CAM_UPRIGHT.to(R)), dim=-1)

    R, R_truth = prediction.R_parent_joint, truth.R_parent_joint
    return {
        "theta": (rotvec(R) - rotvec(R_truth)).square().mean((-1, -2)),
        "betas": (prediction.betas - truth.betas[..., :count]).square().mean(-1),
        "root": (angles(R) - angles(R_truth)).square().mean(-1),
        "translation": (estimate.p_world_root - truth.p_world_root).square().mean(-1),
    }


PAPER_LOSS_WEIGHTS = {"theta": 1.0, "betas": 0.05, "root": 1.0, "translation": 0.1}
"""Weights of `paper_losses` (the authors' release)."""
