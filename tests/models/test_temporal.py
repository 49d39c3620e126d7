from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import translation_from_crop, translation_to_crop
from selfmocap.models.frame import Prediction
from selfmocap.models.heatmaps import view_angles
from selfmocap.models.temporal import (
    FrameFeatures,
    MovieStrip,
    TemporalConfig,
    TemporalNetwork,
    ThetaRegressor,
    pack_theta,
    smooth_translation,
    unpack_theta,
)
from tests.conftest import random_parameters
from tests.helpers.networks import KEYPOINT_NETWORK, SMALL_TEMPORAL, in_clips, keypoint_inputs, randomised

CONFIGS = {"frame": SMALL_TEMPORAL, "mean": replace(SMALL_TEMPORAL, start="mean", dropout=0.5)}


def test_packing_and_unpacking_is_the_identity(body: Body) -> None:
    truth = random_parameters(body, 3)
    prediction = Prediction(truth.R_parent_joint, truth.betas, truth.p_world_root)
    unpacked = unpack_theta(pack_theta(prediction))
    for name, value in vars(prediction).items():
        torch.testing.assert_close(getattr(unpacked, name), value, atol=1e-5, rtol=0)


def test_the_movie_strip_starts_near_the_identity_and_reaches_six_frames_to_both_sides() -> None:
    strip, x = MovieStrip(32, 3), torch.randn(1, 40, 32)
    assert (strip(x) - x).abs().max() < 0.2
    for norm in (m for m in strip.modules() if isinstance(m, torch.nn.GroupNorm)):
        norm.forward = lambda x: x  # Its statistics reach over the whole window.
    moved = x.clone()
    moved[0, 20] += 1
    changed = (strip(moved) - strip(x)).abs().amax(-1)[0] > 0
    assert changed.nonzero().squeeze(1).tolist() == list(range(20 - 6, 20 + 7))


def test_the_papers_sizes() -> None:
    config = TemporalConfig.paper()
    strip = MovieStrip(config.width, config.blocks)
    assert sum(p.numel() for p in strip.parameters()) == pytest.approx(75.5e6, rel=0.002)
    assert 4 * config.blocks + 1 == 13 and config.frames == 20 and config.margin == 6
    regressor = ThetaRegressor(2048, 85, 1024, 0.5)
    assert regressor.layers[0].in_features == 2048 + 85


@pytest.mark.parametrize("name", CONFIGS)
def test_all_but_the_frame_network_have_gradients(name: str) -> None:
    network = TemporalNetwork(KEYPOINT_NETWORK, CONFIGS[name]).train()
    frames = in_clips(network.frame_features(keypoint_inputs(60)), 2)
    output = network(*frames, torch.tensor([3, 31]))
    sum((part * torch.randn_like(part)).sum() for part in output).backward()
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.startswith("frame."):
            assert parameter.grad is None, parameter_name
        else:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name
    assert not network.frame.training


def test_hallucination_has_no_gradient_to_the_movie_strip() -> None:
    network = TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL)
    frames = in_clips(network.frame_features(keypoint_inputs(30)), 1)
    network(*frames, torch.arange(30)).hallucination_error.sum().backward()
    assert all(parameter.grad is None for parameter in network.movie.parameters())
    assert any(parameter.grad is not None for parameter in network.hallucinator.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_past_and_future_have_no_gradient_to_the_present(name: str) -> None:
    network = randomised(TemporalNetwork(KEYPOINT_NETWORK, CONFIGS[name]))
    frames = in_clips(network.frame_features(keypoint_inputs(30)), 1)
    output = network(*frames, torch.arange(30))
    torch.stack([part.square().sum() for part in output[1:]]).sum().backward()
    trained = ("past_regressor.", "future_regressor.", "hallucinator.")
    for parameter_name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter_name.startswith(trained), parameter_name
    torch.testing.assert_close(output.present, network.present(frames))


def test_an_untrained_network_smooths_the_frame_networks_predictions() -> None:
    network = TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL).eval()
    with torch.no_grad():
        for regressor in (network.regressor, network.past_regressor, network.future_regressor):
            regressor.correction.weight.zero_()
        frames = in_clips(network.frame_features(keypoint_inputs(30)), 1)
        constant = FrameFeatures(frames.features, frames.theta[:, :1].expand_as(frames.theta))
        torch.testing.assert_close(network.present(constant), constant.theta, atol=1e-5, rtol=1e-4)
        jerky, smooth = frames.theta.diff(n=2, dim=1), network.present(frames).diff(n=2, dim=1)
        assert smooth.norm() < 0.2 * jerky.norm()


def test_frames_of_low_confidence_have_little_weight() -> None:
    network = TemporalNetwork(KEYPOINT_NETWORK, SMALL_TEMPORAL)
    theta, strip = torch.zeros(1, 30, len(network.temporal_filter.temporal_kernel)), torch.zeros(1, 30, 32)
    theta[0, 15] = 1.0
    strip[0, 15, 0] = 1.0
    with torch.no_grad():
        before = network.temporal_filter(strip, theta)[0, 14, 0]
        network.temporal_filter.confidence.weight[:, 0] = -4.0
        after = network.temporal_filter(strip, theta)[0, 14, 0]
    assert after < 0.05 * before


def test_translations_are_smoothed_whatever_the_crops() -> None:
    """With jumping crops, a walk in a straight line is unchanged and jitter is removed."""
    random, frames = torch.Generator().manual_seed(3), torch.arange(60.0)
    focal, center = torch.full((1, 60, 2), 600.0), torch.full((1, 60, 2), 319.5)
    depth = (1.2 + 0.005 * frames).exp()
    walk = torch.stack([0.01 * frames * depth, 0.2 * depth, depth], dim=-1)[None]
    boxes = torch.tensor([320.0, 240.0, 150.0]) + 20 * torch.randn(1, 60, 3, generator=random)
    angles = view_angles(*(x.flatten(0, 1) for x in (boxes, focal, center)))[None]

    def through_crops(place: torch.Tensor) -> torch.Tensor:
        smooth = smooth_translation(translation_to_crop(place, boxes, focal, center), angles)
        return translation_from_crop(smooth, boxes, focal, center)

    torch.testing.assert_close(through_crops(walk)[:, 10:-10], walk[:, 10:-10], atol=1e-4, rtol=1e-4)
    jittering = walk + 0.1 * torch.randn(1, 60, 3, generator=random)
    before, after = (x.diff(n=2, dim=1).norm() for x in (jittering, through_crops(jittering)))
    assert after < 0.1 * before
