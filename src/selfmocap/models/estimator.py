"""Networks of either kind, frame and temporal, behind one door: from one person's observations to a motion."""

from pathlib import Path
from typing import Any

from jaxtyping import Bool
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.models.checkpoints import kind_of, load_network, save_network
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.inference import camera_of, inputs_of, motion_of, predict_parameters
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.models.temporal_inference import (
    TEMPORAL_FORMAT,
    load_temporal,
    predict_glimpses,
    predict_sequence,
    save_temporal,
)
from selfmocap.tracking.observations import Observations

Estimator = FrameNetwork | TemporalNetwork
"""What tells bodies from frames."""


def load_estimator(path: Path | str) -> tuple[Estimator, dict[str, Any]]:
    """The network of a weights file, of whichever kind; see `weights.load_network`."""
    return load_temporal(path) if kind_of(path) == TEMPORAL_FORMAT else load_network(path)


def save_estimator(path: Path | str, network: Estimator, about: dict[str, Any]) -> None:
    """Writes a network of either kind; see `weights.save_network`."""
    if isinstance(network, FrameNetwork):
        save_network(path, network, about)
    else:
        save_temporal(path, network, about)


def frame_network_of(network: Estimator) -> FrameNetwork:
    """The part that sees single frames: it says what the inputs are."""
    return network if isinstance(network, FrameNetwork) else network.frame


def frames_at_once(network: Estimator) -> int:
    """How many consecutive frames are needed for a full answer."""
    return 1 if isinstance(network, FrameNetwork) else network.config.frames


def bodies(network: Estimator, inputs: FrameInputs, follows: Bool[Tensor, " pairs"]) -> BodyParameters:
    """The body in the camera frame for every frame, with gradients; `follows` says which frames come right after the
    one before them."""
    if isinstance(network, FrameNetwork):
        return network(inputs).parameters(inputs)
    return predict_glimpses(network, network.glimpses(inputs), follows).parameters(inputs)


def bodies_of_all(network: Estimator, inputs: FrameInputs, follows: Bool[Tensor, " pairs"]) -> BodyParameters:
    """As `bodies`, of any number of frames, without gradients."""
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
    """The network's answer: pose, root and place a frame, one shape (the mean of the frames' own, weighted by how much
    was seen). A temporal network sees of each frame those around it, as far as they follow each other in the video.
    `focal` in px; None assumes `default_focal`."""
    camera = camera_of(observations, focal)
    inputs = inputs_of(observations, camera, frame_network_of(network))
    found = bodies_of_all(network, inputs, observations.frame_index.diff() == 1)
    return motion_of(body, found, camera, observations, provenance)
