from dataclasses import replace

import pytest
import torch

from selfmocap.adaptation.objective import gather_fitting_data
from selfmocap.geometry.camera import Camera
from selfmocap.models.checkpoints import init_from
from selfmocap.models.config import NetworkConfig
from selfmocap.models.corrector import KeypointCorrector, RefinedKeypoints, target_heatmaps
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.inference import network_inputs
from selfmocap.tracking.observations import Observations

CORRECTED = NetworkConfig(trunk="none", rgb=False, corrector=True)
BOX = torch.tensor([200.0, 150.0, 100.0])


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


def refined_at(coords: torch.Tensor, log_scale: float = -3.0, has_image: bool = True) -> RefinedKeypoints:
    count, keypoints = coords.shape[:2]
    return RefinedKeypoints(
        coords, coords, torch.full((count, keypoints), log_scale), target_heatmaps(coords).clamp_min(1e-9).log(),
        torch.full((count,), has_image), coords[..., 0] / 2, torch.full((count, keypoints), log_scale),
    )  # fmt: skip


def test_refined_keypoints_replace_detected_ones_in_the_crop() -> None:
    detected, confidence, boxes = torch.zeros(1, 3, 2), torch.tensor([[0.2, 0.0, 0.7]]), BOX[None]
    coords = torch.tensor([[[0.5, -0.25], [0.0, 0.5], [0.99, 0.0]]])
    keypoints, refined_confidence = refined_at(coords).apply(detected, confidence, boxes)
    assert keypoints[0, :2].tolist() == [[250.0, 125.0], [200.0, 200.0]]
    assert keypoints[0, 2].tolist() == [0, 0] and refined_confidence[0, 2] == pytest.approx(0.7)
    _, low_confidence = refined_at(coords, -1.0).apply(detected, confidence, boxes)
    assert 0 < low_confidence[0, 0] < 0.2 and 0.3 < refined_confidence[0, 0] < 1
    keypoints, refined_confidence = refined_at(coords, has_image=False).apply(detected, confidence, boxes)
    assert torch.equal(keypoints, detected) and torch.equal(refined_confidence, confidence)


def test_an_untrained_corrector_stays_near_the_detector() -> None:
    torch.manual_seed(0)
    seen = observed(4)
    corrector = KeypointCorrector(23).eval()
    refined = corrector(seen.crops, seen.masks, seen.keypoints, seen.keypoint_confidence, seen.boxes)
    detected = (seen.keypoints - BOX[:2]) / BOX[2]
    shown = seen.keypoint_confidence > 0.05
    nearer = (refined.coords - detected).norm(dim=-1) < (refined.coords - refined.heatmap_coords).norm(dim=-1)
    assert nearer[shown].float().mean() > 0.9
    assert torch.allclose(refined.log_heatmaps.exp().sum(-1), torch.ones(4, 23), atol=1e-4)


@pytest.mark.slow
def test_images_are_used_once_and_change_the_keypoints() -> None:
    torch.manual_seed(0)
    seen, camera = observed(70), Camera.looking_along_z(700.0, 640, 480)
    network = FrameNetwork(CORRECTED).eval()
    inputs = network_inputs(seen, camera, network)
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
    some = slice(62, 68)  # In two passes.
    assert torch.allclose(
        network(inputs[some]).R_parent_joint, network(whole[some]).R_parent_joint, atol=1e-4
    )
    other = replace(seen, crops=255 - seen.crops)
    moved = (network_inputs(other, camera, network).keypoints - inputs.keypoints).abs()
    assert 1e-4 < moved.median() < 10


def test_without_images_it_predicts_as_the_network_that_it_was_initialised_from() -> None:
    torch.manual_seed(1)
    plain, network = FrameNetwork(replace(CORRECTED, corrector=False)).eval(), FrameNetwork(CORRECTED).eval()
    init_from(network, plain)
    camera = Camera.looking_along_z(700.0, 640, 480)
    seen = observed(3, crops=False)
    assert torch.equal(network_inputs(seen, camera, network).keypoints, seen.keypoints)
    black = replace(
        seen, crops=torch.zeros(3, 128, 128, 3, dtype=torch.uint8), masks=torch.zeros(3, 128, 128) > 0
    )
    for shown in (seen, black):
        inputs = network_inputs(shown, camera, network)
        assert torch.allclose(network(inputs).R_parent_joint, plain(inputs).R_parent_joint, atol=1e-6)
        assert torch.equal(inputs.confidence, seen.keypoint_confidence)
    with pytest.raises(ValueError, match="set corrector or rgb, not both"):
        NetworkConfig(corrector=True)


def test_depths_are_in_pixels_with_confidences() -> None:
    coords = torch.tensor([[[0.5, -0.25], [0.0, 0.5]]])
    depths, confidence = refined_at(coords).depths_px(BOX[None])
    assert depths[0].tolist() == [25.0, 0.0] and 0.5 < confidence[0, 0] < 1
    assert refined_at(coords, -1.0).depths_px(BOX[None])[1][0, 0] < 0.3
    assert (refined_at(coords, has_image=False).depths_px(BOX[None])[1] == 0).all()


def test_depths_of_confidence_zero_have_no_effect() -> None:
    torch.manual_seed(0)
    network, camera = FrameNetwork(CORRECTED).eval(), Camera.looking_along_z(700.0, 640, 480)
    blind = network_inputs(observed(4, crops=False), camera, network)
    assert blind.depths is None
    deep = torch.full((4, 23), 40.0)
    known, unknown = (replace(blind, depths=deep, depth_confidence=c) for c in (deep / 50, 0 * deep))
    R = network(blind).R_parent_joint
    assert torch.equal(network(unknown).R_parent_joint, R)
    assert not torch.allclose(network(known).R_parent_joint, R, atol=1e-5)


def test_held_out_keypoints_are_hidden_in_depth_too() -> None:
    seen, network = observed(30), FrameNetwork(CORRECTED).eval()
    inputs = network_inputs(seen, Camera.looking_along_z(700.0, 640, 480), network)
    evidence = gather_fitting_data([(seen, inputs, 30.0)], held_out_fraction=0.3)
    hidden = evidence.held_out > 0
    assert hidden.any() and evidence.inputs.depth_confidence is not None
    assert (evidence.inputs.depth_confidence[hidden] == 0).all()
    assert (evidence.inputs.depth_confidence[~hidden] > 0).float().mean() > 0.5


@pytest.mark.slow
def test_the_corrector_overfits_one_batch() -> None:
    """Images with a dot for each keypoint; the detector's errors are 10 % of the crop."""
    torch.manual_seed(0)
    corrector, random = KeypointCorrector(3), torch.Generator().manual_seed(3)
    optimizer = torch.optim.AdamW(corrector.parameters(), lr=2e-3)
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255]])
    coords = torch.rand(4, 3, 2, generator=random) * 1.4 - 0.7
    crops = torch.full((4, 64, 64, 3), 40, dtype=torch.uint8)
    pixels = ((coords + 1) * 32 - 0.5).round().long()
    for across in (-1, 0, 1):
        for down in (-1, 0, 1):
            rows, columns = pixels[..., 1] + down, pixels[..., 0] + across
            crops[torch.arange(4)[:, None], rows, columns] = colours.to(torch.uint8)
    detected = coords + 0.2 * torch.randn(4, 3, 2, generator=random)
    errors = []
    while len(errors) < 200 and (not errors or errors[-1] > 0.25):
        refined = corrector(crops, None, BOX[:2] + BOX[2] * detected, torch.ones(4, 3), BOX.expand(4, 3))
        heat = -(target_heatmaps(coords) * refined.log_heatmaps).sum(-1).mean()
        error = (refined.coords - coords).abs()
        optimizer.zero_grad()
        (heat + 5 * error.mean()).backward()
        optimizer.step()
        errors.append(float(error.detach().mean() / (detected - coords).abs().mean()))
    assert errors[0] > 0.5 and errors[-1] <= 0.25
