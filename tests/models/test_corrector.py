"""Keypoints that are looked for in the picture."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.adaptation.objective import gather_evidence
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import Camera, project
from selfmocap.losses.supervised import located_losses
from selfmocap.models.checkpoints import begin_from
from selfmocap.models.config import NetworkConfig
from selfmocap.models.corrector import KeypointCorrector, Located, gaussians
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.inference import inputs_of
from selfmocap.synthetic import pool
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.synthetic.pictured import halved, retaken, taken_again
from selfmocap.synthetic.pool import SEEN
from selfmocap.tracking.observations import Observations
from selfmocap.training.frame_data import PictureFrames
from selfmocap.training.run_log import Progress
from selfmocap.training.temporal_data import CLIPS, Looking, SyntheticClips
from selfmocap.training.temporal_recipe import looking_of
from selfmocap.training.train_frame import PART, TrainConfig, train, validate

CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)
BOX = torch.tensor([200.0, 150.0, 100.0])


@pytest.fixture(scope="module")
def sample(body: Body) -> PictureFrames:
    config = SyntheticConfig(clips=16, samples=1)
    return PictureFrames(procedural_motions(body, count=3), procedural_backgrounds(count=2), body, config)


def batches(sample: PictureFrames, steps: range, batch: int = 64) -> list[tuple[FrameInputs, BodyParameters]]:
    return list(sample.batches(steps, batch, 0, 0, torch.device("cpu")))


@pytest.fixture(scope="module")
def seen(sample: PictureFrames) -> tuple[FrameInputs, BodyParameters]:
    """A batch of frames and their truth."""
    return batches(sample, range(1))[0]


def observed(frames: int, crops: bool = True) -> Observations:
    random = torch.Generator().manual_seed(2)
    return Observations(
        frame_index=torch.arange(frames),
        frame_times=torch.arange(frames, dtype=torch.float64) / 30,
        image_size=(640, 480),
        boxes=BOX.expand(frames, 3).clone(),
        keypoint_set="coco-23",
        keypoints=BOX[:2] + 80 * (2 * torch.rand(frames, 23, 2, generator=random) - 1),
        keypoint_confidence=torch.rand(frames, 23, generator=random),
        crops=torch.randint(1, 255, (frames, 128, 128, 3), generator=random, dtype=torch.uint8)
        if crops
        else None,
        masks=torch.rand(frames, 128, 128, generator=random) < 0.5 if crops else None,
    )


def located_at(places: torch.Tensor, log_spread: float = -3.0, given: bool = True) -> Located:
    count, keypoints = places.shape[:2]
    return Located(
        places, places, torch.full((count, keypoints), log_spread), gaussians(places).clamp_min(1e-9).log(),
        torch.full((count,), given), places[..., 0] / 2, torch.full((count, keypoints), log_spread),
    )  # fmt: skip


def test_keypoints_go_where_they_were_located_as_sure_as_that_is_precise() -> None:
    given, confidence, boxes = torch.zeros(1, 3, 2), torch.tensor([[0.2, 0.0, 0.7]]), BOX[None]
    places = torch.tensor([[[0.5, -0.25], [0.0, 0.5], [0.99, 0.0]]])
    keypoints, sure = located_at(places).corrected(given, confidence, boxes)
    assert keypoints[0, :2].tolist() == [[250.0, 125.0], [200.0, 200.0]]
    assert keypoints[0, 2].tolist() == [0, 0] and sure[0, 2] == pytest.approx(0.7)
    _, doubtful = located_at(places, -1.0).corrected(given, confidence, boxes)
    assert 0 < doubtful[0, 0] < 0.2 and 0.3 < sure[0, 0] < 1
    keypoints, sure = located_at(places, given=False).corrected(given, confidence, boxes)
    assert torch.equal(keypoints, given) and torch.equal(sure, confidence)


def test_a_new_corrector_believes_the_detector_more_than_itself() -> None:
    torch.manual_seed(0)
    seen = observed(4)
    corrector = KeypointCorrector(23).eval()
    located = corrector(seen.crops, seen.masks, seen.keypoints, seen.keypoint_confidence, seen.boxes)
    given = (seen.keypoints - BOX[:2]) / BOX[2]
    shown = seen.keypoint_confidence > 0.05
    nearer = (located.places - given).norm(dim=-1) < (located.places - located.found).norm(dim=-1)
    assert nearer[shown].float().mean() > 0.9
    assert torch.allclose(located.log_heat.exp().sum(-1), torch.ones(4, 23), atol=1e-4)


@pytest.mark.slow
def test_pictures_are_looked_at_once_and_count() -> None:
    torch.manual_seed(0)
    seen, camera = observed(300), Camera.looking_along_z(700.0, 640, 480)
    network = FrameNetwork(CORRECTED).eval()
    inputs = inputs_of(seen, camera, network)
    assert inputs.crops is None and inputs.masks is None
    whole = FrameInputs(
        seen.crops,
        seen.keypoints,
        seen.keypoint_confidence,
        seen.boxes,
        inputs.focal,
        inputs.center,
        seen.masks,
    )
    some = slice(290, 296)
    assert torch.allclose(
        network(inputs[some]).R_parent_joint, network(whole[some]).R_parent_joint, atol=1e-4
    )
    other = replace(seen, crops=255 - seen.crops)
    moved = (inputs_of(other, camera, network).keypoints - inputs.keypoints).abs()
    assert 1e-4 < moved.median() < 10


def test_without_pictures_it_answers_as_the_network_that_it_began_from() -> None:
    torch.manual_seed(1)
    plain, network = FrameNetwork(replace(CORRECTED, corrector=False)).eval(), FrameNetwork(CORRECTED).eval()
    begin_from(network, plain)
    camera = Camera.looking_along_z(700.0, 640, 480)
    seen = observed(3, crops=False)
    assert torch.equal(inputs_of(seen, camera, network).keypoints, seen.keypoints)
    black = replace(
        seen, crops=torch.zeros(3, 128, 128, 3, dtype=torch.uint8), masks=torch.zeros(3, 128, 128) > 0
    )
    for shown in (seen, black):
        inputs = inputs_of(shown, camera, network)
        assert torch.allclose(network(inputs).R_parent_joint, plain(inputs).R_parent_joint, atol=1e-6)
        assert torch.equal(inputs.confidence, seen.keypoint_confidence)
    with pytest.raises(ValueError, match="set corrector or rgb, not both"):
        NetworkConfig(corrector=True)


def test_depths_are_in_pixels_as_sure_as_they_are_precise() -> None:
    places = torch.tensor([[[0.5, -0.25], [0.0, 0.5]]])
    depths, sure = located_at(places).measured_depths(BOX[None])
    assert depths[0].tolist() == [25.0, 0.0] and 0.5 < sure[0, 0] < 1
    assert located_at(places, -1.0).measured_depths(BOX[None])[1][0, 0] < 0.3
    assert (located_at(places, given=False).measured_depths(BOX[None])[1] == 0).all()


def test_what_is_known_of_depth_counts_and_what_is_not_does_not() -> None:
    torch.manual_seed(0)
    network, camera = FrameNetwork(CORRECTED).eval(), Camera.looking_along_z(700.0, 640, 480)
    blind = inputs_of(observed(4, crops=False), camera, network)
    assert blind.depths is None
    deep = torch.full((4, 23), 40.0)
    told, doubted = (replace(blind, depths=deep, depth_confidence=sure) for sure in (deep / 50, 0 * deep))
    R = network(blind).R_parent_joint
    assert torch.equal(network(doubted).R_parent_joint, R)
    assert not torch.allclose(network(told).R_parent_joint, R, atol=1e-5)


def test_what_is_kept_out_is_kept_out_in_depth_too() -> None:
    seen, network = observed(30), FrameNetwork(CORRECTED).eval()
    inputs = inputs_of(seen, Camera.looking_along_z(700.0, 640, 480), network)
    evidence = gather_evidence([(seen, inputs, 30.0)], keep_out=0.3)
    hidden = evidence.kept_out > 0
    assert hidden.any() and evidence.inputs.depth_confidence is not None
    assert (evidence.inputs.depth_confidence[hidden] == 0).all()
    assert (evidence.inputs.depth_confidence[~hidden] > 0).float().mean() > 0.5


def test_scenes_are_seen_several_times_with_other_errors_in_another_light(sample: PictureFrames) -> None:
    first, *_, last = batches(sample, range(12))
    R = [truth.R_parent_joint for _, truth in (first, last)]
    alike = (R[0][:, None] == R[1]).flatten(2).all(-1).nonzero()
    assert len(alike) > 0
    before, after = first[0][alike[:1, 0]], last[0][alike[:1, 1]]
    assert torch.equal(before.boxes, after.boxes) and torch.equal(before.focal, after.focal)
    assert before.crops is not None and before.masks is not None and after.crops is not None
    assert before.crops.shape == (1, 64, 64, 3) and before.masks.shape == (1, 64, 64)
    assert not torch.equal(before.crops, after.crops)
    keypoints = torch.stack([sample.scenes(0).keypoints[:, look] for look in range(SEEN)])
    assert (keypoints.std(0) > 0).float().mean() > 0.8


def test_steps_see_the_same_wherever_training_begins(sample: PictureFrames, monkeypatch) -> None:
    monkeypatch.setattr(pool, "_KEPT", 100)
    whole, rest = batches(sample, range(20)), batches(sample, range(17, 20))
    for (inputs, truth), (others, same) in zip(whole[17:], rest, strict=True):
        assert torch.equal(truth.R_parent_joint, same.R_parent_joint)
        for name, value in vars(inputs).items():
            assert value is None or torch.equal(value, getattr(others, name)), name


def test_the_oldest_scenes_make_room(sample: PictureFrames) -> None:
    parts = [sample.scenes(seed) for seed in range(3)]
    full = pool.ScenePool(torch.device("cpu"), capacity=40)
    for part in parts:
        full.add(part)
    drawn = full.drawn(torch.Generator().manual_seed(0), 200)
    assert len(drawn) == 200 and drawn.keypoints.shape == (200, 1, 23, 2)
    known = [(part.p_cam_root[:, None] == drawn.p_cam_root).all(-1).any() for part in parts]
    assert known == [False, True, True]


def test_some_frames_lack_their_crop_or_mask() -> None:
    crops, masks = retaken(
        torch.Generator().manual_seed(0),
        torch.full((2000, 1, 8, 8, 3), 120, dtype=torch.uint8),
        torch.ones(2000, 1, 8, 8) > 0,
    )
    crop, mask = ((image != 0).flatten(1).any(-1) for image in (crops, masks))
    assert (~crop).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (~mask).float().mean() == pytest.approx(0.25, abs=0.03)
    assert (~crop & ~mask).float().mean() == pytest.approx(0.15, abs=0.03)


def test_the_truth_lies_where_its_keypoints_are_seen(
    body: Body, seen: tuple[FrameInputs, BodyParameters]
) -> None:
    inputs, truth = seen
    pixels = project(body.keypoints(body.pose(truth).vertices, "coco-23"), inputs.focal, inputs.center)
    off = (pixels - inputs.keypoints).norm(dim=-1) / inputs.boxes[:, None, 2]
    assert off[inputs.confidence > 0.5].median() < 0.06


def test_losses_of_places_are_least_at_the_truth(
    body: Body, seen: tuple[FrameInputs, BodyParameters]
) -> None:
    inputs, truth = seen
    keypoints = body.keypoints(body.pose(truth).vertices, "coco-23")
    pixels = project(keypoints, inputs.focal, inputs.center)
    places = (pixels - inputs.boxes[:, None, :2]) / inputs.boxes[:, None, 2:]
    places = places.clamp(-1, 1)
    scale = inputs.focal[:, :1] / truth.p_world_root[:, 2:] / inputs.boxes[:, 2:]
    deep = (keypoints[..., 2] - truth.p_world_root[:, None, 2]) * scale

    def losses(off: float, log_spread: float = -3.0) -> dict[str, torch.Tensor]:
        located = replace(located_at(places + off, log_spread), depths=deep + off)
        return located_losses(body, "coco-23", located, inputs, truth)

    right, unsure = losses(0.0), losses(0.0, -1.0)
    for step in (0.05, 0.2):
        wrong = losses(step)
        for name in right:
            assert (wrong[name] > right[name]).float().mean() > 0.9, name
    assert (unsure["places"] > right["places"]).all() and (unsure["depths"] > right["depths"]).all()


@pytest.mark.slow
def test_it_learns_where_keypoints_are() -> None:
    """Overfit one batch: a dot for each keypoint, and a detector that is off by 10 % of the crop."""
    torch.manual_seed(0)
    corrector, random = KeypointCorrector(3), torch.Generator().manual_seed(3)
    optimizer = torch.optim.AdamW(corrector.parameters(), lr=2e-3)
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    places = torch.rand(4, 3, 2, generator=random) * 1.4 - 0.7
    crops = torch.full((4, 64, 64, 3), 40, dtype=torch.uint8)
    pixels = ((places + 1) * 32 - 0.5).round().long()
    for across in (-1, 0, 1):
        for down in (-1, 0, 1):
            rows, columns = pixels[..., 1] + down, pixels[..., 0] + across
            crops[torch.arange(4)[:, None], rows, columns] = colours.to(torch.uint8)
    given = places + 0.2 * torch.randn(4, 3, 2, generator=random)
    errors = []
    while len(errors) < 200 and (not errors or errors[-1] > 0.25):
        located = corrector(crops, None, BOX[:2] + BOX[2] * given, torch.ones(4, 3), BOX.expand(4, 3))
        heat = -(gaussians(places) * located.log_heat).sum(-1).mean()
        miss = (located.places - places).abs()
        optimizer.zero_grad()
        (heat + 5 * miss.mean()).backward()
        optimizer.step()
        errors.append(float(miss.detach().mean() / (given - places).abs().mean()))
    assert errors[0] > 0.5 and errors[-1] <= 0.25


def test_pictures_are_halved_and_taken_again() -> None:
    picture = np.zeros((1, 1, 4, 4, 3), np.uint8)
    picture[..., :2, :2, :], picture[..., 0, 2, :] = 200, 100
    assert halved(picture)[0, 0, 0, :, 0].tolist() == [200, 25]
    mask = np.array([[[[True, True, False, False], [False, False, True, False], *[[False] * 4] * 2]]])
    assert halved(mask)[0, 0].tolist() == [[True, False], [False, False]]
    crops = torch.randint(
        0, 255, (64, 1, 16, 16, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8
    )
    again = taken_again(torch.Generator().manual_seed(1), crops)
    assert again.dtype == torch.uint8 and again.shape == crops.shape
    assert torch.equal(again, taken_again(torch.Generator().manual_seed(1), crops))
    alike = [
        np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(crops.numpy(), again.numpy(), strict=True)
    ]
    assert 0.5 < np.median(alike) < 1


@pytest.mark.slow
def test_a_training_run_with_pictures_learns_all_parts_and_resumes(
    body: Body, sample: PictureFrames, seen: tuple[FrameInputs, BodyParameters], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr("selfmocap.training.train_frame.fastest_precision", lambda *_: torch.float32)
    config = TrainConfig(CORRECTED, steps=3, batch=2 * PART)
    network = train(config, sample, body, tmp_path / "whole", validation=[seen])
    lines = [json.loads(line) for line in (tmp_path / "whole" / "history.jsonl").read_text().splitlines()]
    assert len(lines) == 3 and all({"places", "heat", "depths"} < line.keys() for line in lines)
    assert validate(network, body, [seen])["mpjpe_mm"] > 0

    def stop(now: Progress) -> None:
        if now.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, sample, body, tmp_path / "cut", every=2, progress=stop)
    monkeypatch.setattr("selfmocap.training.train_frame.fastest_precision", lambda *_: torch.bfloat16)
    train(config, sample, body, tmp_path / "cut", every=2, resume=True)
    resumed = [json.loads(line) for line in (tmp_path / "cut" / "history.jsonl").read_text().splitlines()]
    assert [line["total"] for line in resumed] == [line["total"] for line in lines]


def test_clips_for_a_temporal_network_are_corrected_on_the_way(body: Body) -> None:
    torch.manual_seed(0)
    network, motions = FrameNetwork(CORRECTED).eval(), procedural_motions(body, count=2)
    looking = Looking(network, procedural_backgrounds(count=2))
    clips = SyntheticClips(motions, body, 3, KeypointErrors(), wander=False, looking=looking)
    found, plain = clips(0), replace(clips, looking=None, kept={})(0)
    assert found.inputs.crops is None and found.inputs.boxes.shape == (3 * CLIPS, 3)
    assert torch.equal(found.targets.R_cam_joint, plain.targets.R_cam_joint)
    moved = (found.inputs.keypoints - plain.inputs.keypoints).norm(dim=-1) / plain.inputs.boxes[:, None, 2]
    assert 1e-3 < moved.median() < 0.3
    assert torch.equal(replace(clips, kept={})(0).inputs.keypoints, found.inputs.keypoints)
    again = clips(clips.scenes)
    assert len(clips.kept) == 1 and not torch.equal(again.inputs.keypoints, found.inputs.keypoints)
    assert looking_of(network, None) is not None
    assert looking_of(FrameNetwork(replace(CORRECTED, corrector=False)), None) is None
