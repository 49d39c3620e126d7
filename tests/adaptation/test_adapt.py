from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.adaptation.adapt import AdaptConfig, adapt, predict_bodies, refit, with_shared_shape
from selfmocap.adaptation.fit import (
    REFINE,
    FitConfig,
    fit,
    random_start,
    refine_adapted,
    rescale_depth_for_shape,
    start_from_truth,
)
from selfmocap.adaptation.objective import (
    FittingData,
    LossWeights,
    balance_clips,
    gather_fitting_data,
    heldout_reprojection_px,
    objective,
    total_loss,
)
from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.camera import project
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameInputs, FrameNetwork
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork
from selfmocap.tracking.observations import Observations
from selfmocap.training.train_frame import FrameTrainConfig, train_frame_network
from tests.helpers.training_run import CONFIG, FourPoses, pretraining_poses

FRAMES = 24


def walk(body: Body, seed: int) -> tuple[Observations, FrameInputs, BodyParameters]:
    """Return a clip that moves from near one pretraining pose to near another: exact keypoints, and the truth in the
    camera frame."""
    generator = torch.Generator().manual_seed(seed)
    ends = pretraining_poses()[[seed, seed - 1]] + torch.randn(2, 24, 3, generator=generator) * 0.08
    fraction = torch.linspace(0, 1, FRAMES)[:, None, None]
    rotations = roma.rotvec_to_rotmat(ends[0] * (1 - fraction) + ends[1] * fraction)
    turn = torch.tensor([0.0, 6.28 * float(torch.rand((), generator=generator)), 0.0])
    rotations[:, 0] = R_CAM_UPRIGHT @ roma.rotvec_to_rotmat(turn) @ rotations[:, 0]
    position = torch.tensor([0.0, 0.0, 4.0]) + fraction[:, 0] * torch.tensor([0.3, 0.0, 0.2])
    return exact_clip(
        body, BodyParameters(torch.randn(16, generator=generator).expand(FRAMES, 16), rotations, position)
    )


def exact_clip(body: Body, truth: BodyParameters) -> tuple[Observations, FrameInputs, BodyParameters]:
    """Return a clip whose keypoints are exact."""
    focal, center = torch.full((FRAMES, 2), 600.0), torch.full((FRAMES, 2), 319.5)
    pixels = project(body.keypoints(body.pose(truth).vertices, "coco-23"), focal, center)
    low, high = pixels.amin(1), pixels.amax(1)
    boxes = torch.cat([(low + high) / 2, (high - low).amax(1, keepdim=True) * 0.6], dim=1)
    seen = Observations(
        torch.arange(FRAMES),
        torch.arange(FRAMES).double() / 30,
        (640, 640),
        boxes,
        "coco-23",
        pixels,
        torch.ones(FRAMES, 23),
    )
    return seen, FrameInputs(None, pixels, torch.ones(FRAMES, 23), boxes, focal, center), truth


@pytest.fixture(scope="module")
def clips(body: Body) -> list[tuple[Observations, FrameInputs, BodyParameters]]:
    return [walk(body, seed) for seed in (1, 2, 3)]


@pytest.fixture(scope="module")
def data(clips: list) -> FittingData:
    return gather_fitting_data([(seen, inputs, 30.0) for seen, inputs, _ in clips], held_out_fraction=0.15)


@pytest.fixture(scope="module")
def truth(clips: list) -> BodyParameters:
    return BodyParameters(*(torch.cat([getattr(t, name) for *_, t in clips]) for name in vars(clips[0][2])))


@pytest.fixture(scope="module")
def network(body: Body, tmp_path_factory: pytest.TempPathFactory) -> FrameNetwork:
    config: FrameTrainConfig = replace(CONFIG, steps=250, ema_decay=0.9)
    return train_frame_network(config, FourPoses(body), body, tmp_path_factory.mktemp("pretrained"))


def test_the_objective_is_minimal_at_the_truth(body: Body, data: FittingData, truth: BodyParameters) -> None:
    weights = LossWeights(betas=0.0, shape=0.0, smoothness=0.0, pose=0.0)
    at_truth = objective(body, truth, data, weights)
    assert set(at_truth) == {"keypoints"}
    assert at_truth["keypoints"].max() < 1e-3
    moved = replace(truth, p_world_root=truth.p_world_root + torch.tensor([0.05, 0.0, 0.0]))
    assert objective(body, moved, data, weights)["keypoints"].min() > 0.5
    assert heldout_reprojection_px(body, truth, data).max() < 1e-3
    assert heldout_reprojection_px(body, moved, data).min() > 0.5


def test_held_out_keypoints_are_hidden_from_losses_and_network(data: FittingData, clips: list) -> None:
    hidden = data.held_out > 0
    assert 0.05 < hidden.float().mean() < 0.35
    assert (data.observations.keypoint_confidence[hidden] == 0).all()
    assert (data.inputs.confidence[hidden] == 0).all()
    eyes = torch.tensor(["eye" in name or "ear" in name for name in walk_names()])
    whole = gather_fitting_data([(clips[0][0], clips[0][1], 30.0)])
    assert (whole.observations.keypoint_confidence[:, eyes] == 0.5).all()
    assert (whole.observations.keypoint_confidence[:, ~eyes] == 1).all()


def walk_names() -> tuple[str, ...]:
    from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS

    return DEFAULT_KEYPOINTS.names


def test_no_term_crosses_a_gap_or_the_end_of_a_clip(
    body: Body, data: FittingData, truth: BodyParameters
) -> None:
    ends = torch.tensor([FRAMES - 1, 2 * FRAMES - 1, 3 * FRAMES - 1])
    assert not data.has_next[ends].any()
    assert data.has_next.sum() == 3 * (FRAMES - 1)
    rough = objective(body, truth, data, LossWeights(keypoints=0.0))["smoothness"]
    jump = replace(
        truth, p_world_root=truth.p_world_root + (data.clip == 1)[:, None] * torch.tensor([3.0, 3.0, 0.0])
    )
    jumped = objective(body, jump, data, LossWeights(keypoints=0.0))["smoothness"]
    assert torch.equal(jumped[data.clip != 1], rough[data.clip != 1])
    assert (jumped - rough).abs().max() < 0.1, "a jump of 3 m between frames would be 2000"
    chosen = data[torch.tensor([3, 4, 8, 9])]
    assert chosen.has_next.tolist() == [True, False, True, False]


def test_known_acceleration(body: Body, data: FittingData) -> None:
    """Let every joint accelerate by 4 mm per frame^2: 3 (sqrt(1 + (4/3)^2) - 1) = 2 in the middle of a clip."""
    rest = body.rest_parameters(len(data))
    time = torch.arange(len(data)) % FRAMES
    position = torch.stack([0.002 * time**2, torch.zeros(len(time)), torch.full((len(time),), 4.0)], dim=1)
    rough = objective(body, replace(rest, p_world_root=position), data, LossWeights(keypoints=0.0))[
        "smoothness"
    ]
    assert rough[5] == pytest.approx(2.0, abs=1e-2)
    assert rough[0] == rough[FRAMES - 1] == rough[FRAMES] == 0


def test_smoothness_has_no_gradient_for_shape_and_distance(
    body: Body, data: FittingData, truth: BodyParameters
) -> None:
    """A body of half the size at half the distance moves half as much for the same image."""
    betas, position = truth.betas.clone().requires_grad_(), truth.p_world_root.clone().requires_grad_()
    moving = replace(truth, betas=betas, p_world_root=position)
    objective(body, moving, data, LossWeights(keypoints=0.0))["smoothness"].sum().backward()
    assert betas.grad is None or betas.grad.abs().max() == 0
    assert position.grad is not None
    by_scale = position.grad * position.detach()
    assert by_scale.sum().abs() < 1e-4 * by_scale.abs().sum(), "zero but for rounding"
    R = truth.R_parent_joint.clone().requires_grad_()
    turning = replace(truth, R_parent_joint=R)
    objective(body, turning, data, LossWeights(keypoints=0.0))["smoothness"].sum().backward()
    assert R.grad is not None and R.grad.abs().max() > 0


@pytest.mark.slow
def test_replay_is_minimised_too(body: Body, data: FittingData, network: FrameNetwork) -> None:
    config = AdaptConfig(epochs=3, windows=2, weights=LossWeights(motion=0.0, segmentation=0.0))
    asked: list[int] = []

    def replay(adapted: FrameNetwork, step: int) -> torch.Tensor:
        asked.append(step)
        return 100 * sum(p.square().sum() for p in adapted.parameters())

    plain = adapt(network, body, data, config).network
    held = adapt(network, body, data, config, replay=replay).network
    assert asked == list(range(len(asked))) and len(asked) >= 3
    size = [sum(float(p.detach().square().sum()) for p in n.parameters()) for n in (held, plain)]
    assert size[0] < 0.95 * size[1]


def test_badly_detected_clips_get_a_lower_weight(data: FittingData) -> None:
    mixed = replace(data, clip=torch.arange(len(data)) % 4)
    px, original = torch.tensor([4.0, 1.0, 64.0, torch.nan]), data.observations.keypoint_confidence
    for power, expected in ((0.5, [1.0, 2.0, 0.25, 1.0]), (1.0, [1.0, 4.0, 0.2, 1.0])):
        balanced = balance_clips(mixed, px, power).observations.keypoint_confidence
        assert torch.allclose(balanced, original * torch.tensor(expected)[mixed.clip, None])


@pytest.mark.slow
def test_refit_learns_the_held_out_keypoints(
    body: Body, clips: list, data: FittingData, network: FrameNetwork
) -> None:
    """Most keypoints are held out, so that much is left to learn."""
    config = AdaptConfig(epochs=40, learning_rate=3e-4)
    observed = [(seen, inputs, 30.0) for seen, inputs, _ in clips]
    whole, part = gather_fitting_data(observed), gather_fitting_data(observed, held_out_fraction=0.7)
    found = adapt(network, body, part, config)
    weights_before = {name: value.clone() for name, value in found.network.state_dict().items()}
    final = refit(found, body, whole, config)
    before, after = (with_shared_shape(predict_bodies(one, whole), whole) for one in (found.network, final))
    minimised = [
        objective(body, people, whole, config.weights)["keypoints"].mean() for people in (before, after)
    ]
    assert minimised[1] < 0.65 * minimised[0]
    assert heldout_reprojection_px(body, after, part).mean() < found.after_px.mean()
    assert all(torch.equal(value, found.network.state_dict()[name]) for name, value in weights_before.items())


@pytest.mark.slow
def test_adaptation_improves_held_out_keypoints(body: Body, data: FittingData, network: FrameNetwork) -> None:
    before = predict_bodies(network, data)
    weights_before = {name: value.clone() for name, value in network.state_dict().items()}
    history: list[float] = []
    config = AdaptConfig(epochs=40, learning_rate=1e-3)
    found = adapt(network, body, data, config, progress=lambda step, steps, loss: history.append(loss))
    assert sum(history[-5:]) < 0.5 * sum(history[:5])
    assert torch.equal(found.accepted, found.after_px < found.before_px)
    assert found.after_px.mean() < 0.75 * found.before_px.mean()
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in weights_before.items())
    after = predict_bodies(found.network, data)
    spread = [people.betas.unflatten(0, (-1, FRAMES)).std(1).mean() for people in (before, after)]
    assert spread[1] < 0.75 * spread[0]


@pytest.mark.slow
def test_a_temporal_network_adapts_with_its_frame_network(
    body: Body, data: FittingData, network: FrameNetwork
) -> None:
    torch.manual_seed(0)
    temporal = TemporalNetwork(network.config, TemporalConfig(width=32, hidden=16, blocks=1, frames=13))
    temporal.frame.load_state_dict(network.state_dict())
    weights_before = {name: value.clone() for name, value in temporal.state_dict().items()}
    found = adapt(temporal, body, data, AdaptConfig(epochs=30, learning_rate=1e-3))
    assert found.after_px.mean() < 0.85 * found.before_px.mean()
    assert all(torch.equal(value, temporal.state_dict()[name]) for name, value in weights_before.items())
    after = found.network.state_dict()
    moved = {name for name, value in weights_before.items() if not torch.equal(value, after[name])}
    assert {"frame.heads.pose.weight", "movie.blocks.0.first.weight"} < moved


@pytest.mark.slow
def test_an_adaptation_that_raises_the_held_out_error_is_not_accepted(
    body: Body, data: FittingData, network: FrameNetwork
) -> None:
    """The keypoints are those of another time, except for the held-out ones."""
    seen, hidden = data.observations, data.held_out > 0
    keypoints = torch.where(hidden[..., None], seen.keypoints, seen.keypoints.flip(0))
    misled = replace(data, observations=replace(seen, keypoints=keypoints))
    found = adapt(network, body, misled, AdaptConfig(epochs=8, learning_rate=1e-2))
    assert not found.accepted.any()
    assert not (found.after_px <= 1.5 * found.before_px).any(), "far worse, or not finite"
    alone = replace(data, held_out=torch.zeros_like(data.held_out))
    assert not adapt(network, body, alone, AdaptConfig(epochs=1)).accepted.any()


@pytest.mark.slow
def test_refinement_from_the_network_lowers_pixels(
    body: Body, data: FittingData, network: FrameNetwork
) -> None:
    start = with_shared_shape(predict_bodies(network, data), data)
    history: list[float] = []
    config = FitConfig(steps=100)
    refined = fit(body, start, data, config, lambda step, steps, loss: history.append(loss))
    assert history[-1] < 0.5 * history[0]
    before_px, after_px = (heldout_reprojection_px(body, parameters, data) for parameters in (start, refined))
    assert after_px.mean() < 0.8 * before_px.mean()
    assert torch.equal(refined.betas[0], refined.betas[FRAMES - 1])
    assert REFINE.steps < FitConfig().steps
    assert REFINE.learning_rate < FitConfig().learning_rate


def test_rescaled_depth_keeps_the_size_in_the_image(body: Body, truth: BodyParameters) -> None:
    def spread(people: BodyParameters) -> torch.Tensor:
        focal = torch.full((len(people.betas), 2), 600.0)
        pixels = project(
            body.keypoints(body.pose(people).vertices, "coco-23"), focal, torch.zeros_like(focal)
        )
        return pixels.std(1).norm(dim=-1)

    tall = truth.betas.clone()
    tall[:, 0] += 3
    taller = rescale_depth_for_shape(body, truth, tall)
    assert torch.equal(taller.betas, tall) and torch.equal(taller.R_parent_joint, truth.R_parent_joint)
    enlarged = taller.p_world_root[:, 2] / truth.p_world_root[:, 2]
    assert ((1.08 < enlarged) & (enlarged < 1.25)).all()
    assert torch.allclose(spread(taller), spread(truth), rtol=0.05)
    assert (spread(replace(truth, betas=tall)) / spread(truth)).mean() > 1.08


@pytest.mark.slow
def test_refinement_finds_the_stature(body: Body, data: FittingData, truth: BodyParameters) -> None:
    """One camera does not determine size, but proportions vary with stature."""

    def short_by(people: BodyParameters) -> torch.Tensor:
        heights = [body.shape(one.betas[::FRAMES]).joints[..., 1] for one in (truth, people)]
        true, found = (y.amax(-1) - y.amin(-1) for y in heights)
        return (true - found).abs().mean()

    average = rescale_depth_for_shape(body, truth, torch.zeros_like(truth.betas))
    found = fit(body, average, data, REFINE)
    assert short_by(found) < 0.88 * short_by(average)
    held = fit(body, average, data, replace(REFINE, free_shape=False))
    assert torch.equal(held.betas, average.betas)


def test_a_knee_that_no_muscle_moves_so_fast_is_penalised(body: Body, data: FittingData) -> None:
    """A knee bends by 20 degrees for one frame: accelerations of 20, 40 and 20 degrees/frame^2, of which 5 are free."""
    weights = LossWeights(keypoints=0.0, smoothness=0.0, pose=0.0, betas=0.0, flexion=1.0)
    R = torch.eye(3).repeat(len(data), 24, 1, 1)
    bent = torch.full((len(data),), 40.0)
    bent[10] = 60
    knee = torch.nn.functional.pad(bent.deg2rad()[:, None], (0, 2))
    R[:, JOINT["left_knee"]] = roma.rotvec_to_rotmat(knee)
    R.requires_grad_()
    still = BodyParameters(torch.zeros(len(data), 16), R, torch.tensor([0.0, 0.0, 4.0]).expand(len(data), 3))
    penalty = objective(body, still, data, weights)["flexion"]
    expected = torch.tensor([15.0, 35.0, 15.0]).square() / 4
    assert torch.allclose(penalty[9:12], expected, rtol=0.1)
    assert penalty[:9].abs().max() < 1e-3 and penalty[12:].abs().max() < 1e-3
    penalty.sum().backward()
    assert (
        R.grad is not None and torch.isfinite(R.grad).all() and R.grad[10, JOINT["left_knee"]].abs().max() > 0
    )
    assert REFINE.weights.flexion > 0 and LossWeights().flexion == 0


@pytest.mark.slow
def test_only_fast_motion_is_refined_with_low_smoothness(body: Body, clips: list) -> None:
    seen, inputs, calm = clips[0]
    swings = torch.zeros(FRAMES, 3)
    swings[:, 2] = 0.6 * torch.sin(torch.arange(FRAMES) * 2 * torch.pi / 10)
    R = calm.R_parent_joint.clone()
    R[:, JOINT["left_shoulder"]] @= roma.rotvec_to_rotmat(swings)
    R[:, JOINT["right_shoulder"]] @= roma.rotvec_to_rotmat(-swings)
    waving_seen, waving_inputs, _ = exact_clip(body, replace(calm, R_parent_joint=R))
    noise = 4 * torch.randn(seen.keypoints.shape, generator=torch.Generator().manual_seed(0))
    noisy = replace(seen, keypoints=seen.keypoints + noise)
    data = gather_fitting_data(
        [(noisy, inputs, 30.0), (waving_seen, waving_inputs, 30.0)], held_out_fraction=0.15
    )
    start = BodyParameters(*(torch.cat([part, part]) for part in vars(calm).values()))
    answer, fast = refine_adapted(body, start, data)
    assert fast.tolist() == [False, True]
    whole = fit(body, start, data, REFINE)
    same = (answer.R_parent_joint - whole.R_parent_joint).abs().flatten(1).amax(1) < 1e-3
    assert same[:FRAMES].all() and not same[FRAMES:].any()


@pytest.mark.parametrize("optimizer", ["adam", "gradient descent"])
def test_fitting_from_a_random_start_lowers_pixels(body: Body, data: FittingData, optimizer: str) -> None:
    start = random_start(data, body.num_betas)
    rate = {"adam": 0.03, "gradient descent": 2e-3}[optimizer]
    history: list[float] = []
    config = FitConfig(30, rate, "constant", optimizer, LossWeights(shape=0.0, smoothness=0.0))
    fit(body, start, data, config, progress=lambda step, steps, loss: history.append(loss))
    assert history[-1] < 0.7 * history[0]


def test_the_papers_starts_have_the_true_root_rotation_and_translation(
    data: FittingData, truth: BodyParameters
) -> None:
    start = random_start(data, 16)
    with_R = start_from_truth(start, truth, translation=False)
    with_R_T = start_from_truth(start, truth, translation=True)
    assert torch.equal(with_R.R_parent_joint[:, 0], truth.R_parent_joint[:, 0])
    assert torch.equal(with_R.p_world_root, start.p_world_root)
    assert torch.equal(with_R_T.p_world_root, truth.p_world_root)
    assert torch.allclose(start.R_parent_joint.det(), torch.ones(len(data), 24), atol=1e-5)
    upright = start.R_parent_joint[:, 0] @ torch.tensor([0.0, 1.0, 0.0])
    assert torch.allclose(upright, torch.tensor([0.0, -1.0, 0.0]).expand(len(data), 3))


def test_the_objective_uses_images_where_they_are_observed(body: Body, clips: list) -> None:
    from selfmocap.geometry.camera import Camera
    from selfmocap.losses.reprojection import body_mask

    seen, inputs, truth = clips[0]
    camera = Camera(inputs.focal, inputs.center, torch.eye(3).expand(FRAMES, 3, 3), torch.zeros(FRAMES, 3))
    masks = body_mask(body, truth, camera, seen.boxes)
    flow = torch.zeros(FRAMES, 128, 128, 2)
    with_images = replace(
        seen, masks=masks, mask_certain=torch.ones_like(masks), flow=flow, flow_confidence=flow[..., 0] + 1
    )
    data = gather_fitting_data([(with_images, inputs, 30.0)])
    terms = objective(body, truth, data, LossWeights(smoothness=0.0, betas=0.0, pose=0.0))
    assert set(terms) == {"keypoints", "motion", "segmentation"}
    assert terms["segmentation"].max() < 2.5
    moved = replace(truth, p_world_root=truth.p_world_root + torch.tensor([0.3, 0.0, 0.0]))
    assert objective(body, moved, data, LossWeights())["segmentation"].min() > 10
    assert total_loss(terms, LossWeights()).isfinite()
