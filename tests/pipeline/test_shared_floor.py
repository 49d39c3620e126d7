"""Statures by a common floor: of synthetic scenes with their truth, whatever each person's own estimate is."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.ground import level_rotation
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world
from selfmocap.pipeline.shared_floor import FloorPerson, SharedFloor, solve_shared_floor, solve_statures
from selfmocap.tracking.observations import Observations
from tests.helpers.walking import LEVEL, pitched_camera, walking_motion

ADULT = 1.7


def observed(
    size: float, estimate: float, distance: float, camera_height: float, pitch_error: float = 0.0
) -> FloorPerson:
    """A person of `size` adults, estimated `estimate` adults tall; the camera sees the floor under the feet exactly."""
    scale = estimate / size
    ahead = scale * distance
    return FloorPerson(ADULT * estimate, scale * camera_height + pitch_error * ahead, ahead, 0.0)


@pytest.mark.parametrize("pitch_deg", [10, 20, 30])
@pytest.mark.parametrize("sizes", [(1, 0.6), (1, 0.6, 1.1), (1, 0.65, 0.9, 1.15)])
def test_a_child_beside_adults_gets_its_size(sizes: tuple[float, ...], pitch_deg: int) -> None:
    """Each person is estimated as an adult."""
    distances = [4.0 + 0.5 * n for n in range(len(sizes))]
    camera_height = 4.0 * math.tan(math.radians(pitch_deg)) + 0.9
    estimates = [max(size, 0.95) for size in sizes]
    people = [observed(*one, camera_height) for one in zip(sizes, estimates, distances, strict=True)]
    solved = np.array(solve_statures(people), float)
    np.testing.assert_allclose(solved / solved[0], np.array(sizes) / sizes[0], atol=0.06)
    scales = solved / [person.stature for person in people]
    np.testing.assert_allclose(scales * [person.ahead for person in people], distances, rtol=0.1)


def test_an_error_of_the_cameras_pitch_is_no_difference_of_sizes() -> None:
    people = [observed(1.0, 1.0, distance, 1.6, pitch_error=0.03) for distance in (3.0, 5.0, 7.0)]
    assert np.ptp([person.drop for person in people]) > 0.1
    np.testing.assert_allclose(np.array(solve_statures(people), float), ADULT, rtol=0.06)


def test_a_person_on_a_step_keeps_their_size() -> None:
    step = observed(1.0, 1.0, 4.0, 1.6 - 0.35)
    *adults, raised = solve_statures([observed(1.0, 1.0, 3.0, 1.6), observed(1.0, 1.0, 5.0, 1.6), step])
    np.testing.assert_allclose(np.array([*adults, raised], float), ADULT, rtol=0.06)


def test_a_child_is_no_small_adult_beside_one_on_a_step() -> None:
    """Both explain where these feet are: a child, or an adult of 1.27 m and another on a step of half a metre."""
    people = [FloorPerson(1.60, 2.50, 2.48, -0.17), FloorPerson(1.38, 3.28, 3.10, 1.37)]
    adult, child = np.array(solve_statures(people), float)
    assert adult == pytest.approx(1.6, rel=0.03) and 0.6 < child / adult < 0.67


def test_a_known_stature_scales_the_others() -> None:
    people = [observed(1.0, 1.1, 4.0, 2.0), observed(0.6, 1.0, 4.0, 2.0)]
    known = replace(people[0], known_stature=1.8)
    adult, child = solve_statures([known, people[1]])
    assert adult == pytest.approx(1.8, rel=0.02) and child == pytest.approx(0.6 * 1.8, abs=0.1)


def test_what_the_floor_does_not_determine_is_kept() -> None:
    assert solve_statures([]) == [] and solve_statures([observed(1.0, 1.0, 4.0, 1.6)]) == [None]
    low = [observed(1.0, 1.0, 3.0, 0.15), observed(0.6, 1.0, 7.0, 0.15)]
    assert solve_statures(low) == [None, None]


def as_estimated(truth: Motion, small: Body, scale: float) -> Motion:
    """Return a person of `scale` times the size before the same camera, as they are estimated: as large as `truth`, and
    so much farther from the camera, which is taken to be level."""
    camera = truth.camera
    farther = replace(camera, t_cam_world=camera.t_cam_world / scale)
    moved = replace(truth, joints_cam=truth.joints_cam + (1 / scale - 1) * camera.t_cam_world)
    R = truth.parameters.R_parent_joint.clone()
    R[:, 0] = LEVEL.R_cam_world.T @ farther.R_cam_world @ R[:, 0]
    p = LEVEL.to_world(moved.joints_cam[:, :1])[:, 0]
    parameters = BodyParameters(truth.parameters.betas, R, p)
    return Motion.from_parameters(small, parameters, LEVEL, truth.image_size, truth.frame_times)


@pytest.mark.parametrize("pitch_deg", [5.0, 25.0])
def test_the_floor_is_measured_from_motions(body: Body, pitch_deg: float) -> None:
    small = keypoint_body(body)
    walk = walking_motion(body, small, pitched_camera(pitch_deg), seconds=3.0)
    people = [as_estimated(walk, small, scale) for scale in (1.0, 0.6)]
    seen = [visible(motion) for motion in people]
    R_level_world = level_rotation(people, body)
    floor = solve_shared_floor(people, body, R_level_world, seen, [None, None])
    adult, child = floor.statures
    assert adult is not None and child is not None
    assert child / adult == pytest.approx(0.6, abs=0.06)
    hidden = replace(seen[1], keypoint_confidence=torch.zeros(len(walk), 23))
    for known in (None, 1.2):
        one = solve_shared_floor(people, body, R_level_world, [seen[0], hidden], [None, known])
        assert one == SharedFloor([None, known], None)
    processed = [
        postprocess(motion, body, metres, R_level_world=R_level_world, camera_height=floor.camera_height)
        for motion, metres in zip(people, floor.statures, strict=True)
    ]
    heights = [float(motion.camera.p_world_cam[1]) for motion in processed]
    assert heights == pytest.approx([floor.camera_height] * 2, abs=1e-4)
    for motion in processed:
        soles = keypoints_world(motion, FOOT_POINTS)[..., 1] - rest_heights(body, motion.parameters.betas)
        assert float(soles[find_contacts(motion)].abs().median()) < 0.01


def visible(motion: Motion) -> Observations:
    frames = len(motion)
    return Observations(
        frame_index=motion.frame_index,
        frame_times=motion.frame_times,
        image_size=motion.image_size,
        boxes=torch.ones(frames, 3),
        keypoint_set="coco-23",
        keypoints=torch.zeros(frames, 23, 2),
        keypoint_confidence=torch.ones(frames, 23),
    )
