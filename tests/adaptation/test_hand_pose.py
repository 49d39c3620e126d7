from dataclasses import replace

import pytest
import roma
import torch
from torch import Tensor

from selfmocap.adaptation import hand_pose
from selfmocap.adaptation.hand_pose import fit_hands
from selfmocap.adaptation.hand_solver import HandPose, _points
from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.fingers import finger_anatomy, finger_coordinates, fingertips, with_fingers
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import pose_from_degrees
from selfmocap.body_model.skeleton import HAND_SIDES, JOINT
from selfmocap.geometry.camera import Camera
from selfmocap.synthetic.hands import move_hands, observe_hands

FRAMES = 20


@pytest.fixture(scope="module")
def rigid(body: Body) -> Motion:
    """Raised forearms and rigid hands before a camera."""
    pose = pose_from_degrees({
        "left_shoulder": (0, -20, -60), "right_shoulder": (0, 20, 60),
        "left_elbow": (30, -90, 0), "right_elbow": (30, 90, 0),
    })  # fmt: skip
    parameters = BodyParameters(
        torch.zeros(body.num_betas),
        pose.repeat(FRAMES, 1, 1, 1),
        torch.tensor([0.1, 0.0, -2.2]).repeat(FRAMES, 1),
    )
    camera = Camera.looking_along_z(1000.0, 1280, 720)
    times = torch.arange(FRAMES, dtype=torch.float64) / 30
    return Motion.from_parameters(body, parameters, camera, (1280, 720), times)


def angles_deg(a: Tensor, b: Tensor) -> Tensor:
    return roma.rotmat_geodesic_distance(a.double(), b.double()).rad2deg()


def hands_in_world(motion: Motion, body: Body) -> Tensor:
    p = motion.parameters.to(torch.float64)
    joints = body.to(torch.float64).shape(p.betas).joints
    wrists = [JOINT[f"{side}_wrist"] for side in HAND_SIDES]
    return forward_kinematics(p.R_parent_joint, joints, p.p_world_root)[0][:, wrists]


def test_exact_observations_give_the_true_hands(rigid: Motion, body: Body) -> None:
    truth = move_hands(rigid, body, seed=0)
    estimate = fit_hands(rigid, body, observe_hands(truth, body, seed=0, error=1e-4, depth_error=1e-4))
    assert estimate.fingers is not None and truth.fingers is not None
    resting = torch.eye(3).expand_as(truth.fingers)
    assert (
        angles_deg(estimate.fingers, truth.fingers).mean() < 0.2 * angles_deg(resting, truth.fingers).mean()
    )
    assert angles_deg(hands_in_world(estimate, body), hands_in_world(truth, body)).mean() < 5
    full = with_fingers(body)
    tips, true_tips = (
        torch.stack(list(fingertips(full.pose(one.all_parameters)).values())) for one in (estimate, truth)
    )
    assert (tips - true_tips).norm(dim=-1).mean() < 0.015
    assert estimate.provenance["hands"] == {"frames_seen": {"left": FRAMES, "right": FRAMES}}
    anatomy, coordinates = finger_anatomy(), finger_coordinates(estimate.fingers.double())
    assert (coordinates > anatomy.low - 1e-3).all() and (coordinates < anatomy.high + 1e-3).all()


def test_a_hand_that_is_not_seen_rests_and_keeps_the_bodys_wrist(rigid: Motion, body: Body) -> None:
    observations = observe_hands(move_hands(rigid, body, seed=1), body, seed=1)
    assert observations.hand_confidence is not None
    confidence = observations.hand_confidence.clone()
    confidence[:, 0] = 0
    estimate = fit_hands(rigid, body, replace(observations, hand_confidence=confidence))
    assert estimate.fingers is not None
    left, right = estimate.fingers.unflatten(1, (2, 15)).unbind(1)
    torch.testing.assert_close(left, torch.eye(3).expand_as(left), atol=1e-4, rtol=0)
    assert angles_deg(right, torch.eye(3).expand_as(right)).mean() > 5
    before, after = rigid.parameters.R_parent_joint, estimate.parameters.R_parent_joint
    changed = {name for name, j in JOINT.items() if angles_deg(before[:, j], after[:, j]).max() > 0.1}
    assert "right_wrist" in changed and changed <= {"right_wrist", "right_elbow", "right_hand"}
    unseen = replace(observations, hand_confidence=torch.zeros_like(confidence))
    assert fit_hands(rigid, body, unseen) is rigid
    assert fit_hands(rigid, body, replace(observations, hand_confidence=None)) is rigid


def test_frames_without_a_hand_return_to_rest(rigid: Motion, body: Body) -> None:
    observations = observe_hands(move_hands(rigid, body, seed=2), body, seed=2)
    first = fit_hands(rigid, body, observations[:4])
    assert first.fingers is not None and len(first) == FRAMES
    away = angles_deg(first.fingers, torch.eye(3).expand_as(first.fingers)).mean(1)
    assert away[-1] < 0.5 * away[2] and away.diff().abs().max() < 0.5 * away.max()


def test_windows_give_what_one_window_gives(
    rigid: Motion, body: Body, monkeypatch: pytest.MonkeyPatch
) -> None:
    observations = observe_hands(move_hands(rigid, body, seed=3), body, seed=3)
    whole = fit_hands(rigid, body, observations)
    monkeypatch.setattr(hand_pose, "_WINDOW", 10)
    monkeypatch.setattr(hand_pose, "_MARGIN", 8)
    parts = fit_hands(rigid, body, observations)
    assert whole.fingers is not None and parts.fingers is not None
    assert angles_deg(whole.fingers, parts.fingers).mean() < 2


def test_derivatives_of_the_keypoints_are_exact() -> None:
    generator = torch.Generator().manual_seed(0)
    R = roma.random_rotmat((1, 2), dtype=torch.float64, generator=generator)
    bones = torch.randn(2, 5, 4, 3, generator=generator, dtype=torch.float64)
    pose = HandPose(R, 0.1 * torch.rand(1, 2, 25, generator=generator, dtype=torch.float64))

    def points(step: Tensor) -> Tensor:
        moved = R @ roma.rotvec_to_rotmat(step[..., :3])
        return _points(moved, pose.free + step[..., 3:], bones)[0]

    step = torch.zeros(1, 2, 28, dtype=torch.float64)
    expected = torch.autograd.functional.jacobian(points, step)
    jacobian = _points(R, pose.free, bones)[1]
    for side in range(2):
        torch.testing.assert_close(jacobian[0, side], expected[0, side, :, :, 0, side])
