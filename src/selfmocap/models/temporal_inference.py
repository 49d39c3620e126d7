"""A temporal network on sequences of any length, and past and future of single frames; its weights."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from selfmocap.io.files import existing_file
from selfmocap.models.checkpoints import read_weights, shipped_weights, write_weights
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs, Prediction
from selfmocap.models.temporal import Glimpses, TemporalConfig, TemporalNetwork, prediction_of

TEMPORAL_FORMAT = "selfmocap-temporal-network"
_SEEN_AT_ONCE = 256
_WINDOWS_AT_ONCE = 32


def shipped_temporal_weights() -> Path:
    """Where the temporal weights lie that come with the project."""
    return shipped_weights().with_name("temporal.safetensors")


def save_temporal(
    path: Path | str, network: TemporalNetwork, about: dict[str, Any], half: bool = False
) -> None:
    """Writes a temporal network with its frame network; see `weights.save_network`."""
    config = {"frame": asdict(network.frame.config), "temporal": asdict(network.config)}
    write_weights(path, TEMPORAL_FORMAT, network, config, about, half)


def load_temporal(path: Path | str | None = None) -> tuple[TemporalNetwork, dict[str, Any]]:
    """The temporal network of a weights file (the shipped one by default); see `weights.load_network`."""
    path = existing_file(shipped_temporal_weights() if path is None else path)
    return read_weights(path, TEMPORAL_FORMAT, _built)


def _built(config: dict[str, Any]) -> TemporalNetwork:
    return TemporalNetwork(
        NetworkConfig.from_dict(config["frame"]), TemporalConfig.from_dict(config["temporal"])
    )


@torch.no_grad()
def predict_sequence(
    network: TemporalNetwork, inputs: FrameInputs, follows: Bool[Tensor, " pairs"]
) -> Prediction:
    """The present of every frame; `follows` says which frames come right after the one before them."""
    network.eval()
    return predict_glimpses(network, glimpses_of(network, inputs), follows)


def predict_glimpses(network: TemporalNetwork, seen: Glimpses, follows: Bool[Tensor, " pairs"]) -> Prediction:
    """As `predict_sequence`, from what was kept of the frames."""
    starts = [0, *((~follows).nonzero().squeeze(1) + 1).tolist(), len(seen.answers)]
    runs = [
        _predict_run(network, Glimpses(*(part[a:b] for part in seen)))
        for a, b in zip(starts[:-1], starts[1:], strict=True)
    ]
    return prediction_of(torch.cat(runs))


def glimpses_of(network: TemporalNetwork, inputs: FrameInputs) -> Glimpses:
    """What the frame network makes of any number of frames, some at a time."""
    frames = len(inputs.boxes)
    parts = [network.glimpses(inputs[i : i + _SEEN_AT_ONCE]) for i in range(0, frames, _SEEN_AT_ONCE)]
    return Glimpses(*(torch.cat(columns) for columns in zip(*parts, strict=True)))


def _predict_run(network: TemporalNetwork, seen: Glimpses) -> Float[Tensor, "time numbers"]:
    """A run of consecutive frames in windows as long as the clips of training, each of which fades into the next: a
    frame counts the more, the deeper it is in a window. The run's own ends are seen as those of a training clip; a run
    that is shorter than one stands still before and after."""
    time, length = len(seen.answers), network.config.frames
    if time < length:
        first = (length - time) // 2
        padded = (torch.arange(length) - first).clamp(0, time - 1).to(seen.answers.device)
        whole = _predict_run(network, Glimpses(*(part[padded] for part in seen)))
        return whole[first : first + time]
    rows = window_begins(time, length, network.config.margin)[:, None] + torch.arange(length)
    depth = torch.minimum(torch.arange(length), torch.arange(length).flip(0)) + 1.0
    sums, counts = torch.zeros_like(seen.answers), torch.zeros_like(seen.answers[:, :1])
    for some in rows.to(sums.device).split(_WINDOWS_AT_ONCE):
        found = network.present(Glimpses(*(part[some] for part in seen)))
        weights = depth.to(found)[None, :, None].expand(*found.shape[:2], 1)
        sums.index_add_(0, some.flatten(), (weights * found).flatten(0, 1))
        counts.index_add_(0, some.flatten(), weights.flatten(0, 1))
    return sums / counts


def window_begins(time: int, length: int, margin: int) -> Int[Tensor, " windows"]:
    """Where windows begin that overlap by at least two margins; the last one ends with the sequence."""
    last = time - length
    return torch.tensor([*range(0, last, length - 2 * margin), last] if last > 0 else [0])


@torch.no_grad()
def past_and_future(
    network: TemporalNetwork, inputs: FrameInputs
) -> tuple[Prediction, Prediction, Prediction]:
    """Of each frame by itself: the past, the present and the future, `network.config.reach` frames apart, in the
    camera frame; the camera is the present's."""
    network.eval()
    return network.around(glimpses_of(network, inputs))
