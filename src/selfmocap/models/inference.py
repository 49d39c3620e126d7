"""Run a frame network on the observations of one person, and build the motion from its output."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.focal_prior import focal_prior, input_kind
from selfmocap.geometry.tensors import concat
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.tracking.observations import Observations

_FRAMES_PER_PASS, _IMAGES_PER_PASS = 256, 32
"""Frames of one forward pass: without images, and of the corrector with them (about 4 MB a frame)."""


def default_focal(image_size: tuple[int, int]) -> float:
    """Return the focal length (px) assumed where it is unknown: the median of the prior of such a video."""
    return focal_prior(input_kind(*image_size)).median * max(image_size)


def default_camera(observations: Observations, focal: float | None) -> Camera:
    """Build the static camera at the origin of the world that looks along z; the principal point is the image centre.

    `focal` in px; None is `default_focal`."""
    width, height = observations.image_size
    return Camera.looking_along_z(focal or default_focal(observations.image_size), width, height)


def network_inputs(observations: Observations, camera: Camera, network: FrameNetwork) -> FrameInputs:
    """Convert observations to the inputs of `network`; a network with a corrector refines their keypoints here, once.

    Raises ValueError if the observations lack all keypoints of the network's keypoint set."""
    observed, frames = observations.in_set(network.config.keypoint_set), len(observations)
    inputs = FrameInputs(
        crops=observed.crops if "crops" in network.config.images else None,
        keypoints=observed.keypoints,
        confidence=observed.keypoint_confidence,
        boxes=observed.boxes,
        focal=camera.focal.to(observed.boxes).expand(frames, 2),
        center=camera.center.to(observed.boxes).expand(frames, 2),
        masks=observed.masks if "masks" in network.config.images else None,
    )
    if network.corrector is None:
        return inputs
    device = next(network.parameters()).device
    with torch.no_grad():
        windows = (window.to(device) for window in _windows(inputs, _IMAGES_PER_PASS))
        return concat([window.with_refined(network.refine_keypoints(window)) for window in windows]).to(
            observed.boxes.device
        )


def _windows(inputs: FrameInputs, frames: int = _FRAMES_PER_PASS) -> Iterator[FrameInputs]:
    return (inputs[start : start + frames] for start in range(0, len(inputs.boxes), frames))


def predict_parameters(network: FrameNetwork, inputs: FrameInputs) -> BodyParameters:
    """Predict the body of every frame in the camera frame, without gradients, 256 frames at a time."""
    with torch.no_grad():
        return concat([network(window).parameters(window) for window in _windows(inputs)])


def to_world(parameters: BodyParameters, camera: Camera) -> BodyParameters:
    """Transform body parameters from the camera frame to the world frame."""
    R_world_cam = camera.R_cam_world.mT
    root = R_world_cam @ parameters.R_parent_joint[..., 0, :, :]
    return BodyParameters(
        parameters.betas,
        torch.cat([root.unsqueeze(-3), parameters.R_parent_joint[..., 1:, :, :]], dim=-3),
        camera.to_world(parameters.p_world_root.unsqueeze(-2)).squeeze(-2),
    )


def mean_confidence(confidence: Float[Tensor, "time keypoints"]) -> Float[Tensor, " time"]:
    """Compute the confidence of a frame: the mean confidence of its keypoints, in [0, 1]."""
    return confidence.mean(-1)


def build_motion(
    body: Body,
    parameters: BodyParameters,
    camera: Camera,
    observations: Observations,
    provenance: dict[str, Any],
) -> Motion:
    """Build the motion from one body a frame of the observations, in the camera frame.

    The shape of the motion is the mean of the shapes, weighted by `mean_confidence` (at least 0.001)."""
    parameters = to_world(parameters, camera)
    confidence = mean_confidence(observations.in_set(DEFAULT_KEYPOINTS.name).keypoint_confidence)
    weights = confidence.clamp_min(1e-3)
    betas = (parameters.betas * weights[:, None]).sum(0) / weights.sum()
    return Motion.from_parameters(
        body,
        BodyParameters(betas, parameters.R_parent_joint, parameters.p_world_root),
        camera,
        observations.image_size,
        observations.frame_times,
        observations.frame_index,
        confidence,
        provenance=provenance,
    )
