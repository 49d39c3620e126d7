from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import project, translation_to_crop
from selfmocap.geometry.rotations import matrix_to_euler
from selfmocap.losses.supervised import paper_losses, refinement_losses, supervised_losses
from selfmocap.models.corrector import RefinedKeypoints, target_heatmaps
from selfmocap.models.frame import R_CAM_UPRIGHT, FrameInputs, Prediction
from selfmocap.training.frame_data import PooledFrames
from tests.conftest import random_parameters
from tests.helpers.networks import frame_inputs
from tests.helpers.pooled_frames import pooled_batches, pooled_frames


@pytest.fixture(scope="module")
def sample(body: Body) -> PooledFrames:
    return pooled_frames(body)


@pytest.fixture(scope="module")
def batch(sample: PooledFrames) -> tuple[FrameInputs, BodyParameters]:
    """Return a batch of frames and their truth."""
    return pooled_batches(sample, range(1))[0]


def in_front(parameters: BodyParameters) -> BodyParameters:
    return replace(parameters, p_world_root=parameters.p_world_root * 0.2 + torch.tensor([-0.8, 0.0, 4.0]))


def truth_and_inputs(body: Body) -> tuple[BodyParameters, FrameInputs]:
    truth, inputs = in_front(random_parameters(body, 3)), frame_inputs()
    keypoints = body.keypoints(body.pose(truth).vertices, "coco-23")
    return truth, replace(inputs, keypoints=project(keypoints, inputs.focal, inputs.center))


def true_prediction(truth: BodyParameters, inputs: FrameInputs) -> Prediction:
    camera = translation_to_crop(truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
    return Prediction(truth.R_parent_joint, truth.betas, camera)


def test_losses_are_zero_at_the_truth_and_known_beside_it(body: Body) -> None:
    truth, inputs = truth_and_inputs(body)
    prediction = true_prediction(truth, inputs)
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


def refined_at(coords: torch.Tensor, log_scale: float = -3.0, has_image: bool = True) -> RefinedKeypoints:
    count, keypoints = coords.shape[:2]
    return RefinedKeypoints(
        coords, coords, torch.full((count, keypoints), log_scale), target_heatmaps(coords).clamp_min(1e-9).log(),
        torch.full((count,), has_image), coords[..., 0] / 2, torch.full((count, keypoints), log_scale),
    )  # fmt: skip


def test_refinement_losses_are_least_at_the_truth(
    body: Body, batch: tuple[FrameInputs, BodyParameters]
) -> None:
    inputs, truth = batch
    keypoints = body.keypoints(body.pose(truth).vertices, "coco-23")
    pixels = project(keypoints, inputs.focal, inputs.center)
    coords = (pixels - inputs.boxes[:, None, :2]) / inputs.boxes[:, None, 2:]
    coords = coords.clamp(-1, 1)
    scale = inputs.focal[:, :1] / truth.p_world_root[:, 2:] / inputs.boxes[:, 2:]
    depths = (keypoints[..., 2] - truth.p_world_root[:, None, 2]) * scale

    def losses(error: float, log_scale: float = -3.0) -> dict[str, torch.Tensor]:
        refined = replace(refined_at(coords + error, log_scale), depths=depths + error)
        return refinement_losses(body, "coco-23", refined, inputs, truth)

    exact, unsure = losses(0.0), losses(0.0, -1.0)
    for step in (0.05, 0.2):
        wrong = losses(step)
        for name in exact:
            assert (wrong[name] > exact[name]).float().mean() > 0.9, name
    assert (unsure["coords"] > exact["coords"]).all() and (unsure["depths"] > exact["depths"]).all()
