from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.named_poses import named_pose
from selfmocap.geometry.camera import Camera, from_crop, to_crop
from selfmocap.losses.projection import Projection
from selfmocap.losses.reprojection import body_mask, has_next_frame, reproject
from selfmocap.losses.self_supervised import SelfSupervisedLosses, compare, intersection_over_union
from selfmocap.tracking.observations import Observations
from tests.conftest import random_parameters

CAMERA = Camera.looking_along_z(600.0, 640, 480)
BOXES = torch.tensor([[320.0, 240.0, 150.0], [324.0, 243.0, 160.0], [330.0, 239.0, 140.0]])


def _walk(body: Body, step: tuple[float, float, float] = (0.03, 0.01, 0.0)) -> BodyParameters:
    poses = torch.stack([named_pose("run"), named_pose("lunge"), named_pose("arms-down")])
    place = torch.tensor([0.0, 0.0, -4.5]) + torch.arange(3.0)[:, None] * torch.tensor(step)
    return BodyParameters(torch.zeros(body.num_betas), poses, place)


def _total(losses: SelfSupervisedLosses) -> Tensor:
    return sum(getattr(losses, field.name).sum() for field in fields(losses))


def _observe(body: Body, parameters: BodyParameters) -> Observations:
    """Return the observations of a perfect detector, without flow."""
    truth = reproject(body, parameters, CAMERA, BOXES)
    masks = body_mask(body, parameters, CAMERA, BOXES)
    return Observations(
        frame_index=torch.arange(3),
        frame_times=torch.arange(3.0).double(),
        image_size=(640, 480),
        boxes=BOXES,
        keypoint_set=truth.keypoint_set,
        keypoints=from_crop(truth.keypoints, BOXES),
        keypoint_confidence=torch.ones(truth.keypoints.shape[:-1]),
        masks=masks,
        mask_certain=torch.ones_like(masks),
    )


def test_flow_leads_to_the_next_frame_in_the_same_box(body: Body) -> None:
    projection = reproject(body, _walk(body), CAMERA, BOXES)
    in_image = from_crop(projection.vertices, BOXES)
    arrival = to_crop(in_image[1:], BOXES[:-1])
    torch.testing.assert_close(projection.vertices[:-1] + projection.flow[:-1], arrival, rtol=0, atol=1e-3)
    assert projection.has_next.tolist() == [True, True, False]
    assert not projection.flow[-1].any()


def test_a_crop_camera_projects_to_the_same_pixels(body: Body) -> None:
    parameters = _walk(body)
    posed = body.pose(parameters).vertices
    projection = reproject(body, parameters, CAMERA, BOXES, keypoints="smpl-24")
    torch.testing.assert_close(projection.vertices, CAMERA.crop(BOXES).project(posed), rtol=0, atol=1e-3)
    joints = CAMERA.crop(BOXES).project(body.keypoints(posed, "smpl-24"))
    torch.testing.assert_close(projection.keypoints, joints, rtol=0, atol=1e-3)


def test_visible_vertices_lie_on_the_rendered_mask(body: Body) -> None:
    projection, mask = (
        reproject(body, _walk(body), CAMERA, BOXES),
        body_mask(body, _walk(body), CAMERA, BOXES),
    )
    near = torch.nn.functional.max_pool2d(mask[:, None].float(), 3, 1, 1)[:, 0] > 0
    for pixels, visible, image in zip(projection.vertices, projection.visible, near, strict=True):
        column, row = pixels[visible].round().long().unbind(-1)
        inside = (column >= 0) & (column < 128) & (row >= 0) & (row < 128)
        assert inside.float().mean() > 0.9
        assert image[row[inside], column[inside]].all()


@pytest.mark.parametrize("batch", [(3,), (1, 3), (2, 2, 3)])
def test_batches_of_clips_equal_single_clips(body: Body, batch: tuple[int, ...]) -> None:
    one = reproject(body, _walk(body), CAMERA, BOXES)
    alike = _walk(body)
    many = replace(
        alike,
        R_parent_joint=alike.R_parent_joint.expand(*batch, 24, 3, 3),
        p_world_root=alike.p_world_root.expand(*batch, 3),
    )
    several = reproject(body, many, CAMERA, BOXES.expand(*batch, 3))
    for name in ("keypoints", "vertices", "flow"):
        value, expected = getattr(several, name), getattr(one, name)
        assert value.shape[:-2] == batch
        torch.testing.assert_close(value, expected.expand_as(value), rtol=1e-5, atol=1e-3)
    assert (several.visible == one.visible).float().mean() > 0.9999


def test_frames_before_a_gap_have_no_flow(body: Body) -> None:
    has_next = has_next_frame(torch.tensor([4, 5, 7]))
    assert has_next.tolist() == [True, False, False]
    projection = reproject(body, _walk(body), CAMERA, BOXES, has_next)
    assert projection.flow[0].any()
    assert not projection.flow[1:].any()


def test_gradient_of_the_projection(small_body: Body) -> None:
    parameters = random_parameters(small_body, 2)
    place = parameters.p_world_root * 0.1 - torch.tensor([0.0, 0.0, 5.0])
    camera = CAMERA.to(torch.float64)
    inputs = (parameters.betas, parameters.R_parent_joint, place, camera.focal, camera.t_cam_world)

    def projected(betas: Tensor, R: Tensor, place: Tensor, focal: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        moved = replace(camera, focal=focal, t_cam_world=t)
        projection = reproject(
            small_body, BodyParameters(betas, R, place), moved, BOXES[:2].double(), keypoints="smpl-24"
        )
        return projection.keypoints, projection.vertices, projection.flow

    assert gradcheck(projected, [x.clone().requires_grad_() for x in inputs], fast_mode=True)


# ---- compare


def test_every_loss_has_gradients_to_every_parameter(body: Body) -> None:
    observed = replace(
        _observe(body, _walk(body)), flow=torch.rand(3, 128, 128, 2), flow_confidence=torch.ones(3, 128, 128)
    )
    other = _walk(body, step=(0.05, 0.0, 0.02))
    inputs = [
        x.clone().requires_grad_()
        for x in (other.betas + 0.3, other.R_parent_joint, other.p_world_root + 0.02)
    ]
    losses = compare(reproject(body, BodyParameters(*inputs), CAMERA, BOXES), observed)
    for field in fields(losses):
        gradients = torch.autograd.grad(getattr(losses, field.name).sum(), inputs, retain_graph=True)
        assert all(gradient.isfinite().all() and gradient.any() for gradient in gradients), field.name


def test_a_perturbed_motion_descends_to_the_observations(body: Body) -> None:
    truth = _walk(body)
    with torch.no_grad():
        observed = _observe(body, truth)
        place = truth.p_world_root + torch.tensor([0.08, -0.06, 0.2])
        turn = torch.linalg.matrix_exp(torch.tensor([[0.0, 0.3, 0.0], [-0.3, 0.0, 0.0], [0.0, 0.0, 0.0]]))
    rotation = torch.zeros(3, 3, 3, requires_grad=True)
    place.requires_grad_()
    optimizer = torch.optim.Adam([{"params": [place], "lr": 0.02}, {"params": [rotation], "lr": 0.02}])
    totals = []
    for _ in range(60):
        root, *joints = truth.R_parent_joint.unbind(1)
        R = torch.stack([turn @ torch.linalg.matrix_exp(rotation - rotation.mT) @ root, *joints], dim=1)
        projection = reproject(body, BodyParameters(truth.betas, R, place), CAMERA, BOXES)
        losses = compare(projection, observed)
        total = losses.keypoints.mean() + 0.3 * (losses.over + losses.under + losses.motion).mean()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.15 * totals[0]
    truth_projection = reproject(body, truth, CAMERA, BOXES)
    assert (projection.vertices - truth_projection.vertices).norm(dim=-1).mean() < 1.5


def test_the_motion_loss_is_small_for_the_motion_of_the_flow(body: Body) -> None:
    # A sideways walk without change of pose: nearly the same flow everywhere.
    still = _walk(body)
    still = replace(still, R_parent_joint=still.R_parent_joint[:1].expand(3, 24, 3, 3))
    boxes = BOXES[:1].expand(3, 3)
    moving = replace(still, p_world_root=torch.tensor([0.0, 0.0, -4.5]) + torch.arange(3.0)[:, None] * 0.03)
    flow = torch.zeros(3, 128, 128, 2) + torch.tensor([0.03, -0.03]) * 600 / 4.5 * 128 / 300
    observed = replace(
        _observe(body, moving), boxes=boxes, flow=flow, flow_confidence=torch.ones(3, 128, 128)
    )
    at_rest = compare(
        reproject(body, replace(still, p_world_root=moving.p_world_root[:1].expand(3, 3)), CAMERA, boxes),
        observed,
    )
    in_motion = compare(reproject(body, moving, CAMERA, boxes), observed)
    assert (in_motion.motion[:2] < 0.2 * at_rest.motion[:2]).all()
    assert in_motion.motion[2] == at_rest.motion[2] == 0
    without_confidence = compare(
        reproject(body, still, CAMERA, boxes), replace(observed, flow_confidence=torch.zeros(3, 128, 128))
    )
    assert not without_confidence.motion.any()


def test_images_that_were_not_observed_have_no_loss(body: Body) -> None:
    parameters = _walk(body)
    keypoints_only = replace(_observe(body, parameters), masks=None, mask_certain=None)
    losses = compare(reproject(body, parameters, CAMERA, BOXES), keypoints_only)
    assert not losses.over.any()
    assert not losses.under.any()
    assert not losses.motion.any()
    assert losses.keypoints.max() < 1e-4


def test_different_keypoint_sets_are_refused(body: Body) -> None:
    parameters = _walk(body)
    projection: Projection = reproject(body, parameters, CAMERA, BOXES, keypoints="smpl-24")
    with pytest.raises(ValueError, match="cannot compare keypoints of smpl-24 with coco-23"):
        compare(projection, _observe(body, parameters))


def test_intersection_over_union_is_one_for_itself_and_lower_after_motion(body: Body) -> None:
    mask = body_mask(body, _walk(body), CAMERA, BOXES)
    moved = body_mask(body, _walk(body, step=(0.2, 0.0, 0.0)), CAMERA, BOXES)
    assert (intersection_over_union(mask.float(), mask) == 1).all()
    assert intersection_over_union(moved.float(), mask)[2] < 0.7


@pytest.mark.parametrize("depth", [-0.3, 0.0, 3.0])
def test_losses_are_finite_for_a_body_at_or_behind_the_camera(body: Body, depth: float) -> None:
    observed = _observe(body, _walk(body))
    place = torch.tensor([0.0, 0.0, depth]).expand(3, 3).clone().requires_grad_()
    parameters = replace(_walk(body), p_world_root=place)
    total = _total(compare(reproject(body, parameters, CAMERA, BOXES), observed))
    (gradient,) = torch.autograd.grad(total, place)
    assert total.isfinite()
    assert gradient.isfinite().all()
