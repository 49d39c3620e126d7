"""Plausibility: each trouble gets its warning, with its figure and its remedy; a plain walk gets none."""

import math
from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.camera import Camera, project
from selfmocap.pipeline.plausibility import (
    CheckedPerson,
    doubt_warning,
    floor_warning,
    gravity_warning,
    lost_warning,
    lying_warning,
    mask_warning,
    off_floor_warning,
    plausibility_warnings,
    speed_warning,
)
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, with_parameters
from selfmocap.tracking.observations import Observations
from tests.helpers.walking import FPS, pitched_camera, walking_motion


@pytest.fixture(scope="module")
def small(body: Body) -> Body:
    return keypoint_body(body)


@pytest.fixture(scope="module")
def walk(body: Body, small: Body) -> Motion:
    return walking_motion(body, small, pitched_camera(10))


def person(motion: Motion, number: int = 1, **fields: object) -> CheckedPerson:
    """Return a person who is plainly seen in all frames of the motion."""
    frames = len(motion)
    keypoints = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    low, high = keypoints.amin(1), keypoints.amax(1)
    half = (high - low).amax(1, keepdim=True) / 2
    seen = Observations(
        frame_index=motion.frame_index,
        frame_times=motion.frame_times,
        image_size=motion.image_size,
        boxes=torch.cat([(low + high) / 2, half], dim=1),
        keypoint_set="coco-23",
        keypoints=keypoints,
        keypoint_confidence=torch.full((frames, 23), 0.95),
    )
    one = CheckedPerson(number, motion, seen, 0.9, int(motion.frame_index[-1]), in_world=True)
    return replace(one, **fields)


def moved(motion: Motion, small: Body, shift: torch.Tensor) -> Motion:
    """Move the body, and not the camera, by a shift in each frame, metres."""
    parameters = motion.parameters
    p = parameters.p_world_root + shift
    return with_parameters(motion, small, BodyParameters(parameters.betas, parameters.R_parent_joint, p))


def turned(motion: Motion, small: Body, degrees: float) -> Motion:
    """Turn the body in the image, clockwise."""
    parameters = motion.parameters
    R = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, -math.radians(degrees)]))
    R_parent_joint = parameters.R_parent_joint.clone()
    R_parent_joint[:, 0] = R @ R_parent_joint[:, 0]
    return with_parameters(
        motion, small, BodyParameters(parameters.betas, R_parent_joint, parameters.p_world_root)
    )


def test_a_walk_is_plausible(walk: Motion) -> None:
    other = replace(walk, frame_index=walk.frame_index + 200, frame_times=walk.frame_times + 200 / FPS)
    assert plausibility_warnings([person(walk), person(other, 2)], [1, 2]) == []


@pytest.mark.parametrize(("degrees", "rotate"), [(90, 270), (180, 180), (270, 90)])
def test_a_turned_film(walk: Motion, small: Body, degrees: float, rotate: int) -> None:
    warning = lying_warning([person(turned(walk, small, degrees))])
    assert (
        warning is not None
        and warning.endswith(f"give --rotate {rotate}")
        and "100% of the frames" in warning
    )
    assert lying_warning([person(walk), person(turned(walk[:40], small, 90))]) is None


def test_nobody_is_faster_than_a_sprinter(walk: Motion, small: Body) -> None:
    seconds = walk.frame_times.float()[:, None]
    for speed, warns in ((9.0, False), (15.0, True)):
        run = moved(walk, small, seconds * torch.tensor([0.0, 0.0, -speed]))
        assert (speed_warning(person(run)) is not None) == warns
    assert "15 m/s" in (speed_warning(person(run)) or "")
    one_wild_frame = torch.zeros(len(walk), 3)
    one_wild_frame[50] = 8.0
    assert speed_warning(person(moved(walk, small, one_wild_frame))) is None


@pytest.mark.parametrize(("slower", "warns"), [(1, False), (2, True), (4, True)])
def test_slow_motion_falls_slowly(walk: Motion, small: Body, slower: int, warns: bool) -> None:
    seconds = walk.frame_times.float() / slower
    flight = (seconds - 0.2).clamp(0, 0.6)
    height = 9.81 / 2 * flight * (0.6 - flight)
    warning = gravity_warning(person(moved(walk, small, height[:, None] * torch.tensor([0.0, 1.0, 0.0]))))
    assert (warning is not None) == warns
    assert not warns or f"--slow-motion {slower}" in (warning or "")


def test_a_person_whose_feet_never_stand_does_not_fall(walk: Motion, small: Body) -> None:
    """A slow rise and fall between moments on the ground is no flight if no foot stands before and after it."""
    seconds = walk.frame_times.float()
    height = 0.15 * (1 - torch.cos(2 * torch.pi * 2 * seconds / float(seconds[-1])))
    path = torch.stack([3 * seconds, height, 0 * seconds], dim=1)
    assert gravity_warning(person(moved(walk, small, path))) is None


def test_people_on_one_floor(walk: Motion, small: Body, body: Body) -> None:
    up = torch.tensor([0.0, 1.0, 0.0])

    def before_a_camera(height: float) -> Motion:
        camera: Camera = walk.camera
        raised = replace(camera, t_cam_world=camera.t_cam_world - camera.R_cam_world @ (up * (height - 1.5)))
        return replace(walk, camera=raised)

    same = [person(before_a_camera(1.5)), person(before_a_camera(1.6), 2)]
    assert floor_warning(same) is None and floor_warning(same[:1]) is None and floor_warning([]) is None
    warning = floor_warning([person(before_a_camera(1.5)), person(before_a_camera(2.4), 2)])
    assert warning is not None and "person 2 is 1.60 times too large" in warning and "--height" in warning


def test_the_floor_below_a_moving_camera(walk: Motion) -> None:
    def before_a_camera(metres: float) -> Motion:
        R = walk.camera.R_cam_world.expand(len(walk), 3, 3)
        eye = torch.tensor([0.0, metres, 0.0]) + torch.linspace(-0.1, 0.1, len(walk))[:, None]
        return replace(
            walk, camera=replace(walk.camera, R_cam_world=R, t_cam_world=-(R @ eye[..., None])[..., 0])
        )

    low, high = before_a_camera(1.5), before_a_camera(2.4)
    assert floor_warning([person(low), person(low, 2)]) is None
    assert "person 2 is 1.60 times too large" in (floor_warning([person(low), person(high, 2)]) or "")


def test_feet_far_off_the_floor(walk: Motion, small: Body) -> None:
    up = torch.tensor([0.0, 1.0, 0.0])
    assert off_floor_warning(person(moved(walk, small, 0.1 * up))) is None
    assert "+0.6 m off the floor" in (off_floor_warning(person(moved(walk, small, 0.6 * up))) or "")
    on_a_table = torch.zeros(len(walk), 3)
    on_a_table[:30, 1] = 0.8
    assert off_floor_warning(person(moved(walk, small, on_a_table))) is None


def test_a_body_that_does_not_cover_its_mask(walk: Motion) -> None:
    assert mask_warning(person(walk)) is None and mask_warning(person(walk, mask_iou=None)) is None
    assert "31%" in (mask_warning(person(walk, mask_iou=0.31)) or "")


def test_a_detector_that_doubts(walk: Motion) -> None:
    one = person(walk)
    hidden = one.observations.keypoint_confidence.clone()
    hidden[:, 12:] = 0.0
    assert (
        doubt_warning(replace(one, observations=replace(one.observations, keypoint_confidence=hidden)))
        is None
    )
    unsure = replace(one.observations, keypoint_confidence=hidden / 2)
    assert "mean confidence 0.47" in (doubt_warning(replace(one, observations=unsure)) or "")


def test_a_visible_person_is_lost(walk: Motion) -> None:
    whole = person(walk)
    gap = torch.ones(len(walk), dtype=torch.bool)
    gap[70:80] = False
    one = replace(whole, observations=whole.observations[gap])
    assert "lost after frame 69" in (lost_warning(one, [one]) or "")
    early = replace(whole, observations=whole.observations[:100])
    assert "lost after frame 99" in (lost_warning(early, [early]) or "")
    assert lost_warning(replace(early, last_frame=99), []) is None
    short_gap = gap.clone()
    short_gap[74:] = True
    assert lost_warning(replace(whole, observations=whole.observations[short_gap]), []) is None
    assert lost_warning(one, [one, person(walk, 2)]) is None, "hidden by another person"
    confidence = one.observations.keypoint_confidence.clone()
    confidence[60:70] = 0.5
    hidden = replace(one.observations, keypoint_confidence=confidence)
    assert lost_warning(replace(one, observations=hidden), []) is None
    boxes = one.observations.boxes.clone()
    boxes[60:, 0] = 30.0
    leaving = replace(one.observations, boxes=boxes)
    assert lost_warning(replace(one, observations=leaving), []) is None
