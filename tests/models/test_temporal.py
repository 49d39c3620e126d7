from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import project, translation_from_crop, translation_to_crop
from selfmocap.losses.temporal import (
    Targets,
    acceleration_loss,
    best_camera,
    figure_losses,
    figures,
    mean_of,
    steady_shape,
)
from selfmocap.models.checkpoints import save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs, Prediction
from selfmocap.models.heatmaps import view_angles
from selfmocap.models.pose_discriminator import PoseDiscriminator, adversary_loss, discriminator_loss
from selfmocap.models.temporal import (
    Glimpses,
    MovieStrip,
    Regressor,
    TemporalConfig,
    TemporalNetwork,
    numbers_of,
    prediction_of,
    steady_place,
)
from selfmocap.models.temporal_inference import (
    load_temporal,
    predict_sequence,
    save_temporal,
    window_begins,
)
from tests.conftest import random_parameters

FRAME = NetworkConfig(trunk="none", rgb=False)
SMALL = TemporalConfig(width=32, hidden=16)
CONFIGS = {"frame": SMALL, "mean": replace(SMALL, start="mean", dropout=0.5)}


def some_inputs(frames: int, seed: int = 0) -> FrameInputs:
    random = torch.Generator().manual_seed(seed)
    return FrameInputs(
        crops=None,
        keypoints=torch.rand(frames, 23, 2, generator=random) * 200 + 100,
        confidence=torch.rand(frames, 23, generator=random),
        boxes=torch.tensor([[200.0, 210.0, 110.0]]).expand(frames, 3),
        focal=torch.full((frames, 2), 600.0),
        center=torch.tensor([[319.5, 239.5]]).expand(frames, 2),
    )


def in_clips(seen: Glimpses, clips: int) -> Glimpses:
    return Glimpses(*(part.unflatten(0, (clips, -1)) for part in seen))


def unsettled(network: TemporalNetwork) -> TemporalNetwork:
    """The same with weights that do something."""
    torch.manual_seed(5)
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


def test_numbers_are_a_prediction_and_back(body: Body) -> None:
    truth = random_parameters(body, 3)
    prediction = Prediction(truth.R_parent_joint, truth.betas, truth.p_world_root)
    back = prediction_of(numbers_of(prediction))
    for name, value in vars(prediction).items():
        torch.testing.assert_close(getattr(back, name), value, atol=1e-5, rtol=0)


def test_the_movie_strip_starts_near_the_identity_and_sees_six_frames_to_both_sides() -> None:
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
    regressor = Regressor(2048, 85, 1024, 0.5)
    assert regressor.layers[0].in_features == 2048 + 85


@pytest.mark.parametrize("name", CONFIGS)
def test_everything_learns_but_the_frame_network(name: str) -> None:
    network = TemporalNetwork(FRAME, CONFIGS[name]).train()
    seen = in_clips(network.glimpses(some_inputs(60)), 2)
    told = network(*seen, torch.tensor([3, 31]))
    sum((part * torch.randn_like(part)).sum() for part in told).backward()
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.startswith("frame."):
            assert parameter.grad is None, parameter_name
        else:
            assert parameter.grad is not None and parameter.grad.isfinite().all(), parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name
    assert not network.frame.training


def test_the_hallucinators_target_does_not_move() -> None:
    network = TemporalNetwork(FRAME, SMALL)
    seen = in_clips(network.glimpses(some_inputs(30)), 1)
    network(*seen, torch.arange(30)).hallucination.sum().backward()
    assert all(parameter.grad is None for parameter in network.movie.parameters())
    assert any(parameter.grad is not None for parameter in network.hallucinator.parameters())


@pytest.mark.parametrize("name", CONFIGS)
def test_past_and_future_learn_from_the_present_and_do_not_move_it(name: str) -> None:
    network = unsettled(TemporalNetwork(FRAME, CONFIGS[name]))
    seen = in_clips(network.glimpses(some_inputs(30)), 1)
    told = network(*seen, torch.arange(30))
    torch.stack([part.square().sum() for part in told[1:]]).sum().backward()
    theirs = ("before.", "after.", "hallucinator.")
    for parameter_name, parameter in network.named_parameters():
        assert (parameter.grad is not None) == parameter_name.startswith(theirs), parameter_name
    torch.testing.assert_close(told.present, network.present(seen))


def test_an_untrained_network_gives_the_frame_networks_answers_smoothed() -> None:
    network = TemporalNetwork(FRAME, SMALL).eval()
    with torch.no_grad():
        for regressor in (network.now, network.before, network.after):
            regressor.correction.weight.zero_()
        seen = in_clips(network.glimpses(some_inputs(30)), 1)
        steady = Glimpses(seen.features, seen.answers[:, :1].expand_as(seen.answers))
        torch.testing.assert_close(network.present(steady), steady.answers, atol=1e-5, rtol=1e-4)
        jerky, smooth = seen.answers.diff(n=2, dim=1), network.present(seen).diff(n=2, dim=1)
        assert smooth.norm() < 0.2 * jerky.norm()


def test_an_answer_that_is_not_trusted_does_not_count() -> None:
    network = TemporalNetwork(FRAME, SMALL)
    answers, strip = torch.zeros(1, 30, len(network.trusted.nearness)), torch.zeros(1, 30, 32)
    answers[0, 15] = 1.0
    strip[0, 15, 0] = 1.0
    with torch.no_grad():
        before = network.trusted(strip, answers)[0, 14, 0]
        network.trusted.trust.weight[:, 0] = -4.0
        after = network.trusted(strip, answers)[0, 14, 0]
    assert after < 0.05 * before


def test_a_steady_place_is_smooth_wherever_the_crops_lie() -> None:
    """A walk in a straight line stays as it is, seen through crops that jump about; what trembles does not."""
    random, frames = torch.Generator().manual_seed(3), torch.arange(60.0)
    focal, center = torch.full((1, 60, 2), 600.0), torch.full((1, 60, 2), 319.5)
    depth = (1.2 + 0.005 * frames).exp()
    walk = torch.stack([0.01 * frames * depth, 0.2 * depth, depth], dim=-1)[None]
    boxes = torch.tensor([320.0, 240.0, 150.0]) + 20 * torch.randn(1, 60, 3, generator=random)
    angles = view_angles(*(x.flatten(0, 1) for x in (boxes, focal, center)))[None]

    def through_crops(place: torch.Tensor) -> torch.Tensor:
        steady = steady_place(translation_to_crop(place, boxes, focal, center), angles)
        return translation_from_crop(steady, boxes, focal, center)

    torch.testing.assert_close(through_crops(walk)[:, 10:-10], walk[:, 10:-10], atol=1e-4, rtol=1e-4)
    trembling = walk + 0.1 * torch.randn(1, 60, 3, generator=random)
    before, after = (x.diff(n=2, dim=1).norm() for x in (trembling, through_crops(trembling)))
    assert after < 0.1 * before


def test_any_length_and_gaps() -> None:
    network, inputs = unsettled(TemporalNetwork(FRAME, SMALL)), some_inputs(97)
    everywhere = torch.ones(96, dtype=torch.bool)
    whole = predict_sequence(network, inputs, everywhere)
    assert len(whole.betas) == 97 and whole.R_parent_joint.isfinite().all()
    gap = everywhere.clone()
    gap[49] = False
    parted = predict_sequence(network, inputs, gap)
    alone = predict_sequence(network, inputs[50:], everywhere[50:])
    torch.testing.assert_close(parted.R_parent_joint[50:], alone.R_parent_joint, atol=1e-5, rtol=1e-4)
    clip = predict_sequence(network, inputs[:30], everywhere[:29])
    with torch.no_grad():
        direct = prediction_of(network.present(in_clips(network.glimpses(inputs[:30]), 1)))
    torch.testing.assert_close(clip.R_parent_joint, direct.R_parent_joint[0], atol=1e-5, rtol=1e-4)


def test_a_run_shorter_than_a_clip_stands_still_at_its_ends() -> None:
    network, inputs = unsettled(TemporalNetwork(FRAME, SMALL)), some_inputs(30)
    still = inputs[[0] * 5 + list(range(20)) + [19] * 5]
    short = predict_sequence(network, inputs[:20], torch.ones(19, dtype=torch.bool))
    padded = predict_sequence(network, still, torch.ones(29, dtype=torch.bool))
    torch.testing.assert_close(short.R_parent_joint, padded.R_parent_joint[5:25], atol=1e-5, rtol=1e-4)
    one = predict_sequence(network, inputs[:1], torch.ones(0, dtype=torch.bool))
    assert len(one.betas) == 1 and one.R_parent_joint.isfinite().all()


def test_windows_cover_every_frame_with_their_margins() -> None:
    for time in (1, 30, 31, 47, 48, 49, 200):
        length = min(30, time)
        begins = window_begins(time, length, 6)
        assert begins[0] == 0 and begins[-1] + length == time
        assert (begins.diff() <= 30 - 12).all() and (begins.diff() > 0).all()


def test_weights_hold_their_frame_network(tmp_path: Path) -> None:
    network, inputs = unsettled(TemporalNetwork(FRAME, SMALL)), some_inputs(40)
    save_temporal(tmp_path / "a.safetensors", network, {"steps": 3})
    loaded, about = load_temporal(tmp_path / "a.safetensors")
    assert asdict(loaded.config) == asdict(SMALL) and about["steps"] == 3
    follows = torch.ones(39, dtype=torch.bool)
    one, other = (predict_sequence(n, inputs, follows) for n in (network, loaded))
    assert torch.equal(one.R_parent_joint, other.R_parent_joint)
    save_network(tmp_path / "b.safetensors", network.frame, {})
    with pytest.raises(
        ValueError, match="expected selfmocap-temporal-network weights, found selfmocap-frame"
    ):
        load_temporal(tmp_path / "b.safetensors")
    with pytest.raises(ValueError, match="unknown depth"):
        TemporalConfig.from_dict({"depth": 3})
    with pytest.raises(ValueError, match="a multiple of 32"):
        TemporalConfig(width=40)


# ---- discriminator --------------------------------------------------------------------------------------------


def test_the_discriminator_judges_each_joint_by_itself_and_all_together() -> None:
    judge, R = PoseDiscriminator(16), torch.eye(3).repeat(2, 24, 1, 1)
    scores = judge(R)
    assert scores.shape == (2, 24)
    R[1, 5] = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    changed = (judge(R)[1] - scores[1]).abs() > 1e-7
    assert changed.nonzero().squeeze(1).tolist() == [4, 23]
    R[1] = R[0]
    R[1, 0] = -R[1, 0]
    torch.testing.assert_close(judge(R), scores)
    assert adversary_loss(torch.zeros(1, 24)).tolist() == [24.0]
    assert discriminator_loss(torch.ones(1, 24), torch.full((1, 24), 0.5)).tolist() == [6.0]


# ---- supervision ----------------------------------------------------------------------------------------------


def targets_of(body: Body, *batch: int) -> tuple[Targets, Prediction]:
    """What is known of random people in front of a camera, and the prediction that says so."""
    truth = random_parameters(body, *batch)
    place = truth.p_world_root * 0.2 + torch.tensor([-0.4, 0.1, 4.0])
    truth = replace(truth, p_world_root=place)
    focal, center = torch.full((*batch, 2), 600.0), torch.full((*batch, 2), 300.0)
    boxes = torch.tensor([240.0, 310.0, 170.0]).expand(*batch, 3)
    posed = body.pose(truth)
    pixels = project(body.keypoints(posed.vertices, "coco-23"), focal, center)
    targets = Targets(
        boxes, focal, center, pixels, torch.ones(*batch, 23), torch.ones(batch, dtype=torch.bool),
        truth.R_parent_joint, truth.betas, posed.joints - place.unsqueeze(-2), place,
    )  # fmt: skip
    camera = translation_to_crop(place, boxes, focal, center)
    return targets, Prediction(truth.R_parent_joint, truth.betas, camera)


def test_the_best_camera_of_the_true_body_is_the_true_one(body: Body) -> None:
    targets, truth = targets_of(body, 5)
    targets.seen[:, 3:9] = 0
    targets.keypoints[:, 3:9] += 100
    found = best_camera(figures(body, "coco-23", truth).keypoints, targets)
    torch.testing.assert_close(found, truth.crop_camera, atol=1e-3, rtol=0)


def test_the_best_camera_of_a_figure_the_other_way_round_stays_within_its_bounds(body: Body) -> None:
    targets, truth = targets_of(body, 5)
    points = -figures(body, "coco-23", truth).keypoints
    found = best_camera(points.requires_grad_(), targets)
    assert not found.requires_grad
    assert found.isfinite().all() and (found[:, 2].exp() <= 1 / 0.7 + 1e-4).all()
    nothing = best_camera(points, replace(targets, seen=torch.zeros(5, 23)))
    assert nothing.isfinite().all()


def test_losses_are_zero_at_the_truth_and_known_beside_it(body: Body) -> None:
    targets, truth = targets_of(body, 3)
    losses = figure_losses(figures(body, "coco-23", truth), targets)
    assert all(float(mean_of(loss)) < 1e-4 for loss in losses.values())
    moved = replace(truth, betas=truth.betas + 2, crop_camera=truth.crop_camera + 0.1)
    losses = figure_losses(figures(body, "coco-23", moved), targets)
    assert float(mean_of(losses["betas"])) == pytest.approx(2.0)
    assert float(mean_of(losses["crop_camera"])) == pytest.approx((0.5 + 0.5 + 0.4) / 3, abs=1e-4)
    right = replace(targets, keypoints=targets.keypoints + torch.tensor([17.0, 0.0]))
    losses = figure_losses(figures(body, "coco-23", truth), right)
    assert float(mean_of(losses["keypoints"])) == pytest.approx(0.05, abs=1e-4)
    assert float(mean_of((steady_shape(torch.tensor([[[0.0], [2.0]]])), torch.ones(1, 1, 1)))) == 2.0


def test_accelerations_are_compared_where_both_are_known(body: Body) -> None:
    targets, _ = targets_of(body, 2, 4)
    values, counts = acceleration_loss(targets.joints, targets.p_cam_root, targets)
    assert values.abs().max() < 1e-5 and counts.min() == 1
    jump = targets.joints.clone()
    jump[:, 1, :, 0] += 0.1
    values, _ = acceleration_loss(jump, targets.p_cam_root, targets)
    assert float(values[:, 0, :24, 0].mean()) == pytest.approx(0.2, abs=1e-5)


def test_missing_truth_changes_no_gradient_whatever_stands_there(body: Body) -> None:
    targets, truth = targets_of(body, 4)
    known, unseen = torch.tensor([True, False, True, False]), torch.ones(4, 23)
    unseen[2, 5:] = 0
    gradients = []
    for rubbish in (0.0, 1e6, float("nan")):
        filled = {
            name: torch.where(known.view(-1, *[1] * (value.ndim - 1)), value, rubbish)
            for name in ("R_cam_joint", "betas", "joints", "p_cam_root")
            for value in (getattr(targets, name),)
        }
        pixels = torch.where(unseen.unsqueeze(-1) > 0, targets.keypoints, rubbish)
        there = replace(targets, known=known, seen=unseen, keypoints=pixels, **filled)
        off = numbers_of(truth).detach() + 0.1
        off.requires_grad_()
        losses = figure_losses(figures(body, "coco-23", prediction_of(off)), there)
        torch.stack([mean_of(loss) for loss in losses.values()]).sum().backward()
        gradients.append(off.grad)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])
    assert gradients[0].isfinite().all() and (gradients[0].abs().amax(1) > 0).all()
    nothing = figure_losses(
        figures(body, "coco-23", truth), replace(targets, known=torch.zeros(4, dtype=torch.bool))
    )
    assert float(mean_of(nothing["joints"])) == 0


def test_rows_outside_the_clip_count_for_nothing(body: Body) -> None:
    targets, _ = targets_of(body, 2, 6)
    rows = targets.rows(torch.tensor([-3, 4, 20]), torch.tensor([False, True, False]))
    assert rows.known.tolist() == [False, True, False]
    assert rows.seen.sum(1).tolist() == [0.0, 23.0, 0.0]
    assert torch.equal(rows.joints[1], targets.joints[0, 4])
