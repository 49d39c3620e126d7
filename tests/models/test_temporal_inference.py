from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from selfmocap.io.files import sha256_of_path
from selfmocap.models.checkpoints import save_network
from selfmocap.models.temporal import (
    TemporalConfig,
    TemporalNetwork,
    unpack_theta,
)
from selfmocap.models.temporal_inference import (
    load_temporal,
    predict_sequence,
    save_temporal,
    window_starts,
)
from tests.helpers.networks import KEYPOINT_NETWORK, SMALL_TEMPORAL, in_clips, keypoint_inputs, randomised


def test_sequences_of_any_length_and_with_gaps() -> None:
    network, inputs = randomised(TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL)), keypoint_inputs(97)
    everywhere = torch.ones(96, dtype=torch.bool)
    whole = predict_sequence(network, inputs, everywhere)
    assert len(whole.betas) == 97 and whole.R_parent_joint.isfinite().all()
    gap = everywhere.clone()
    gap[49] = False
    with_gap = predict_sequence(network, inputs, gap)
    alone = predict_sequence(network, inputs[50:], everywhere[50:])
    torch.testing.assert_close(with_gap.R_parent_joint[50:], alone.R_parent_joint, atol=1e-5, rtol=1e-4)
    clip = predict_sequence(network, inputs[:30], everywhere[:29])
    with torch.no_grad():
        direct = unpack_theta(network.present(in_clips(network.frame_features(inputs[:30]), 1)))
    torch.testing.assert_close(clip.R_parent_joint, direct.R_parent_joint[0], atol=1e-5, rtol=1e-4)


def test_a_short_run_is_padded_with_its_ends() -> None:
    network, inputs = randomised(TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL)), keypoint_inputs(30)
    still = inputs[[0] * 5 + list(range(20)) + [19] * 5]
    short = predict_sequence(network, inputs[:20], torch.ones(19, dtype=torch.bool))
    padded = predict_sequence(network, still, torch.ones(29, dtype=torch.bool))
    torch.testing.assert_close(short.R_parent_joint, padded.R_parent_joint[5:25], atol=1e-5, rtol=1e-4)
    one = predict_sequence(network, inputs[:1], torch.ones(0, dtype=torch.bool))
    assert len(one.betas) == 1 and one.R_parent_joint.isfinite().all()


def test_windows_cover_every_frame_with_their_margins() -> None:
    for time in (1, 30, 31, 47, 48, 49, 200):
        length = min(30, time)
        starts = window_starts(time, length, 6)
        assert starts[0] == 0 and starts[-1] + length == time
        assert (starts.diff() <= 30 - 12).all() and (starts.diff() > 0).all()


def test_weights_include_the_frame_network(tmp_path: Path) -> None:
    network, inputs = randomised(TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL)), keypoint_inputs(40)
    save_temporal(tmp_path / "a.safetensors", network, {"steps": 3})
    loaded, about = load_temporal(tmp_path / "a.safetensors")
    assert asdict(loaded.config) == asdict(SMALL_TEMPORAL) and about["steps"] == 3
    follows = torch.ones(39, dtype=torch.bool)
    one, other = (predict_sequence(n, inputs, follows) for n in (network, loaded))
    assert torch.equal(one.R_parent_joint, other.R_parent_joint)
    save_network(tmp_path / "b.safetensors", network.frame, {})
    with pytest.raises(
        ValueError, match="expected selfmocap-temporal-network weights, found selfmocap-frame"
    ):
        load_temporal(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="unknown fields depth"):
        TemporalConfig.from_dict({"depth": 3})
    with pytest.raises(ValueError, match="a multiple of 32"):
        TemporalConfig(width=40)


def test_weights_of_version_0_1_load(tmp_path: Path) -> None:
    network = randomised(TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL))
    former = {"regressor.": "now.", "past_regressor.": "before.", "future_regressor.": "after."}
    former |= {
        "temporal_filter.confidence.": "trusted.trust.",
        "temporal_filter.temporal_kernel": "trusted.nearness",
    }
    state = network.state_dict()
    renamed = {
        next(
            (old + name.removeprefix(new) for new, old in former.items() if name.startswith(new)), name
        ): value
        for name, value in state.items()
    }
    assert {"now.correction.bias", "trusted.nearness"} < renamed.keys() and len(renamed) == len(state)
    save_temporal(tmp_path / "new.safetensors", network, {})
    with safe_open(tmp_path / "new.safetensors", "pt") as file:
        save_file(renamed, tmp_path / "former.safetensors", file.metadata())
    loaded = load_temporal(tmp_path / "former.safetensors")[0].state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_the_frame_network_may_lie_beside_the_file(tmp_path: Path) -> None:
    network = randomised(TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL))
    path, frame = tmp_path / "temporal.safetensors", tmp_path / "frame.safetensors"
    save_network(frame, network.frame, {})
    save_temporal(path, network, {}, frame_sha256=sha256_of_path(frame))
    loaded = load_temporal(path)[0].state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in network.state_dict().items())
    with safe_open(path, "pt") as file:
        assert not any(name.startswith("frame.") for name in file.keys())  # noqa: SIM118
    save_network(frame, randomised(network.frame), {"another": True})
    with pytest.raises(ValueError, match=r"as frame.safetensors in the same folder, found another one"):
        load_temporal(path)
    frame.unlink()
    with pytest.raises(ValueError, match="found none; copy both files together"):
        load_temporal(path)
