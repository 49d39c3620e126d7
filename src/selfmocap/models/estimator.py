"""One interface to both kinds of network, frame and temporal: from the observations of one person to a motion."""

from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.models.checkpoints import load_network, save_network, weights_format
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.inference import build_motion, default_camera, network_inputs, predict_parameters
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.models.temporal_inference import (
    TEMPORAL_FORMAT,
    load_temporal,
    predict_from_features,
    predict_sequence,
    save_temporal,
)
from selfmocap.tracking.observations import Observations

Estimator = FrameNetwork | TemporalNetwork
"""A network that predicts bodies from the inputs of frames."""


def load_estimator(path: Path | str) -> tuple[Estimator, dict[str, Any]]:
    """Load the network of a weights file of either kind; see `checkpoints.load_network`."""
    return load_temporal(path) if weights_format(path) == TEMPORAL_FORMAT else load_network(path)


def save_estimator(path: Path | str, network: Estimator, about: dict[str, Any]) -> None:
    """Write a network of either kind; see `checkpoints.save_network`."""
    if isinstance(network, FrameNetwork):
        save_network(path, network, about)
    else:
        save_temporal(path, network, about)


def frame_network_of(network: Estimator) -> FrameNetwork:
    """Return the frame network, which defines the inputs."""
    return network if isinstance(network, FrameNetwork) else network.frame


def frames_per_estimate(network: Estimator) -> int:
    """Return the number of consecutive frames that one estimate uses."""
    return 1 if isinstance(network, FrameNetwork) else network.config.frames


def estimate_bodies(
    network: Estimator, inputs: FrameInputs, follows: Bool[Tensor, " pairs"]
) -> BodyParameters:
    """Predict the body of every frame in the camera frame, with gradients.

    `follows[i]` is true if frame i + 1 comes right after frame i."""
    if isinstance(network, FrameNetwork):
        return network(inputs).parameters(inputs)
    return predict_from_features(network, network.frame_features(inputs), follows).parameters(inputs)


def estimate_all_bodies(
    network: Estimator, inputs: FrameInputs, follows: Bool[Tensor, " pairs"]
) -> BodyParameters:
    """Predict as `estimate_bodies`, for any number of frames, without gradients."""
    if isinstance(network, FrameNetwork):
        return predict_parameters(network.eval(), inputs)
    return predict_sequence(network, inputs, follows).parameters(inputs)


def infer(
    network: Estimator,
    body: Body,
    observations: Observations,
    focal: float | None = None,
    **provenance: Any,
) -> Motion:
    """Predict the motion of one person: pose, root rotation and translation of each frame, and one shape.

    The shape is the mean of the frames' shapes, weighted by their confidence. A temporal network also uses the
    frames around each one, as far as they are consecutive in the video. `focal` in px; None is `default_focal`."""
    camera = default_camera(observations, focal)
    inputs = network_inputs(observations, camera, frame_network_of(network))
    parameters = estimate_all_bodies(network, inputs, observations.frame_index.diff() == 1)
    return build_motion(body, parameters, camera, observations, provenance)
