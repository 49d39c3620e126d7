import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameNetwork, Prediction
from selfmocap.models.inference import camera_of
from selfmocap.models.pose_discriminator import PoseDiscriminator
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork, prediction_of
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.tracking.observations import Observations
from selfmocap.training.baseline_filters import butterworth, one_euro, one_euro_both_ways
from selfmocap.training.temporal_data import (
    CLIPS,
    Clips,
    SyntheticClips,
    TrackClips,
    Tracks,
    clean_tracks,
    smooth_windows,
    together,
    tracks_at,
    wandering,
)
from selfmocap.training.temporal_recipe import ClipChoice, real_poses
from selfmocap.training.train_temporal import (
    Lessons,
    Rivals,
    TemporalTrainConfig,
    generator_losses,
    judge_losses,
    train_temporal,
)
from selfmocap.training.validate_temporal import (
    clip_scores,
    filtered_scores,
    frame_answers,
    validation_scores,
)
from tests.conftest import ROOT

FRAME = NetworkConfig(trunk="none", rgb=False)
SMALL = TemporalConfig(width=32, hidden=32, blocks=2, frames=13, reach=3, dropout=0.2)
CONFIG = TemporalTrainConfig(SMALL, steps=4, judged=4, discriminator_width=16)


@pytest.fixture(scope="module")
def motions(body: Body):
    return procedural_motions(body, count=3)


@pytest.fixture(scope="module")
def lessons(body: Body, motions) -> Lessons:
    labelled = SyntheticClips(motions, body, SMALL.frames, KeypointErrors(), scenes=2)
    unlabelled = replace(labelled, truth=False, kept={})
    return Lessons(labelled, unlabelled, real_poses(motions), together([labelled(0), labelled(1)]))


@pytest.fixture(scope="module")
def small(body: Body) -> Body:
    return body.with_vertices(body.regressors["coco-23"].vertices)


@pytest.fixture
def rivals() -> Rivals:
    network, judge = TemporalNetwork(FRAME, SMALL).train(), PoseDiscriminator(16)
    return Rivals(network, judge, network, judge)


# ---- clips ----------------------------------------------------------------------------------------------------


def test_clips_are_functions_of_their_seed_and_hide_what_is_not_told(lessons: Lessons) -> None:
    told, again, untold = lessons.labelled(5), lessons.labelled(5), lessons.unlabelled(5)
    assert torch.equal(told.inputs.keypoints, again.inputs.keypoints)
    assert torch.equal(told.inputs.boxes, again.inputs.boxes)
    assert torch.equal(told.inputs.boxes, told.targets.boxes.flatten(0, 1))
    assert told.targets.known.all() and not untold.targets.known.any()
    assert torch.equal(untold.targets.keypoints.flatten(0, 1), untold.inputs.keypoints)
    assert untold.targets.joints.isnan().all() and untold.targets.R_cam_joint.isnan().all()
    assert not torch.equal(told.inputs.keypoints, lessons.labelled(7).inputs.keypoints)
    assert torch.equal(told.targets.joints, lessons.labelled(7).targets.joints)


def test_windows_wander_smoothly_and_not_far() -> None:
    still = torch.tensor([300.0, 200.0, 100.0]).expand(64, 40, 3)
    walk = wandering(np.random.default_rng(0), still)
    assert ((walk[..., :2] - still[..., :2]).abs() <= 100 * 20 / 112 + 1e-3).all()
    assert ((walk[..., 2] / 100).log2().abs() <= 0.3 + 1e-4).all()
    assert walk.diff(dim=1).abs().max() < 8 and walk.diff(n=2, dim=1).abs().max() < 3
    assert walk[:, 0].std(0).min() > 3


def test_windows_are_those_of_the_front_end(lessons: Lessons) -> None:
    clips = lessons.labelled(0)
    points = clips.inputs.keypoints.unflatten(0, (CLIPS, -1))
    boxes = smooth_windows(points, torch.ones(points.shape[:-1]))
    assert boxes.shape == (CLIPS, SMALL.frames, 3)
    raw = (points.amax(2) - points.amin(2)).amax(-1) * 0.6
    assert boxes[..., 2].diff(n=2, dim=1).norm() < 0.2 * raw.diff(n=2, dim=1).norm()


def some_track(frames: int, fps: float = 30.0) -> Observations:
    random = torch.Generator().manual_seed(1)
    return Observations(
        frame_index=torch.arange(frames),
        frame_times=torch.arange(frames, dtype=torch.float64) / fps,
        image_size=(640, 480),
        boxes=torch.tensor([320.0, 240.0, 150.0]).repeat(frames, 1),
        keypoint_set="coco-23",
        keypoints=torch.rand(frames, 23, 2, generator=random) * 200 + 200,
        keypoint_confidence=torch.ones(frames, 23),
    )


def test_tracks_are_cleaned_by_the_papers_rules() -> None:
    track = some_track(700)
    assert [len(piece) for piece in clean_tracks(track)] == [500, 200]
    assert [len(piece) for piece in clean_tracks(some_track(200, fps=60.0))] == [100]
    track.keypoint_confidence[100:120, 4:] = 0  # Four keypoints: the track ends.
    track.keypoint_confidence[300:330, 6:] = 0  # Six: it goes on, but none would begin.
    track.keypoint_confidence[650, 1:] = 0  # A single frame is nothing.
    assert [piece.frame_index[[0, -1]].tolist() for piece in clean_tracks(track)] == [
        [0, 99], [120, 619], [620, 699],
    ]  # fmt: skip
    gaps = track[[*range(30), *range(31, 100)]]
    assert [piece.frame_index[[0, -1]].tolist() for piece in clean_tracks(gaps)] == [[31, 99]]
    head = some_track(60)
    head.keypoint_confidence[:, 7:] = 0
    assert clean_tracks(head) == []


def test_tracks_of_a_folder_are_read_and_drawn(tmp_path: Path, body: Body) -> None:
    (tmp_path / "person-1").mkdir()
    some_track(60).save(tmp_path / "person-1" / "observations.npz")
    tracks = tracks_at(tmp_path, 13, 1.0, tmp_path / "index", lambda *_: None)
    clips = TrackClips(tracks, 13, body.num_betas)(4)
    assert isinstance(clips, Clips) and clips.targets.known.shape == (CLIPS, 13)
    assert not clips.targets.known.any() and (clips.targets.seen == 1).all()
    assert torch.equal(clips.inputs.focal, camera_of(some_track(1), None).focal.expand(CLIPS * 13, 2))
    with pytest.raises(ValueError, match="1 observations.npz, and in them no track of 100 frames"):
        tracks_at(tmp_path, 100, 1.0, tmp_path / "index", lambda *_: None)


def test_tracks_are_drawn_by_their_lengths_and_shares_are_spread() -> None:
    piles = [[some_track(n) for n in (20, 40, 12)], [], [some_track(n) for n in (13, 30, 16, 17)]]
    tracks = Tracks(piles, shortest=13)
    assert (tracks.found, tracks.frames) == (6, 136)
    assert [len(tracks.holding(frame)) for frame in range(136)] == [
        length for length in (20, 40, 13, 30, 16, 17) for _ in range(length)
    ]
    with pytest.raises(IndexError):
        tracks.holding(136)
    half = Tracks(piles, shortest=13, share=0.5)
    assert (half.found, half.frames) == (6, 20 + 13 + 16)
    assert Tracks(piles, shortest=13, share=0.0).frames == 0


# ---- losses ---------------------------------------------------------------------------------------------------


def test_each_update_touches_only_its_own_weights(rivals: Rivals, lessons: Lessons, small: Body) -> None:
    clips = together([lessons.labelled(0), lessons.unlabelled(1)])
    losses, estimates = generator_losses(CONFIG, rivals, small, clips)
    losses["adversary"].backward(retain_graph=True)
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in rivals.network.parameters())
    losses["total"].backward()
    assert all(parameter.grad is None for parameter in rivals.discriminator.parameters())
    before = [p.grad.clone() for p in rivals.network.parameters() if p.grad is not None]
    judge_losses(rivals.judge, lessons.poses[: len(estimates)], estimates).backward()
    assert all(p.grad.abs().max() > 0 for p in rivals.discriminator.parameters())
    after = [p.grad for p in rivals.network.parameters() if p.grad is not None]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_clips_without_truth_teach_by_their_keypoints_alone(
    rivals: Rivals, lessons: Lessons, small: Body
) -> None:
    losses, _ = generator_losses(CONFIG, rivals, small, lessons.unlabelled(1))
    assert all(float(losses[name].detach()) == 0 for name in ("joints", "rotations", "betas", "acceleration"))
    losses["total"].backward()
    gradients = [p.grad for p in rivals.network.parameters() if p.requires_grad]
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert float(losses["keypoints"].detach()) > 0


def test_every_part_of_the_network_learns_from_a_step(rivals: Rivals, lessons: Lessons, small: Body) -> None:
    clips = together([lessons.labelled(0), lessons.unlabelled(1)])
    generator_losses(replace(CONFIG, judged=None), rivals, small, clips)[0]["total"].backward()
    for name, parameter in rivals.network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


# ---- training -------------------------------------------------------------------------------------------------


def history(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]


def test_stopped_and_resumed_goes_on_exactly(body: Body, lessons: Lessons, tmp_path: Path) -> None:
    torch.manual_seed(3)
    frame = FrameNetwork(FRAME)
    whole = train_temporal(CONFIG, frame, lessons, body, tmp_path / "whole", every=2)

    class Stop(Exception):
        pass

    def stop(now) -> None:
        if now.step == 3:
            raise Stop

    out = tmp_path / "stopped"
    with pytest.raises(Stop):
        train_temporal(CONFIG, frame, lessons, body, out, every=2, progress=stop)
    with pytest.raises(ValueError, match="already holds a training run"):
        train_temporal(CONFIG, frame, lessons, body, out)
    with pytest.raises(ValueError, match="another configuration"):
        train_temporal(replace(CONFIG, seed=1), frame, lessons, body, out, resume=True)
    parted = train_temporal(CONFIG, frame, lessons, body, out, resume=True, every=2)
    assert history(out) == history(tmp_path / "whole")
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.state_dict().values(), parted.state_dict().values(), strict=True)
    )
    assert all(torch.equal(p, frame.state_dict()[n]) for n, p in parted.frame.state_dict().items())


@pytest.mark.slow
def test_fifty_steps_teach_what_a_frame_network_cannot_know(
    body: Body, lessons: Lessons, tmp_path: Path
) -> None:
    network = replace(SMALL, dropout=0.0)
    config = replace(CONFIG, network=network, steps=50, learning_rate=2e-3, schedule="constant", average=0.8)
    trained = train_temporal(config, FrameNetwork(FRAME), lessons, body, tmp_path / "out", every=50)
    scores = history(tmp_path / "out")[-1]["validation"]
    assert scores["temporal/mpjpe_mm"] < 0.8 * scores["frame/mpjpe_mm"]
    assert lessons.validation is not None
    again = validation_scores(trained, body, lessons.validation)
    assert again["temporal"]["mpjpe_mm"] == pytest.approx(scores["temporal/mpjpe_mm"], rel=1e-4)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    script = ROOT / "tests" / "helpers" / "temporal_run.py"
    environment = {**os.environ, "PYTHONPATH": str(script.parents[1]), "OMP_NUM_THREADS": "1"}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    for name, how in (("one", ()), ("two", launcher)):
        command = [sys.executable, *how, str(script), str(tmp_path / name), "2"]
        subprocess.run(command, check=True, timeout=240, env=environment, capture_output=True)
    assert (tmp_path / "two-of-2-1").exists()
    for one, two in zip(history(tmp_path / "one"), history(tmp_path / "two"), strict=True):
        assert one == pytest.approx(two, rel=1e-3)


def test_configurations_that_cannot_be_are_refused(body: Body, lessons: Lessons, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a multiple of 4"):
        TemporalTrainConfig(batch=6)
    with pytest.raises(ValueError, match="keypoints alone"):
        train_temporal(CONFIG, FrameNetwork(NetworkConfig(width=16)), lessons, body, tmp_path / "out")
    with pytest.raises(ValueError, match="one of them"):
        ClipChoice(untold=0.5, unlabelled=Path("videos"))


# ---- scores ---------------------------------------------------------------------------------------------------


def test_scores_are_zero_at_the_truth_and_known_beside_it(body: Body, lessons: Lessons) -> None:
    from selfmocap.geometry.camera import translation_to_crop

    clips = lessons.validation
    assert clips is not None
    targets = clips.targets
    camera = translation_to_crop(targets.p_cam_root, targets.boxes, targets.focal, targets.center)
    truth = Prediction(targets.R_cam_joint, targets.betas, camera)
    assert all(value < 0.1 for value in clip_scores(body, truth, clips).values())
    nearer = replace(truth, crop_camera=camera + torch.tensor([0.0, 0.0, 0.1]))
    scores = clip_scores(body, nearer, clips)
    assert scores["mpjpe_mm"] < 0.1 and scores["limb_acceleration_error_mm_per_frame2"] < 0.1
    assert scores["acceleration_error_mm_per_frame2"] > 0.1


def test_filters_take_jitter_away_and_do_not_lag() -> None:
    time = np.arange(90) / 30
    slow = np.sin(2 * np.pi * 0.5 * time)[:, None]
    noisy = slow + 0.1 * np.random.default_rng(0).normal(size=slow.shape)
    for smooth in (butterworth(noisy, 3.0, 30.0), one_euro_both_ways(noisy, 2.0, 0.5, 30.0)):
        assert np.abs(smooth - slow)[10:-10].mean() < 0.6 * np.abs(noisy - slow)[10:-10].mean()
    assert (
        np.abs(np.diff(one_euro(noisy, 1.0, 0.0, 30.0), 2, axis=0)).mean()
        < 0.3 * np.abs(np.diff(noisy, 2, axis=0)).mean()
    )
    late = one_euro(slow, 1.0, 0.0, 30.0)
    assert np.abs(late[24:] - slow[20:-4]).mean() < np.abs(late[24:] - slow[24:]).mean()
    constant = np.full((40, 2), 3.0)
    for smooth in (butterworth(constant, 2.0, 30.0), one_euro(constant, 2.0, 1.0, 30.0)):
        np.testing.assert_allclose(smooth, constant, atol=1e-6)


def test_filters_are_tuned_not_to_cost_accuracy(body: Body, lessons: Lessons) -> None:
    network = TemporalNetwork(FRAME, SMALL).eval()
    for layer in network.frame.heads.outputs():
        torch.nn.init.normal_(layer.weight, std=0.3)
    assert lessons.validation is not None
    rows = filtered_scores(network, body, lessons.validation)
    plain = clip_scores(body, prediction_of(frame_answers(network, lessons.validation)), lessons.validation)
    key = "acceleration_error_mm_per_frame2"
    assert set(rows) == {"butterworth", "one_euro", "one_euro_both_ways"}
    assert all(row["scores"][key] < plain[key] for row in rows.values())
