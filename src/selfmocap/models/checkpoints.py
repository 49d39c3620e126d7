"""Weights in safetensors files that describe themselves."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork

FORMAT = "selfmocap-frame-network"

Network = TypeVar("Network", bound=nn.Module)


def shipped_weights() -> Path:
    """Where the weights lie that come with the project."""
    return Path(str(files("selfmocap"))) / "weights" / "frame.safetensors"


def save_network(path: Path | str, network: FrameNetwork, about: dict[str, Any], half: bool = False) -> None:
    """Writes a network's weights with its configuration and what there is to say `about` it (JSON data), whole or
    not at all; with `half`, in half precision."""
    write_weights(path, FORMAT, network, asdict(network.config), about, half)


def write_weights(
    path: Path | str, kind: str, network: nn.Module, config: dict[str, Any], about: dict[str, Any], half: bool
) -> None:
    """Weights of any `kind` of network; see `save_network`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    metadata = {"format": kind, "config": json.dumps(config), "about": json.dumps(about)}
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata)


def load_network(path: Path | str | None = None) -> tuple[FrameNetwork, dict[str, Any]]:
    """The network of a weights file (the shipped one by default), ready for inference, and what the file says about
    it, with the `sha256` of the file. Raises FileNotFoundError, or ValueError for a file of another kind."""
    path = existing_file(shipped_weights() if path is None else path)
    return read_weights(path, FORMAT, lambda config: FrameNetwork(NetworkConfig.from_dict(config)))


def kind_of(path: Path | str) -> str:
    """Of which kind of network a file holds the weights. Errors as in `load_network`."""
    path = existing_file(path)
    with _opened(path) as file:
        return (file.metadata() or {}).get("format", "weights of another kind")


def read_weights(
    path: Path, kind: str, build: Callable[[dict[str, Any]], Network]
) -> tuple[Network, dict[str, Any]]:
    """The network that `build` makes of a file's configuration, with the file's weights; see `load_network`."""
    if (found := kind_of(path)) != kind:
        raise ValueError(f"{path}: expected {kind} weights, found {found}")
    with _opened(path) as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network = build(json.loads(metadata["config"]))
    try:
        network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path}: its tensors do not fit its own configuration: {error}") from error
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return network.eval(), {"sha256": sha256, **json.loads(metadata["about"])}


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected weights as .safetensors, found another or a damaged file: {error}"
        ) from error


def copy_of(network: FrameNetwork) -> FrameNetwork:
    """The same network with weights of its own."""
    twin = FrameNetwork(network.config).to(next(network.parameters()).device)
    twin.load_state_dict(network.state_dict())
    return twin.train(network.training)


def begin_from(network: FrameNetwork, smaller: FrameNetwork) -> None:
    """Gives `network` the weights of one that sees the coordinates alone, so that it answers as that one does where it
    has no pictures: what its trunk and its depths say counts for nothing until it is trained, and a corrector is as
    new. A ValueError where the rest of the two differs."""
    known = smaller.state_dict()
    if network.coordinates is None:
        raise ValueError("these weights do not fit the network to train: it sees no coordinates")
    for name, last in (("heads.stem.weight", True), ("coordinates.0.weight", False)):
        wide, narrow = torch.zeros_like(network.state_dict()[name]), known[name]
        columns = narrow.shape[1]
        wide[:, slice(-columns, None) if last else slice(columns)] = narrow
        known[name] = wide
    try:
        missing = network.load_state_dict(known, strict=False).missing_keys
    except RuntimeError as error:
        raise ValueError(f"these weights do not fit the network to train: {error}") from error
    if rest := [name for name in missing if not name.startswith(("trunk.", "corrector."))]:
        raise ValueError(f"these weights lack {', '.join(rest)} of the network to train")


def blend(average: nn.Module, network: nn.Module, keep: float) -> None:
    """Moves `average` towards `network`: average = keep * average + (1 - keep) * network, in place."""
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - keep)
            else:
                mean.copy_(value)
