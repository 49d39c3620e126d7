"""People who are seen from above do not walk on tiptoe."""

import math
from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.camera import Camera
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.postprocess import clean
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, light, remade
from tests.helpers.walking import pitched, walk

FROM_ABOVE, FROM_THE_SIDE = 4.5, 1.0
"""Metres of the camera above the ground, 5 m away."""


def high(metres: float) -> Camera:
    camera = pitched(math.degrees(math.atan2(metres - 0.9, 5.0)))
    return replace(camera, t_cam_world=-camera.R_cam_world @ torch.tensor([0.0, metres, 5.0]))


def toes_down(motion: Motion, body: Body, degrees: float) -> Motion:
    R = motion.parameters.R_parent_joint.clone()
    for side in ("left", "right"):
        turn = torch.tensor([math.radians(degrees), 0.0, 0.0])
        R[:, JOINT[f"{side}_ankle"]] = R[:, JOINT[f"{side}_ankle"]] @ roma.rotvec_to_rotmat(turn)
    return remade(motion, body, replace(motion.parameters, R_parent_joint=R))


def heels_up(motion: Motion, body: Body) -> torch.Tensor:
    """Degrees, of both feet in each frame."""
    rest = rest_heights(body, motion.parameters.betas)
    points = keypoints_world(motion, FOOT_POINTS).unflatten(1, (2, 2))
    length = (points[:, :, 1] - points[:, :, 0]).norm(dim=-1)
    rise = points[..., 1].diff(dim=-1).squeeze(-1) - rest.unflatten(0, (2, 2)).diff(dim=-1).squeeze(-1)
    return torch.rad2deg(torch.asin(-rise / length))


@pytest.mark.parametrize(("metres", "most", "least"), [(FROM_ABOVE, 4.0, -2.0), (FROM_THE_SIDE, 30.0, 18.0)])
def test_toes_that_point_down_are_believed_from_the_side_only(
    body: Body, metres: float, most: float, least: float
) -> None:
    small = light(body)
    truth = walk(body, small, high(metres))
    estimate = toes_down(truth, small, 24.0)
    standing = find_contacts(truth).unflatten(1, (2, 2)).all(-1)
    assert heels_up(truth, body)[standing].abs().max() < 2 < 20 < heels_up(estimate, body)[standing].median()
    cleaned = clean(estimate, body)
    assert least < heels_up(cleaned, body)[standing].median() < most
    if metres == FROM_ABOVE:
        assert find_contacts(cleaned).float().mean() > 0.9 * find_contacts(truth).float().mean()
        above = keypoints_world(cleaned, FOOT_POINTS)[..., 1] - rest_heights(body, cleaned.parameters.betas)
        assert above[find_contacts(cleaned)].abs().mean() < 0.01


def test_heels_that_rise_at_the_end_of_a_step_and_people_on_tiptoe_stay_so(body: Body) -> None:
    small = light(body)
    truth = walk(body, small, high(FROM_ABOVE))
    standing = find_contacts(truth).unflatten(1, (2, 2)).all(-1)
    exact = clean(truth, body)
    assert (heels_up(exact, body) - heels_up(truth, body))[standing].abs().median() < 2
    dancer = clean(toes_down(truth, small, 65.0), body)
    assert heels_up(dancer, body)[standing].median() > 45
