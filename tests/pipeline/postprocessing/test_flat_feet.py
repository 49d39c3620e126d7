"""Flattening the soles of people seen from above."""

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
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world, with_parameters
from tests.helpers.walking import pitched_camera, walking_motion

FROM_ABOVE, FROM_THE_SIDE = 4.5, 1.0
"""Metres of the camera above the ground, 5 m away."""


def camera_at_height(metres: float) -> Camera:
    camera = pitched_camera(math.degrees(math.atan2(metres - 0.9, 5.0)))
    return replace(camera, t_cam_world=-camera.R_cam_world @ torch.tensor([0.0, metres, 5.0]))


def toes_down(motion: Motion, body: Body, degrees: float) -> Motion:
    R = motion.parameters.R_parent_joint.clone()
    for side in ("left", "right"):
        turn = torch.tensor([math.radians(degrees), 0.0, 0.0])
        R[:, JOINT[f"{side}_ankle"]] = R[:, JOINT[f"{side}_ankle"]] @ roma.rotvec_to_rotmat(turn)
    return with_parameters(motion, body, replace(motion.parameters, R_parent_joint=R))


def heel_pitch_deg(motion: Motion, body: Body) -> torch.Tensor:
    """Return the pitch of both feet in each frame, degrees."""
    rest = rest_heights(body, motion.parameters.betas)
    points = keypoints_world(motion, FOOT_POINTS).unflatten(1, (2, 2))
    length = (points[:, :, 1] - points[:, :, 0]).norm(dim=-1)
    rise = points[..., 1].diff(dim=-1).squeeze(-1) - rest.unflatten(0, (2, 2)).diff(dim=-1).squeeze(-1)
    return torch.rad2deg(torch.asin(-rise / length))


@pytest.mark.parametrize(("metres", "most", "least"), [(FROM_ABOVE, 4.0, -2.0), (FROM_THE_SIDE, 30.0, 18.0)])
def test_pitched_feet_are_kept_only_if_seen_from_the_side(
    body: Body, metres: float, most: float, least: float
) -> None:
    small = keypoint_body(body)
    truth = walking_motion(body, small, camera_at_height(metres))
    estimate = toes_down(truth, small, 24.0)
    standing = find_contacts(truth).unflatten(1, (2, 2)).all(-1)
    assert (
        heel_pitch_deg(truth, body)[standing].abs().max()
        < 2
        < 20
        < heel_pitch_deg(estimate, body)[standing].median()
    )
    processed = postprocess(estimate, body)
    assert least < heel_pitch_deg(processed, body)[standing].median() < most
    if metres == FROM_ABOVE:
        assert find_contacts(processed).float().mean() > 0.9 * find_contacts(truth).float().mean()
        above = keypoints_world(processed, FOOT_POINTS)[..., 1] - rest_heights(
            body, processed.parameters.betas
        )
        assert above[find_contacts(processed)].abs().mean() < 0.01


def test_rising_heels_and_people_on_tiptoe_are_kept(body: Body) -> None:
    small = keypoint_body(body)
    truth = walking_motion(body, small, camera_at_height(FROM_ABOVE))
    standing = find_contacts(truth).unflatten(1, (2, 2)).all(-1)
    exact = postprocess(truth, body)
    assert (heel_pitch_deg(exact, body) - heel_pitch_deg(truth, body))[standing].abs().median() < 2
    dancer = postprocess(toes_down(truth, small, 65.0), body)
    assert heel_pitch_deg(dancer, body)[standing].median() > 45
