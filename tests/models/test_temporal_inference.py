from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

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
    shipped_temporal_weights,
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


def test_the_shipped_weights_have_former_parameter_names_and_load() -> None:
    with safe_open(shipped_temporal_weights(), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    state = load_temporal()[0].state_dict()
    assert {"now.correction.bias", "trusted.nearness"} < tensors.keys() and len(tensors) == len(state)
    for former, current in (
        ("now.correction.bias", "regressor.correction.bias"),
        ("before.layers.0.weight", "past_regressor.layers.0.weight"),
        ("after.layers.0.weight", "future_regressor.layers.0.weight"),
        ("trusted.trust.weight", "temporal_filter.confidence.weight"),
        ("trusted.nearness", "temporal_filter.temporal_kernel"),
    ):
        assert torch.equal(tensors[former].float(), state[current])
