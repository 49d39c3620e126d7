from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import named_pose
from selfmocap.geometry.camera import Camera, project, to_crop, translation_to_crop
from selfmocap.geometry.rotations import matrix_to_euler
from selfmocap.losses.supervised import paper_losses, supervised_losses
from selfmocap.models.checkpoints import copy_network, ema_update, init_from, load_network, save_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.estimator import infer
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameInputs, FrameNetwork, Prediction
from selfmocap.models.heatmaps import coordinate_features, heatmaps
from selfmocap.models.inference import network_inputs
from selfmocap.tracking.observations import Observations
from tests.conftest import random_parameters

SMALL = NetworkConfig(width=16)
CONFIGS = {
    "default": SMALL,
    "no rgb": replace(SMALL, rgb=False),
    "paper": replace(NetworkConfig.paper(), width=4),
    "heatmaps only": replace(SMALL, coordinates=False, rgb=False),
    "coordinates only": replace(SMALL, trunk="none", rgb=False),
    "corrected": replace(SMALL, trunk="none", rgb=False, corrector=True),
}


def some_inputs(batch: int = 3) -> FrameInputs:
    return FrameInputs(
        crops=torch.randint(0, 256, (batch, 128, 128, 3), dtype=torch.uint8),
        keypoints=torch.rand(batch, 23, 2) * 200 + 100,
        confidence=torch.rand(batch, 23),
        boxes=torch.tensor([[200.0, 210.0, 110.0]]).expand(batch, 3),
        focal=torch.full((batch, 2), 600.0),
        center=torch.tensor([[319.5, 239.5]]).expand(batch, 2),
    )


def in_front(parameters: BodyParameters) -> BodyParameters:
    return replace(parameters, p_world_root=parameters.p_world_root * 0.2 + torch.tensor([-0.8, 0.0, 4.0]))


def test_a_heatmap_peaks_at_its_keypoint_with_its_amplitude() -> None:
    box = torch.tensor([[63.5, 63.5, 64.0]])
    keypoints = torch.tensor([[[40.0, 90.0], [40.0, 90.0], [500.0, 0.0]]])
    maps = heatmaps(keypoints, torch.tensor([[1.0, 0.01, 1.0]]), box, 128)
    assert maps[0, 0, 90, 40] == 1
    assert maps[0, 0].argmax() == 90 * 128 + 40
    assert maps[0, 0, 90, 42] == pytest.approx(float(torch.tensor(-(2**2) / (2 * 1.75**2)).exp()))
    assert maps[0, 1:].abs().max() == 0
    half = heatmaps(keypoints, torch.ones(1, 3), box, 64)
    assert half[0, 0].argmax() == 45 * 64 + 20 or half[0, 0, 45, 20] == pytest.approx(
        half[0, 0].max(), abs=0.2
    )


def test_a_missing_keypoint_leaves_no_trace_of_its_place() -> None:
    inputs = some_inputs()
    hidden = inputs.confidence.clone()
    hidden[:, 4] = 0
    moved = inputs.keypoints.clone()
    moved[:, 4] += 50
    for keypoints in (heatmaps, coordinate_features):
        size = (64,) if keypoints is heatmaps else ()
        one = keypoints(inputs.keypoints, hidden, inputs.boxes, *size)
        assert torch.equal(one, keypoints(moved, hidden, inputs.boxes, *size))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_parameter_group_is_alive(name: str) -> None:
    network, inputs = FrameNetwork(CONFIGS[name]), some_inputs()
    prediction = network(inputs)
    assert torch.allclose(prediction.R_parent_joint.det(), torch.ones(3, 24), atol=1e-4)
    loss = sum((value * torch.randn_like(value)).sum() for value in vars(prediction).values())
    loss.backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize("name", CONFIGS)
def test_an_untrained_network_starts_near_a_person_who_stands_in_the_crop(name: str) -> None:
    network = FrameNetwork(CONFIGS[name]).eval()
    for layer in network.heads.outputs():
        torch.nn.init.zeros_(layer.weight)
    prediction = network(some_inputs())
    assert torch.allclose(prediction.R_parent_joint[:, 0], R_CAM_UPRIGHT.expand(3, 3, 3), atol=1e-5)
    start = named_pose("arms-down")[1:] if CONFIGS[name].rotations == "6d" else torch.eye(3).expand(23, 3, 3)
    assert torch.allclose(prediction.R_parent_joint[0, 1:], start, atol=1e-5)
    assert prediction.crop_camera.abs().max() < 1e-5


def test_a_frame_is_answered_alone_whatever_else_is_in_the_batch() -> None:
    network, inputs = FrameNetwork(SMALL), some_inputs()
    whole, alone = network(inputs), network(inputs[1:2])
    assert torch.allclose(whole.R_parent_joint[1:2], alone.R_parent_joint, atol=1e-5)


def test_an_rgb_network_without_images_says_so() -> None:
    with pytest.raises(ValueError, match="the observations hold none"):
        FrameNetwork(SMALL)(replace(some_inputs(), crops=None))


def truth_and_inputs(body: Body) -> tuple[BodyParameters, FrameInputs]:
    truth, inputs = in_front(random_parameters(body, 3)), some_inputs()
    keypoints = body.keypoints(body.pose(truth).vertices, "coco-23")
    return truth, replace(inputs, keypoints=project(keypoints, inputs.focal, inputs.center))


def exactly(truth: BodyParameters, inputs: FrameInputs) -> Prediction:
    camera = translation_to_crop(truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
    return Prediction(truth.R_parent_joint, truth.betas, camera)


def test_losses_are_zero_at_the_truth_and_known_beside_it(body: Body) -> None:
    truth, inputs = truth_and_inputs(body)
    prediction = exactly(truth, inputs)
    for losses in (
        supervised_losses(body, "coco-23", prediction, inputs, truth),
        paper_losses(prediction, inputs, truth),
    ):
        for name, value in losses.items():
            assert value.shape == (3,), name
            assert value.abs().max() < 1e-3, name
    shifted = replace(prediction, betas=prediction.betas + 2, crop_camera=prediction.crop_camera + 0.1)
    losses = supervised_losses(body, "coco-23", shifted, inputs, truth)
    assert losses["betas"].tolist() == pytest.approx([4.0] * 3)
    assert losses["crop_camera"].tolist() == pytest.approx([(0.5 + 0.5 + 0.4) / 3] * 3, abs=1e-4)
    assert paper_losses(shifted, inputs, truth)["betas"].tolist() == pytest.approx([4.0] * 3)


def test_the_papers_root_angles_are_those_of_an_upright_person() -> None:
    sin, cos = matrix_to_euler(R_CAM_UPRIGHT @ R_CAM_UPRIGHT)
    assert torch.equal(sin.abs(), torch.zeros(3))
    assert torch.equal(cos, torch.ones(3))


@pytest.mark.slow
def test_sixty_steps_on_three_samples_halve_the_loss(body: Body) -> None:
    truth, inputs = truth_and_inputs(body)
    small = body.with_vertices(body.regressors["coco-23"].vertices)
    network = FrameNetwork(replace(SMALL, rgb=False))
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    history = []
    for _ in range(60):
        losses = supervised_losses(small, "coco-23", network(inputs), inputs, truth)
        loss = losses["rotations"].mean() + 20 * losses["joints"].mean() + 10 * losses["keypoints_2d"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss.detach()))
    assert history[-1] < 0.5 * history[0]


def test_weights_describe_themselves(tmp_path: Path) -> None:
    network = FrameNetwork(SMALL).eval()
    path = tmp_path / "net.safetensors"
    save_network(path, network, {"steps": 7})
    loaded, about = load_network(path)
    assert asdict(loaded.config) == asdict(SMALL)
    assert about["steps"] == 7
    assert len(about["sha256"]) == 64
    inputs = some_inputs()
    assert torch.equal(loaded(inputs).betas, network(inputs).betas)
    save_network(path, network, {}, half=True)
    assert path.stat().st_size < 2.2 * sum(p.numel() for p in network.parameters())
    assert torch.allclose(
        load_network(path)[0](inputs).R_parent_joint, network(inputs).R_parent_joint, atol=0.01
    )


def test_foreign_and_damaged_weights_are_named(tmp_path: Path) -> None:
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
    with pytest.raises(ValueError, match="unknown depth"):
        NetworkConfig.from_dict({"depth": 3})


def test_averages_and_copies_do_not_share_weights() -> None:
    network = FrameNetwork(SMALL)
    twin = copy_network(network)
    with torch.no_grad():
        network.heads.pose.bias += 1
    ema_update(twin, network, keep=0.75)
    assert twin.heads.pose.bias.tolist() == pytest.approx([0.25] * 138)


def some_observations(body: Body, keypoint_set: str = "coco-23") -> tuple[Observations, BodyParameters]:
    truth = in_front(random_parameters(body, 4))
    keypoints = body.keypoints(body.pose(truth).vertices, keypoint_set)
    camera = Camera.looking_along_z(768.0, 640, 480)
    pixels = project(keypoints, camera.focal, camera.center)
    low, high = pixels.amin(1), pixels.amax(1)
    return Observations(
        frame_index=torch.arange(4),
        frame_times=torch.arange(4, dtype=torch.float64) / 25,
        image_size=(640, 480),
        boxes=torch.cat([(low + high) / 2, (high - low).amax(1, keepdim=True) * 0.6], dim=1),
        keypoint_set=keypoint_set,
        keypoints=pixels,
        keypoint_confidence=torch.ones(4, pixels.shape[1]),
        crops=torch.zeros(4, 128, 128, 3, dtype=torch.uint8),
    ), truth


def test_infer_gives_a_motion_in_the_camera_frame_and_in_the_world(body: Body) -> None:
    observations, _ = some_observations(body)
    network = FrameNetwork(SMALL).eval()
    motion = infer(network, body, observations, weights="none")
    assert isinstance(motion, Motion)
    assert motion.provenance == {"weights": "none"}
    assert float(motion.camera.focal[0]) == 768
    inputs = network_inputs(observations, motion.camera, network)
    predicted = network(inputs).parameters(inputs)
    assert torch.allclose(motion.joints_cam[:, 0], predicted.p_world_root, atol=1e-4)
    pelvis = project(motion.joints_cam[:, :1], motion.camera.focal, motion.camera.center)
    assert (to_crop(pelvis, observations.boxes) - 63.5).abs().max() < 20
    upright = motion.joints_cam[:, 0, 1] - motion.joints_cam[:, 15, 1]
    world = motion.camera.to_world(motion.joints_cam)
    assert torch.allclose(world[:, 15, 1] - world[:, 0, 1], upright, atol=1e-5)


def test_other_keypoint_sets_are_mapped_or_refused(body: Body) -> None:
    network = FrameNetwork(SMALL).eval()
    observations, _ = some_observations(body, "body-25")
    motion = infer(network, body, observations)
    wanted = network_inputs(observations, motion.camera, network)
    assert torch.equal(wanted.keypoints[:, 0], observations.keypoints[:, 0])
    assert (wanted.confidence == 1).all()
    observations, _ = some_observations(body, "coco-17")
    assert (network_inputs(observations, motion.camera, network).confidence[:, 17:] == 0).all()
    observations, _ = some_observations(body, "smpl-24")
    with pytest.raises(ValueError, match="expected observations with keypoints of coco-23, found smpl-24"):
        infer(network, body, observations)


def test_a_larger_network_begins_with_the_answers_of_a_smaller_one() -> None:
    torch.manual_seed(3)
    small, large = FrameNetwork(CONFIGS["coordinates only"]), FrameNetwork(SMALL)
    init_from(large, small)
    inputs = some_inputs()
    assert torch.allclose(large(inputs).R_parent_joint, small(inputs).R_parent_joint, atol=1e-5)
    large(inputs).betas.sum().backward()
    assert large.heads.stem.weight.grad[:, 0].abs().max() > 0
    with pytest.raises(ValueError, match="do not fit"):
        init_from(FrameNetwork(replace(SMALL, num_betas=10)), small)
