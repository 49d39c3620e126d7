"""Run a temporal network on sequences of any length or on single frames; load and save its weights."""

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.io.files import existing_file, sha256_of_path
from selfmocap.models.checkpoints import load_network, read_weights, shipped_weights, write_weights
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs, Prediction
from selfmocap.models.temporal import FrameFeatures, TemporalConfig, TemporalNetwork, unpack_theta

TEMPORAL_FORMAT = "selfmocap-temporal-network"
_FRAME_PREFIX, _FRAME_SHA256 = "frame.", "frame_sha256"
_FRAMES_PER_PASS = 256
_WINDOWS_PER_PASS = 32
_FORMER_NAMES = {
    "now.": "regressor.",
    "before.": "past_regressor.",
    "after.": "future_regressor.",
    "trusted.trust.": "temporal_filter.confidence.",
    "trusted.nearness": "temporal_filter.temporal_kernel",
}
"""Prefixes of parameter names in weights of version 0.1, and what they are called since."""


def shipped_temporal_weights() -> Path:
    """Return the path of the temporal weights that come with the package."""
    return shipped_weights().with_name("temporal.safetensors")


def save_temporal(
    path: Path | str, network: TemporalNetwork, about: dict[str, Any], half: bool = False,
    frame_sha256: str | None = None,
) -> None:  # fmt: skip
    """Write a temporal network with its frame network; see `checkpoints.save_network`.

    With `frame_sha256`, of a `frame.safetensors` in the same folder, the frame network is left out, and read from
    there."""
    config: dict[str, Any] = {"frame": asdict(network.frame.config), "temporal": asdict(network.config)}
    left_out = None
    if frame_sha256 is not None:
        config[_FRAME_SHA256], left_out = frame_sha256, _FRAME_PREFIX
    write_weights(path, TEMPORAL_FORMAT, network, config, about, half, left_out)


def load_temporal(path: Path | str | None = None) -> tuple[TemporalNetwork, dict[str, Any]]:
    """Load the temporal network of a weights file (default: the shipped one); see `checkpoints.load_network`.

    Raises ValueError, too, if the frame network of a file without it is not in the same folder."""
    path = existing_file(shipped_temporal_weights() if path is None else path)
    return read_weights(path, TEMPORAL_FORMAT, _build, _FORMER_NAMES, partial(_frame_weights, path))


def _frame_weights(path: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    if _FRAME_SHA256 not in config:
        return {}
    beside = path.with_name(shipped_weights().name)
    if not beside.is_file() or sha256_of_path(beside) != config[_FRAME_SHA256]:
        raise ValueError(
            f"{path}: expected the frame network that it was trained over as {beside.name} in the same folder, found "
            f"{'another one' if beside.is_file() else 'none'}; copy both files together"
        )
    network, _ = load_network(beside)
    return {_FRAME_PREFIX + name: value for name, value in network.state_dict().items()}


def _build(config: dict[str, Any]) -> TemporalNetwork:
    return TemporalNetwork(
        NetworkConfig.from_dict(config["frame"]), TemporalConfig.from_dict(config["temporal"])
    )


@torch.no_grad()
def predict_sequence(
    network: TemporalNetwork, inputs: FrameInputs, follows: Bool[Tensor, " pairs"]
) -> Prediction:
    """Predict the present of every frame, without gradients.

    `follows[i]` is true if frame i + 1 comes right after frame i."""
    network.eval()
    return predict_from_features(network, extract_features(network, inputs), follows)


def predict_from_features(
    network: TemporalNetwork, features: FrameFeatures, follows: Bool[Tensor, " pairs"]
) -> Prediction:
    """Predict as `predict_sequence` from features of the frames, with gradients."""
    starts = [0, *((~follows).nonzero().squeeze(1) + 1).tolist(), len(features.theta)]
    runs = [
        _predict_run(network, FrameFeatures(*(column[a:b] for column in features)))
        for a, b in zip(starts[:-1], starts[1:], strict=True)
    ]
    return unpack_theta(torch.cat(runs))


def extract_features(network: TemporalNetwork, inputs: FrameInputs) -> FrameFeatures:
    """Compute the frame network's features of any number of frames, 256 at a time."""
    frames = len(inputs.boxes)
    passes = [
        network.frame_features(inputs[i : i + _FRAMES_PER_PASS]) for i in range(0, frames, _FRAMES_PER_PASS)
    ]
    return FrameFeatures(*(torch.cat(columns) for columns in zip(*passes, strict=True)))


def _predict_run(network: TemporalNetwork, features: FrameFeatures) -> Float[Tensor, "time theta"]:
    """Predict a run of consecutive frames in overlapping windows of the length of a training clip.

    The weight of a frame in a window grows with its distance from the ends of the window. A run that is shorter than
    a window is padded with its first and its last frame."""
    time, length = len(features.theta), network.config.frames
    if time < length:
        first = (length - time) // 2
        padded = (torch.arange(length) - first).clamp(0, time - 1).to(features.theta.device)
        window = _predict_run(network, FrameFeatures(*(column[padded] for column in features)))
        return window[first : first + time]
    rows = window_starts(time, length, network.config.margin)[:, None] + torch.arange(length)
    depth = torch.minimum(torch.arange(length), torch.arange(length).flip(0)) + 1.0
    sums, counts = torch.zeros_like(features.theta), torch.zeros_like(features.theta[:, :1])
    for windows in rows.to(sums.device).split(_WINDOWS_PER_PASS):
        present = network.present(FrameFeatures(*(column[windows] for column in features)))
        weights = depth.to(present)[None, :, None].expand(*present.shape[:2], 1)
        sums.index_add_(0, windows.flatten(), (weights * present).flatten(0, 1))
        counts.index_add_(0, windows.flatten(), weights.flatten(0, 1))
    return sums / counts


def window_starts(time: int, length: int, margin: int) -> Int[Tensor, " windows"]:
    """Compute the first frames of windows that overlap by at least two margins; the last one ends with the sequence."""
    last = time - length
    return torch.tensor([*range(0, last, length - 2 * margin), last] if last > 0 else [0])


@torch.no_grad()
def past_and_future(
    network: TemporalNetwork, inputs: FrameInputs
) -> tuple[Prediction, Prediction, Prediction]:
    """Hallucinate past, present and future of each frame by itself, in the camera frame of the present.

    Past and future are `network.config.reach` frames away."""
    network.eval()
    return network.hallucinate(extract_features(network, inputs))
