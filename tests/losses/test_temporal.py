from dataclasses import replace

import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.geometry.camera import project, translation_to_crop
from selfmocap.losses.temporal import (
    Targets,
    acceleration_loss,
    body_losses,
    fit_crop_camera,
    predicted_bodies,
    shape_consistency_loss,
    weighted_mean,
)
from selfmocap.models.frame import Prediction
from selfmocap.models.temporal import (
    pack_theta,
    unpack_theta,
)
from tests.conftest import random_parameters


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


def test_the_camera_fitted_to_the_true_body_is_the_true_one(body: Body) -> None:
    targets, truth = targets_of(body, 5)
    targets.keypoint_weight[:, 3:9] = 0
    targets.keypoints[:, 3:9] += 100
    found = fit_crop_camera(predicted_bodies(body, "coco-23", truth).keypoints, targets)
    torch.testing.assert_close(found, truth.crop_camera, atol=1e-3, rtol=0)


def test_the_camera_fitted_to_a_mirrored_body_stays_within_its_bounds(body: Body) -> None:
    targets, truth = targets_of(body, 5)
    points = -predicted_bodies(body, "coco-23", truth).keypoints
    found = fit_crop_camera(points.requires_grad_(), targets)
    assert not found.requires_grad
    assert found.isfinite().all() and (found[:, 2].exp() <= 1 / 0.7 + 1e-4).all()
    nothing = fit_crop_camera(points, replace(targets, keypoint_weight=torch.zeros(5, 23)))
    assert nothing.isfinite().all()


def test_losses_are_zero_at_the_truth_and_known_beside_it(body: Body) -> None:
    targets, truth = targets_of(body, 3)
    losses = body_losses(predicted_bodies(body, "coco-23", truth), targets)
    assert all(float(weighted_mean(loss)) < 1e-4 for loss in losses.values())
    moved = replace(truth, betas=truth.betas + 2, crop_camera=truth.crop_camera + 0.1)
    losses = body_losses(predicted_bodies(body, "coco-23", moved), targets)
    assert float(weighted_mean(losses["betas"])) == pytest.approx(2.0)
    assert float(weighted_mean(losses["crop_camera"])) == pytest.approx((0.5 + 0.5 + 0.4) / 3, abs=1e-4)
    shifted = replace(targets, keypoints=targets.keypoints + torch.tensor([17.0, 0.0]))
    losses = body_losses(predicted_bodies(body, "coco-23", truth), shifted)
    assert float(weighted_mean(losses["keypoints"])) == pytest.approx(0.05, abs=1e-4)
    assert (
        float(weighted_mean((shape_consistency_loss(torch.tensor([[[0.0], [2.0]]])), torch.ones(1, 1, 1))))
        == 2.0
    )


def test_acceleration_loss_of_a_known_jump(body: Body) -> None:
    targets, _ = targets_of(body, 2, 4)
    values, counts = acceleration_loss(targets.joints, targets.p_cam_root, targets)
    assert values.abs().max() < 1e-5 and counts.min() == 1
    jump = targets.joints.clone()
    jump[:, 1, :, 0] += 0.1
    values, _ = acceleration_loss(jump, targets.p_cam_root, targets)
    assert float(values[:, 0, :24, 0].mean()) == pytest.approx(0.2, abs=1e-5)


def test_values_of_missing_truth_change_no_gradient(body: Body) -> None:
    targets, truth = targets_of(body, 4)
    has_truth, weight = torch.tensor([True, False, True, False]), torch.ones(4, 23)
    weight[2, 5:] = 0
    gradients = []
    for value_of_missing in (0.0, 1e6, float("nan")):
        filled = {
            name: torch.where(has_truth.view(-1, *[1] * (value.ndim - 1)), value, value_of_missing)
            for name in ("R_cam_joint", "betas", "joints", "p_cam_root")
            for value in (getattr(targets, name),)
        }
        pixels = torch.where(weight.unsqueeze(-1) > 0, targets.keypoints, value_of_missing)
        incomplete = replace(targets, has_truth=has_truth, keypoint_weight=weight, keypoints=pixels, **filled)
        theta = pack_theta(truth).detach() + 0.1
        theta.requires_grad_()
        losses = body_losses(predicted_bodies(body, "coco-23", unpack_theta(theta)), incomplete)
        torch.stack([weighted_mean(loss) for loss in losses.values()]).sum().backward()
        gradients.append(theta.grad)
    assert all(torch.equal(gradients[0], other) for other in gradients[1:])
    assert gradients[0].isfinite().all() and (gradients[0].abs().amax(1) > 0).all()
    nothing = body_losses(
        predicted_bodies(body, "coco-23", truth), replace(targets, has_truth=torch.zeros(4, dtype=torch.bool))
    )
    assert float(weighted_mean(nothing["joints"])) == 0


def test_rows_outside_the_clip_have_no_weight(body: Body) -> None:
    targets, _ = targets_of(body, 2, 6)
    rows = targets.rows(torch.tensor([-3, 4, 20]), torch.tensor([False, True, False]))
    assert rows.has_truth.tolist() == [False, True, False]
    assert rows.keypoint_weight.sum(1).tolist() == [0.0, 23.0, 0.0]
    assert torch.equal(rows.joints[1], targets.joints[0, 4])
