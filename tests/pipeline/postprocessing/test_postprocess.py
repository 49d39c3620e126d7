import math
from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.geometry.camera import Camera
from selfmocap.pipeline.postprocessing.confidence import joint_confidence
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.foot_lock import lock_feet
from selfmocap.pipeline.postprocessing.gaps import fill_gaps
from selfmocap.pipeline.postprocessing.ground import level_motion, level_rotation
from selfmocap.pipeline.postprocessing.legs import LEGS
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world, with_parameters
from selfmocap.pipeline.postprocessing.scale import scale_to_stature, stature
from selfmocap.pipeline.postprocessing.smoothing import smooth, whittaker
from selfmocap.pipeline.postprocessing.smoothness_metrics import foot_slide_mm, jitter
from selfmocap.tracking.observations import Observations
from tests.conftest import random_parameters
from tests.helpers.exported_files import wandering_motion
from tests.helpers.walking import FPS, LEVEL, pitched_camera, smoothstep, walking_motion, with_foot_moved


@pytest.fixture(scope="module")
def small(body: Body) -> Body:
    return keypoint_body(body)


def slow_noise(*shape: int, seconds: float) -> torch.Tensor:
    kernel = torch.hann_window(2 * round(seconds * FPS) + 1, periodic=False, dtype=torch.float64)
    white = torch.randn(*shape[1:], shape[0] + len(kernel) - 1, dtype=torch.float64)
    noise = torch.nn.functional.conv1d(white.reshape(-1, 1, white.shape[-1]), kernel[None, None])
    return (noise / kernel.norm()).reshape(*shape[1:], shape[0]).movedim(-1, 0)


def noisy_estimate(truth: Motion, small: Body) -> Motion:
    """Estimate the motion as a network that assumes a level camera: slow errors and jitter of every joint, depth less
    accurate than direction."""
    frames = len(truth)
    angles = math.radians(1.5) * slow_noise(frames, 24, 3, seconds=0.7)
    angles += math.radians(0.4) * torch.randn(frames, 24, 3)
    R = truth.parameters.R_parent_joint.double() @ roma.rotvec_to_rotmat(angles)
    R[:, 0] = LEVEL.R_cam_world.T.double() @ truth.camera.R_cam_world.double() @ R[:, 0]
    p_cam = truth.joints_cam[:, 0].double()
    depth = 1 + (0.05 * slow_noise(frames, 1, seconds=1.0) + 0.01 * torch.randn(frames, 1)) / p_cam[:, 2:]
    p_cam = p_cam * depth + 0.002 * torch.randn(frames, 3)
    place = LEVEL.to_world(p_cam.float()[:, None])[:, 0]
    return Motion.from_parameters(
        small, BodyParameters(truth.parameters.betas, R.float(), place), LEVEL, (1280, 720), truth.frame_times,
        confidence=torch.full((frames,), 0.9),
    )  # fmt: skip


def mpjpe_mm(estimate: Motion, truth: Motion) -> float:
    estimated, true = (m.joints_cam - m.joints_cam[:, :1] for m in (estimate, truth))
    return float(1000 * (estimated - true).norm(dim=-1).mean())


def test_an_unknown_camera_leaves_the_world_unchanged(body: Body, small: Body) -> None:
    estimate = noisy_estimate(walking_motion(body, small, pitched_camera(10.0)), small)
    still, moving = postprocess(estimate, body), postprocess(estimate, body, in_world=False)
    assert torch.equal(moving.camera.R_cam_world, estimate.camera.R_cam_world)
    assert not torch.allclose(still.camera.R_cam_world, estimate.camera.R_cam_world)
    assert jitter(moving) < 0.5 * jitter(estimate)


def test_postprocessing_reduces_jitter_and_slide_without_adding_error(body: Body, small: Body) -> None:
    truth = walking_motion(body, small, pitched_camera(10.0))
    contacts = find_contacts(truth)
    assert foot_slide_mm(truth, contacts) < 1.5 and contacts.float().mean() > 0.4
    estimate = noisy_estimate(truth, small)
    processed = postprocess(estimate, body)
    assert jitter(processed) < 0.35 * jitter(estimate)
    assert foot_slide_mm(processed, contacts) < 0.35 * foot_slide_mm(estimate, contacts)
    assert mpjpe_mm(processed, truth) < mpjpe_mm(estimate, truth)
    record = processed.provenance["postprocessing"]
    assert record["after"]["jitter"] == pytest.approx(jitter(processed))
    assert record["before"]["jitter"] == pytest.approx(jitter(estimate))


def degrees_between(a: torch.Tensor, b: torch.Tensor) -> float:
    return math.degrees(float(torch.arccos((a * b).sum().clamp(-1, 1))))


@pytest.mark.parametrize("pitch", [0.0, 10.0, 35.0])
def test_the_ground_is_found_at_any_camera_pitch(body: Body, small: Body, pitch: float) -> None:
    truth = walking_motion(body, small, pitched_camera(pitch))
    processed = postprocess(noisy_estimate(truth, small), body)
    assert degrees_between(processed.camera.R_cam_world[:, 1], truth.camera.R_cam_world[:, 1]) < 3
    soles = body.pose(processed.parameters).vertices[..., 1].amin(-1)
    assert soles.abs().median() < 0.02


def test_all_people_share_one_vertical(body: Body, small: Body) -> None:
    people = [
        noisy_estimate(walking_motion(body, small, pitched_camera(angle)), small)
        for angle in (20.0, 20.0, 26.0)
    ]
    R_level_world = level_rotation(people, body)
    each = torch.stack([level_rotation([person], body)[1] for person in people])
    assert degrees_between(R_level_world[1], torch.nn.functional.normalize(each.mean(0), dim=0)) < 0.8
    placed = [level_motion(person, body, R_level_world).camera.R_cam_world for person in people]
    assert torch.equal(placed[0], placed[2])


def test_depth_drift_is_corrected_and_people_on_a_table_stay(body: Body, small: Body) -> None:
    camera = pitched_camera(35.0)
    high = replace(camera, t_cam_world=-camera.R_cam_world @ torch.tensor([0.0, 4.0, 5.0]))
    truth = walking_motion(body, small, high)
    heights = rest_heights(body, truth.parameters.betas)

    def off_ground(motion: Motion) -> float:
        points = keypoints_world(motion, FOOT_POINTS)[..., 1] - heights
        return float(points[find_contacts(truth)].abs().mean())

    drift = 1 + 0.06 * torch.sin(torch.arange(len(truth)) / 25)[:, None]
    p = truth.camera.to_world(truth.joints_cam[:, :1] * drift[:, None])[:, 0]
    drifted = with_parameters(truth, small, replace(truth.parameters, p_world_root=p))
    corrected = lock_feet(drifted, small, find_contacts(truth), heights)
    assert off_ground(corrected) < 0.25 * off_ground(drifted)
    pixels = [
        motion.camera.project(motion.camera.to_world(motion.joints_cam[:, 0]))
        for motion in (drifted, corrected)
    ]
    assert (pixels[0] - pixels[1]).norm(dim=-1).median() < 2
    on_table = replace(
        truth.parameters, p_world_root=truth.parameters.p_world_root + torch.tensor([0, 0.7, 0])
    )
    table = with_parameters(truth, small, on_table)
    stayed = lock_feet(table, small, find_contacts(truth), heights)
    assert (stayed.joints_cam - table.joints_cam).norm(dim=-1).mean() < 0.01


def test_people_lying_or_upside_down_do_not_change_the_vertical(body: Body, small: Body) -> None:
    standing = noisy_estimate(walking_motion(body, small, pitched_camera(0.0)), small)
    for turn in (math.pi / 2, math.pi):
        R = standing.parameters.R_parent_joint.clone()
        R[:, 0] = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, turn])) @ R[:, 0]
        parameters = replace(standing.parameters, R_parent_joint=R)
        turned = Motion.from_parameters(small, parameters, LEVEL, (1280, 720), standing.frame_times)
        assert degrees_between(level_rotation([turned], body)[1], torch.tensor([0.0, 1.0, 0.0]).double()) < 1


def test_leveling_keeps_the_projection(body: Body, small: Body) -> None:
    estimate = noisy_estimate(walking_motion(body, small, pitched_camera(10.0)), small)
    turned = level_motion(estimate, body)
    assert (turned.camera.R_cam_world - estimate.camera.R_cam_world).abs().max() > 0.05
    assert (turned.joints_cam - estimate.joints_cam).abs().max() < 1e-4
    moving = replace(
        estimate,
        camera=replace(
            LEVEL,
            R_cam_world=LEVEL.R_cam_world.expand(len(estimate), 3, 3),
            t_cam_world=LEVEL.t_cam_world.expand(len(estimate), 3),
        ),
    )
    torch.testing.assert_close(level_motion(moving, body).joints_cam, turned.joints_cam, atol=1e-4, rtol=0)


@pytest.mark.parametrize("noise_deg", [0.0, 0.4])
def test_a_kick_keeps_its_speed(body: Body, small: Body, noise_deg: float) -> None:
    time = torch.arange(90, dtype=torch.float64) / FPS
    kick = smoothstep((time - 1.3) / 0.25) - smoothstep((time - 1.6) / 0.35)
    bend = smoothstep((time - 1.1) / 0.2) - smoothstep((time - 1.35) / 0.15) + 0 * kick
    angles = torch.zeros(len(time), 24, 3, dtype=torch.float64)
    angles[:, JOINT["right_hip"], 0] = -math.radians(95) * kick
    angles[:, JOINT["right_knee"], 0] = math.radians(100) * bend
    truth_R = roma.rotvec_to_rotmat(angles)
    noisy_R = roma.rotvec_to_rotmat(angles + math.radians(noise_deg) * torch.randn(len(time), 24, 3))
    root = torch.tensor([0.0, 0.0, -5.0]).expand(len(time), 3)
    truth, estimate = (
        Motion.from_parameters(
            small, BodyParameters(torch.zeros(16), R.float(), root), LEVEL, (1280, 720), time
        )
        for R in (truth_R, noisy_R)
    )
    smoothed = smooth(estimate, small)

    def peak(motion: Motion) -> float:
        ankle = motion.joints_cam[:, JOINT["right_ankle"]]
        return float(ankle.diff(dim=0).norm(dim=-1).max() * FPS)

    assert peak(truth) > 6
    assert peak(smoothed) == pytest.approx(peak(truth), rel=0.1)
    assert mpjpe_mm(smoothed, truth) < max(mpjpe_mm(estimate, truth), 1.0)


def test_short_gaps_are_filled_and_marked_and_long_ones_stay(body: Body, small: Body) -> None:
    whole = wandering_motion(body, frames=80)
    kept = [*range(10), *range(24, 30), *range(46, 80)]
    seen = replace(whole[kept], body=body.identity)
    filled = fill_gaps(seen, small)
    assert filled.frame_index.tolist() == [*range(30), *range(46, 80)]
    assert filled.filled.tolist() == [10 <= i < 24 for i in filled.frame_index.tolist()]
    assert (filled.confidence[filled.filled] == 0).all()
    assert torch.allclose(filled.frame_times, filled.frame_index.double() / FPS)
    assert torch.allclose(filled[~filled.filled].joints_cam, seen.joints_cam, atol=1e-5)
    R = filled.parameters.R_parent_joint
    assert (R.mT @ R - torch.eye(3)).abs().max() < 1e-5
    smoothed = smooth(filled, small)
    error = smoothed.joints_cam[10:24] - whole.joints_cam[10:24]
    straight = filled.joints_cam[10:24] - whole.joints_cam[10:24]
    assert error.norm(dim=-1).mean() < straight.norm(dim=-1).mean(), (
        "smoothing is better than linear interpolation"
    )


def test_a_frame_of_low_confidence_is_pulled_to_its_neighbours(body: Body, small: Body) -> None:
    truth = wandering_motion(body, frames=40)
    R = truth.parameters.R_parent_joint.clone()
    turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.0, 0.5]))
    R[20, JOINT["left_elbow"]] = R[20, JOINT["left_elbow"]] @ turn
    wrong = replace(truth, parameters=replace(truth.parameters, R_parent_joint=R), confidence=torch.ones(40))
    confidence = torch.ones(40, 24)
    confidence[20, JOINT["left_elbow"]] = 0.0

    def error(motion: Motion) -> float:
        joints = (JOINT["left_wrist"], JOINT["left_elbow"])
        (wrist, elbow), (true_wrist, true_elbow) = (
            [m.joints_cam[20, j] for j in joints] for m in (motion, truth)
        )
        return float(((wrist - elbow) - (true_wrist - true_elbow)).norm())

    with_frame_confidence, with_joint_confidence = smooth(wrong, small), smooth(wrong, small, confidence)
    assert error(with_joint_confidence) < 0.35 * error(with_frame_confidence)


def test_confidence_comes_from_the_keypoints_that_show_a_joint() -> None:
    seen = torch.ones(3, 23)
    seen[:, DEFAULT_KEYPOINTS.index("left_wrist")] = torch.tensor([0.2, 0.4, 0.6])
    observations = Observations(
        frame_index=torch.tensor([4, 5, 7]), frame_times=torch.tensor([4.0, 5.0, 7.0], dtype=torch.float64),
        image_size=(64, 48), boxes=torch.ones(3, 3), keypoint_set="coco-23", keypoints=torch.zeros(3, 23, 2),
        keypoint_confidence=seen,
    )  # fmt: skip
    found = joint_confidence(observations, torch.tensor([5, 6, 7, 8]))
    assert found[:, JOINT["left_elbow"]].tolist() == pytest.approx([0.4, 0.0, 0.6, 0.0])
    assert found[:, JOINT["right_elbow"]].tolist() == [1, 0, 1, 0]
    assert found[:, JOINT["spine2"]].tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize("cutoff_hz", [1.0, 4.0])
def test_whittaker_halves_at_the_cutoff_without_lag_and_keeps_parabolas(cutoff_hz: float) -> None:
    time = np.arange(600) / FPS
    parabola = (time**2 - 3 * time + 1)[:, None]
    assert whittaker(parabola, np.ones(600), cutoff_hz, FPS) == pytest.approx(parabola, abs=1e-5)
    swing = np.sin(2 * np.pi * cutoff_hz * time)[:, None]
    smoothed = whittaker(swing, np.ones(600), cutoff_hz, FPS)
    middle = slice(150, 450)
    assert smoothed[middle] == pytest.approx(0.5 * swing[middle], abs=0.01)
    gap = np.ones(600)
    gap[300:306] = 0
    slow = np.sin(2 * np.pi * 0.1 * cutoff_hz * time)[:, None]
    broken = slow.copy()
    broken[300:306] = 100
    assert np.abs(whittaker(broken, gap, cutoff_hz, FPS) - slow)[middle].max() < 0.02


@pytest.mark.parametrize("cutoff_hz", [1.0, 4.0])
def test_whittaker_uses_frame_times(cutoff_hz: float) -> None:
    """A parabola sampled at uneven times is kept; even times give the same as no times."""
    even = np.arange(300) / FPS
    jitter = np.random.default_rng(0).uniform(-0.4, 0.4, 300) / FPS
    odd = np.delete(even + jitter, np.random.default_rng(1).choice(300, 60, replace=False))
    y, ones = np.stack([odd, (odd - 3) ** 2], axis=1), np.ones(len(odd))
    assert whittaker(y, ones, cutoff_hz, FPS, odd) == pytest.approx(y, abs=1e-5)
    assert np.abs(whittaker(y, ones, cutoff_hz, FPS) - y).max() > 5e-3
    swing = np.sin(2 * np.pi * cutoff_hz * even)[:, None]
    at_even_times = whittaker(swing, np.ones(300), cutoff_hz, FPS, even)
    assert at_even_times == pytest.approx(whittaker(swing, np.ones(300), cutoff_hz, FPS), abs=1e-6)


def test_constant_velocity_at_uneven_times_is_kept(body: Body) -> None:
    """A body at constant velocity keeps its position at each time."""
    times = np.cumsum(np.random.default_rng(0).choice([1, 2, 3], 120)) / 60
    place = torch.from_numpy(np.stack([1.5 * times, 0 * times, 4 - 0.3 * times], axis=1)).float()
    R = torch.eye(3).expand(120, 24, 3, 3)
    camera = Camera(torch.tensor([600.0, 600.0]), torch.tensor([320.0, 240.0]), torch.eye(3), torch.zeros(3))
    motion = Motion.from_parameters(
        body,
        BodyParameters(torch.zeros(body.num_betas), R, place),
        camera,
        (640, 480),
        torch.from_numpy(times),
    )
    moved = smooth(motion, body).parameters.p_world_root - place
    assert moved.norm(dim=-1).max() < 0.004


def test_a_leg_reaches_as_far_as_it_is_long(small: Body) -> None:
    wide = small.to(torch.float64)
    parameters = random_parameters(wide, 20, angle=0.5)
    parameters = replace(parameters, betas=parameters.betas[0])
    before = wide.pose(parameters)
    for leg in LEGS:
        R_world_foot = roma.random_rotmat(20).double()
        shift = 0.1 * torch.randn(20, 3, dtype=torch.float64)
        after = wide.pose(with_foot_moved(wide, parameters, leg, shift, R_world_foot))
        hip, ankle = before.joints[:, leg.hip], after.joints[:, leg.ankle]
        length = sum(
            (before.joints[:, a] - before.joints[:, b]).norm(dim=-1)
            for a, b in ((leg.hip, leg.knee), (leg.knee, leg.ankle))
        )
        goal = before.joints[:, leg.ankle] + shift
        within = (goal - hip).norm(dim=-1) < 0.998 * length
        assert within.sum() > 5
        assert (ankle - goal)[within].norm(dim=-1).max() < 1e-6
        assert ((ankle - hip).norm(dim=-1) < length).all()
        assert (after.R_world_joint[:, leg.ankle] - R_world_foot).abs().max() < 1e-6
        others = [j for name, j in JOINT.items() if not name.endswith(("knee", "ankle", "foot"))]
        assert (after.joints - before.joints)[:, others].abs().max() < 1e-9


def test_stature_sets_the_scale_and_keeps_the_projection(body: Body) -> None:
    motion = wandering_motion(body, frames=10)
    metres = 1.07 * float(stature(body, motion.parameters.betas))
    taller = scale_to_stature(motion, body, metres)
    assert float(stature(body, taller.parameters.betas)) == pytest.approx(metres, abs=1e-5)
    assert torch.allclose(taller.joints_cam[:, 0], motion.joints_cam[:, 0] * 1.07, atol=1e-4)
    pixels, before = (m.camera.project(m.camera.to_world(m.joints_cam)) for m in (taller, motion))
    assert (pixels - before).norm(dim=-1).mean() < 2.5
    with pytest.raises(ValueError, match="metres from 0.5 to 2.6"):
        scale_to_stature(motion, body, 192.0)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_a_clip_of_a_few_frames_is_processed(body: Body, frames: int) -> None:
    motion = wandering_motion(body, frames=frames)
    processed = postprocess(motion, body, stature=1.8)
    assert len(processed) == frames
    assert torch.isfinite(processed.joints_cam).all()


def test_another_body_is_refused(body: Body, small_body: Body) -> None:
    motion = wandering_motion(body, frames=3)
    with pytest.raises(ValueError, match="load the motion's own body"):
        postprocess(motion, small_body)
