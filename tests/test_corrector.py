"""Keypoints that are looked for in the picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from selfmocap.body import Body, BodyParameters
from selfmocap.camera import Camera, project
from selfmocap.dynamics_data import CLIPS, Looking, SyntheticClips
from selfmocap.network.config import NetworkConfig
from selfmocap.network.corrector import KeypointCorrector, Located, gaussians
from selfmocap.network.frame import FrameInputs, FrameNetwork
from selfmocap.network.infer import inputs_of
from selfmocap.network.supervision import located_losses
from selfmocap.network.weights import begin_from
from selfmocap.observations import Observations
from selfmocap.synthetic.backgrounds import procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import procedural_motions
from selfmocap.synthetic.pictured import halved, taken_again
from selfmocap.train import PART, TrainConfig, train, validate
from selfmocap.train_clips import looking_of
from selfmocap.training_data import PictureFrames

CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)
BOX = torch.tensor([200.0, 150.0, 100.0])


@pytest.fixture(scope="module")
def sample(body: Body) -> PictureFrames:
    config = SyntheticConfig(clips=PART, samples=1)
    return PictureFrames(
        procedural_motions(body, count=3), procedural_backgrounds(count=2), body, config, scenes=2
    )


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
        torch.full((count,), given),
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


def test_scenes_come_back_with_other_errors_in_another_light(sample: PictureFrames) -> None:
    (first, truth), (second, _), (third, again) = (sample(seed) for seed in (0, 1, 2))
    assert len(sample.kept) == 2
    assert torch.equal(truth.R_parent_joint, again.R_parent_joint) and torch.equal(first.boxes, third.boxes)
    assert not torch.equal(first.boxes, second.boxes)
    assert not torch.equal(first.keypoints, third.keypoints)
    assert first.crops is not None and first.masks is not None
    assert first.crops.shape == (PART, 64, 64, 3) and first.masks.shape == (PART, 64, 64)
    assert not torch.equal(first.crops, third.crops)
    same, _ = replace(sample, kept={})(2)
    for name, value in vars(same).items():
        assert torch.equal(value, getattr(third, name)), name


def test_some_frames_lack_their_crop_or_mask(sample: PictureFrames) -> None:
    frames = [sample(seed)[0] for seed in range(0, 40, 2)]
    crop, mask = (
        torch.cat([(getattr(f, name) != 0).flatten(1).any(-1) for f in frames]) for name in ("crops", "masks")
    )
    assert (~crop).float().mean() == pytest.approx(0.15, abs=0.04)
    assert (~mask).float().mean() == pytest.approx(0.2, abs=0.05)
    assert (~crop & ~mask).float().mean() == pytest.approx(0.05, abs=0.03)


def test_the_truth_lies_where_its_keypoints_are_seen(body: Body, sample: PictureFrames) -> None:
    inputs, truth = sample(0)
    pixels = project(body.keypoints(body.pose(truth).vertices, "coco-23"), inputs.focal, inputs.center)
    off = (pixels - inputs.keypoints).norm(dim=-1) / inputs.boxes[:, None, 2]
    assert off[inputs.confidence > 0.5].median() < 0.06


def test_losses_of_places_are_least_at_the_truth(body: Body, sample: PictureFrames) -> None:
    inputs, truth = sample(1)
    pixels = project(body.keypoints(body.pose(truth).vertices, "coco-23"), inputs.focal, inputs.center)
    places = (pixels - inputs.boxes[:, None, :2]) / inputs.boxes[:, None, 2:]
    places = places.clamp(-1, 1)
    right = located_losses(body, "coco-23", located_at(places), inputs, truth)
    for step in (0.05, 0.2):
        wrong = located_losses(body, "coco-23", located_at(places + step), inputs, truth)
        for name in right:
            assert (wrong[name] > right[name]).float().mean() > 0.9, name
    unsure = located_losses(body, "coco-23", located_at(places, -1.0), inputs, truth)
    assert (unsure["places"] > right["places"]).all()


def test_it_learns_where_keypoints_are() -> None:
    """Dots of a keypoint each in the picture, and a detector that sees them 10 % of the crop aside."""
    torch.manual_seed(0)
    corrector, random = KeypointCorrector(3), torch.Generator().manual_seed(3)
    optimizer = torch.optim.AdamW(corrector.parameters(), lr=2e-3)
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    errors = []
    for _ in range(70):
        places = torch.rand(16, 3, 2, generator=random) * 1.4 - 0.7
        crops = torch.full((16, 64, 64, 3), 40, dtype=torch.uint8)
        pixels = ((places + 1) * 32 - 0.5).round().long()
        for across in (-1, 0, 1):
            for down in (-1, 0, 1):
                rows, columns = pixels[..., 1] + down, pixels[..., 0] + across
                crops[torch.arange(16)[:, None], rows, columns] = colours.to(torch.uint8)
        given = places + 0.2 * torch.randn(16, 3, 2, generator=random)
        located = corrector(crops, None, BOX[:2] + BOX[2] * given, torch.ones(16, 3), BOX.expand(16, 3))
        heat = -(gaussians(places) * located.log_heat).sum(-1).mean()
        miss = (located.places - places).abs()
        optimizer.zero_grad()
        (heat + 5 * miss.mean()).backward()
        optimizer.step()
        errors.append(float(miss.detach().mean() / (given - places).abs().mean()))
    assert sum(errors[-5:]) / 5 < 0.5


def test_pictures_are_halved_and_taken_again() -> None:
    picture = np.zeros((1, 1, 4, 4, 3), np.uint8)
    picture[..., :2, :2, :], picture[..., 0, 2, :] = 200, 100
    assert halved(picture)[0, 0, 0, :, 0].tolist() == [200, 25]
    mask = np.array([[[[True, True, False, False], [False, False, True, False], *[[False] * 4] * 2]]])
    assert halved(mask)[0, 0].tolist() == [[True, False], [False, False]]
    crops = np.random.default_rng(0).integers(0, 255, (64, 1, 16, 16, 3), np.uint8)
    again = taken_again(np.random.default_rng(1), crops)
    assert again.dtype == np.uint8 and again.shape == crops.shape
    assert np.array_equal(again, taken_again(np.random.default_rng(1), crops))
    alike = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(crops, again, strict=True)]
    assert 0.5 < np.median(alike) < 1


def test_a_training_run_with_pictures_learns_both_parts(body: Body, sample: PictureFrames, tmp_path) -> None:
    config = TrainConfig(CORRECTED, steps=2, batch=PART)
    batch: list[tuple[FrameInputs, BodyParameters]] = [sample(1)]
    network = train(config, sample, body, tmp_path / "out", validation=batch)
    lines = (tmp_path / "out" / "history.jsonl").read_text().splitlines()
    assert len(lines) == 2 and all('"places"' in line and '"heat"' in line for line in lines)
    assert validate(network, body, batch)["mpjpe_mm"] > 0


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
