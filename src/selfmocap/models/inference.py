"""What lies between one person's observations, a network, and a motion."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.tensors import concat
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.tracking.observations import Observations

_WINDOW, _PICTURES = 256, 32
"""Frames a forward pass, and of those whose pictures are looked at: some 4 MB each."""


def default_focal(image_size: tuple[int, int]) -> float:
    """The focal length (px) that is assumed where none is known: 1.2 times the longer side of the image, a phone's
    main camera (about 45 degrees across)."""
    return 1.2 * max(image_size)


def camera_of(observations: Observations, focal: float | None) -> Camera:
    """A static camera whose own frame is turned upright to be the world, with the principal point in the middle."""
    width, height = observations.image_size
    return Camera.looking_along_z(focal or default_focal(observations.image_size), width, height)


def inputs_of(observations: Observations, camera: Camera, network: FrameNetwork) -> FrameInputs:
    """What `network` sees of these observations, keypoints corrected if it does that: once and for all, whatever
    becomes of its weights. A ValueError where they hold none of the keypoints that it knows."""
    seen, frames = observations.in_set(network.config.keypoint_set), len(observations)
    inputs = FrameInputs(
        crops=seen.crops if "crops" in network.config.images else None,
        keypoints=seen.keypoints,
        confidence=seen.keypoint_confidence,
        boxes=seen.boxes,
        focal=camera.focal.to(seen.boxes).expand(frames, 2),
        center=camera.center.to(seen.boxes).expand(frames, 2),
        masks=seen.masks if "masks" in network.config.images else None,
    )
    if network.corrector is None:
        return inputs
    device = next(network.parameters()).device
    with torch.no_grad():
        looked_at = (window.to(device) for window in _windows(inputs, _PICTURES))
        return concat([window.corrected(network.located(window)) for window in looked_at]).to(
            seen.boxes.device
        )


def _windows(inputs: FrameInputs, frames: int = _WINDOW) -> Iterator[FrameInputs]:
    return (inputs[start : start + frames] for start in range(0, len(inputs.boxes), frames))


def predict_parameters(network: FrameNetwork, inputs: FrameInputs) -> BodyParameters:
    """The body in the camera frame for every frame, without gradients, a window of frames at a time."""
    with torch.no_grad():
        return concat([network(window).parameters(window) for window in _windows(inputs)])


def to_world(parameters: BodyParameters, camera: Camera) -> BodyParameters:
    """Parameters that are in the camera frame, in the world frame."""
    R_world_cam = camera.R_cam_world.mT
    root = R_world_cam @ parameters.R_parent_joint[..., 0, :, :]
    return BodyParameters(
        parameters.betas,
        torch.cat([root.unsqueeze(-3), parameters.R_parent_joint[..., 1:, :, :]], dim=-3),
        camera.to_world(parameters.p_world_root.unsqueeze(-2)).squeeze(-2),
    )


def seen_share(confidence: Float[Tensor, "time keypoints"]) -> Float[Tensor, " time"]:
    """How much of the person was seen in each frame, in [0, 1]: the mean confidence of its keypoints."""
    return confidence.mean(-1)


def motion_of(
    body: Body,
    parameters: BodyParameters,
    camera: Camera,
    observations: Observations,
    provenance: dict[str, Any],
) -> Motion:
    """The motion of bodies that are in the camera frame, one for each frame of the observations; its shape is the mean
    of theirs, weighted by how much was seen."""
    parameters = to_world(parameters, camera)
    confidence = seen_share(observations.in_set(DEFAULT_KEYPOINTS.name).keypoint_confidence)
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
