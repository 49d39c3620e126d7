from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from selfmocap.models.checkpoints import copy_network, ema_update, init_from, load_network, save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork
from tests.helpers.networks import NETWORK_CONFIGS, SMALL_NETWORK, frame_inputs


def test_weights_are_saved_with_their_configuration(tmp_path: Path) -> None:
    network = FrameNetwork(SMALL_NETWORK).eval()
    path = tmp_path / "net.safetensors"
    save_network(path, network, {"steps": 7})
    loaded, about = load_network(path)
    assert asdict(loaded.config) == asdict(SMALL_NETWORK)
    assert about["steps"] == 7
    assert len(about["sha256"]) == 64
    inputs = frame_inputs()
    assert torch.equal(loaded(inputs).betas, network(inputs).betas)
    save_network(path, network, {}, half=True)
    assert path.stat().st_size < 2.2 * sum(p.numel() for p in network.parameters())
    assert torch.allclose(
        load_network(path)[0](inputs).R_parent_joint, network(inputs).R_parent_joint, atol=0.01
    )


def test_other_and_damaged_files_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    path.write_bytes(b"hello world, this is text")
    with pytest.raises(ValueError, match="expected weights as .safetensors"):
        load_network(path)
    save_file({"a": torch.ones(1)}, path)
    with pytest.raises(ValueError, match="found weights of another kind"):
        load_network(path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_network(tmp_path / "absent.safetensors")
    with pytest.raises(ValueError, match="unknown fields depth"):
        NetworkConfig.from_dict({"depth": 3})


def test_averages_and_copies_have_their_own_weights() -> None:
    network = FrameNetwork(SMALL_NETWORK)
    twin = copy_network(network)
    with torch.no_grad():
        network.heads.pose.bias += 1
    ema_update(twin, network, decay=0.75)
    assert twin.heads.pose.bias.tolist() == pytest.approx([0.25] * 138)


def test_a_network_initialised_from_a_smaller_one_predicts_the_same() -> None:
    torch.manual_seed(3)
    small, large = FrameNetwork(NETWORK_CONFIGS["coordinates only"]), FrameNetwork(SMALL_NETWORK)
    init_from(large, small)
    inputs = frame_inputs()
    assert torch.allclose(large(inputs).R_parent_joint, small(inputs).R_parent_joint, atol=1e-5)
    large(inputs).betas.sum().backward()
    assert large.heads.stem.weight.grad[:, 0].abs().max() > 0
    with pytest.raises(ValueError, match="do not fit"):
        init_from(FrameNetwork(replace(SMALL_NETWORK, num_betas=10)), small)
