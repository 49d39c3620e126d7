"""Read and write weights as safetensors files that hold their own configuration."""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file, sha256_of_path
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork

FRAME_FORMAT = "selfmocap-frame-network"

_Network = TypeVar("_Network", bound=nn.Module)


def shipped_weights() -> Path:
    """Return the path of the frame network's weights that come with the package."""
    return Path(str(files("selfmocap"))) / "weights" / "frame.safetensors"


def save_network(path: Path | str, network: FrameNetwork, about: dict[str, Any], half: bool = False) -> None:
    """Write the weights and the configuration of a frame network, atomically.

    `about` is JSON data that describes the weights. `half` stores them in half precision."""
    write_weights(path, FRAME_FORMAT, network, asdict(network.config), about, half)


def write_weights(
    path: Path | str, kind: str, network: nn.Module, config: dict[str, Any], about: dict[str, Any], half: bool,
    left_out: str | None = None,
) -> None:  # fmt: skip
    """Write the weights of a network of the format `kind`, but those whose names begin with `left_out`; see
    `save_network`."""
    tensors = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in network.state_dict().items()
        if left_out is None or not name.startswith(left_out)
    }
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    metadata = {"format": kind, "config": json.dumps(config), "about": json.dumps(about)}
    with atomic_write(path) as partial:
        save_file(tensors, partial, metadata)


def load_network(path: Path | str | None = None) -> tuple[FrameNetwork, dict[str, Any]]:
    """Load the frame network of a weights file (default: the shipped one), in evaluation mode.

    Also return what the file says `about` the weights, with the `sha256` of the file. Raises FileNotFoundError, or
    ValueError for a file of another format."""
    path = existing_file(shipped_weights() if path is None else path)
    return read_weights(path, FRAME_FORMAT, lambda config: FrameNetwork(NetworkConfig.from_dict(config)))


def weights_format(path: Path | str) -> str:
    """Return the format of a weights file. Errors as in `load_network`."""
    path = existing_file(path)
    with _open_weights(path) as file:
        return (file.metadata() or {}).get("format", "weights of another kind")


def read_weights(
    path: Path,
    kind: str,
    build: Callable[[dict[str, Any]], _Network],
    former_names: Mapping[str, str] | None = None,
    weights_elsewhere: Callable[[dict[str, Any]], dict[str, Tensor]] = lambda _: {},
) -> tuple[_Network, dict[str, Any]]:
    """Build a network from the configuration in a weights file and load its weights; see `load_network`.

    `former_names` maps prefixes of parameter names in older files to the current ones. `weights_elsewhere` returns,
    from the configuration, the weights that are not in the file."""
    if (found := weights_format(path)) != kind:
        raise ValueError(f"{path}: expected {kind} weights, found {found}")
    with _open_weights(path) as file:
        metadata = file.metadata()
        tensors = {
            _current_name(name, former_names or {}): file.get_tensor(name)
            for name in file.keys()  # noqa: SIM118
        }
    config = json.loads(metadata["config"])
    network = build(config)
    tensors |= weights_elsewhere(config)
    try:
        network.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"{path}: its tensors do not fit its own configuration: {error}") from error
    sha256 = sha256_of_path(path)
    return network.eval(), {"sha256": sha256, **json.loads(metadata["about"])}


def _current_name(name: str, former_names: Mapping[str, str]) -> str:
    for former, current in former_names.items():
        if name.startswith(former):
            return current + name.removeprefix(former)
    return name


@contextlib.contextmanager
def _open_weights(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, "pt") as file:
            yield file
    except SafetensorError as error:
        raise ValueError(
            f"{path}: expected weights as .safetensors, found another or a damaged file: {error}"
        ) from error


def copy_network(network: FrameNetwork) -> FrameNetwork:
    """Copy a frame network, with weights of its own, to the same device and mode."""
    twin = FrameNetwork(network.config).to(next(network.parameters()).device)
    twin.load_state_dict(network.state_dict())
    return twin.train(network.training)


def init_from(network: FrameNetwork, smaller: FrameNetwork) -> None:
    """Initialise `network` from one of the same configuration, or from one that uses keypoint coordinates only, so that
    both predict the same without images.

    Weights of the trunk's features and of depths start at 0; a corrector keeps its initial weights. Raises ValueError
    if the other parts of the two networks differ."""
    known = smaller.state_dict()
    if network.config == smaller.config:
        network.load_state_dict(known)
        return
    if network.coordinates is None:
        raise ValueError("these weights do not fit the network to train: it has no coordinate inputs")
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


def ema_update(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Update an exponential moving average in place: average = decay * average + (1 - decay) * network."""
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)
