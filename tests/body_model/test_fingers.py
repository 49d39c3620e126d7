from dataclasses import replace

import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.fingers import (
    body_for,
    finger_anatomy,
    finger_coordinates,
    finger_rotations,
    fingertips,
    hand_bones,
    has_fingers,
    relative_to_straight,
    with_fingers,
)
from selfmocap.body_model.skeleton import (
    ALL_JOINT_NAMES,
    ALL_JOINT_PARENTS,
    ALL_JOINTS,
    FINGER_JOINT_NAMES,
    FINGERS,
    HAND_SIDES,
    JOINT_NAMES,
    JOINT_PARENTS,
)


@pytest.fixture(scope="module")
def full(body: Body) -> Body:
    return with_fingers(body)


def posed_hand(
    full: Body, coordinates: torch.Tensor
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The joints and fingertips of the rest pose with some finger coordinates."""
    rest = full.rest_parameters()
    R = torch.cat([rest.R_parent_joint[: len(JOINT_NAMES)], finger_rotations(coordinates).float()])
    posed = full.pose(replace(rest, R_parent_joint=R))
    return dict(zip(ALL_JOINT_NAMES, posed.joints, strict=True)), fingertips(posed)


def test_finger_joints_follow_smpls_joints() -> None:
    assert ALL_JOINT_NAMES[:24] == JOINT_NAMES and ALL_JOINT_PARENTS[:24] == JOINT_PARENTS
    parents = {name: ALL_JOINT_NAMES[ALL_JOINT_PARENTS[ALL_JOINTS[name]]] for name in FINGER_JOINT_NAMES}
    assert parents["left_index1"] == "left_hand" and parents["right_thumb3"] == "right_thumb2"
    assert all(name[:4] == parent[:4] for name, parent in parents.items())


def test_resting_fingers_change_no_vertex(body: Body, full: Body) -> None:
    generator = torch.Generator().manual_seed(0)
    R = roma.rotvec_to_rotmat(0.4 * torch.randn(2, 24, 3, generator=generator))
    betas, root = torch.randn(body.num_betas, generator=generator), torch.randn(2, 3, generator=generator)
    resting = torch.cat([R, torch.eye(3).expand(2, 30, 3, 3)], dim=1)
    expected = body.pose(BodyParameters(betas, R, root))
    found = full.pose(BodyParameters(betas, resting, root))
    torch.testing.assert_close(found.vertices, expected.vertices, atol=2e-6, rtol=0)
    torch.testing.assert_close(found.joints[:, :24], expected.joints)


def test_a_finger_moves_its_own_skin_only(full: Body) -> None:
    rest, index = full.rest_parameters(), ALL_JOINTS["left_index1"]
    R = rest.R_parent_joint.clone()
    R[index] = finger_rotations(torch.ones(30, 3))[index - len(JOINT_NAMES)]
    change = (full.pose(replace(rest, R_parent_joint=R)).vertices - full.pose(rest).vertices).norm(dim=-1)
    moved = change > 1e-6
    assert 100 < moved.sum() < 400 and change.max() > 0.02
    assert (full.weights[index : index + 3, moved].sum(0) > 0).all()


def test_fists_close_and_hands_are_mirrored(full: Body) -> None:
    joints, tips = posed_hand(full, torch.zeros(30, 3))
    flexed, bent_tips = posed_hand(full, torch.tensor([1.2, 0.0, 0.0]).expand(30, 3))
    palm = (joints["left_middle1"] + joints["left_wrist"]) / 2
    for finger in FINGERS:
        tip = f"left_{finger}_tip"
        assert (bent_tips[tip] - palm).norm() < 0.75 * (tips[tip] - palm).norm(), finger
        if finger != "thumb":
            below = flexed[f"left_{finger}2"] - joints[f"left_{finger}2"]
            assert below[1] < -0.01  # The palms face down.
        mirrored = bent_tips[f"right_{finger}_tip"] * torch.tensor([-1.0, 1.0, 1.0])
        torch.testing.assert_close(bent_tips[tip], mirrored, atol=1e-5, rtol=0)
    assert flexed["left_wrist"].equal(joints["left_wrist"])


def test_coordinates_and_rotations_are_inverse_within_the_limits() -> None:
    anatomy = finger_anatomy()
    assert (anatomy.low <= 0).all() and (anatomy.high >= 0).all()
    fraction = torch.rand(3, 2, 30, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    coordinates = anatomy.low + (anatomy.high - anatomy.low) * fraction
    torch.testing.assert_close(finger_coordinates(finger_rotations(coordinates)), coordinates)


def test_straight_fingers_lie_in_the_palm(full: Body) -> None:
    R_world = finger_anatomy().R_straight.view(2, 5, 3, 3, 3)
    R_parent = R_world.clone()
    R_parent[:, :, 1:] = R_world[:, :, :-1].mT @ R_world[:, :, 1:]
    straight = relative_to_straight(R_parent.flatten(0, 2))
    torch.testing.assert_close(straight, torch.eye(3, dtype=torch.float64).expand(30, 3, 3))
    rest = full.rest_parameters()
    R = torch.cat([rest.R_parent_joint[:24], R_parent.flatten(0, 2).float()])
    posed = full.pose(replace(rest, R_parent_joint=R))
    joints = posed.joints[24:].view(2, 5, 3, 3)
    for first, second, third in joints[:, :4].flatten(0, 1):
        one, two = second - first, third - second
        assert torch.nn.functional.cosine_similarity(one, two, dim=0) > 0.9999
        assert abs(one[1]) < 0.05 * one.norm()


def test_bones_lead_from_the_wrist_to_the_fingertips(body: Body, full: Body) -> None:
    betas = torch.linspace(-1, 1, body.num_betas)
    shaped = full.shape(betas)
    bones = hand_bones(shaped)
    posed = full.pose(BodyParameters(betas, full.rest_parameters().R_parent_joint, shaped.joints[0]))
    tips = fingertips(posed)
    for s, side in enumerate(HAND_SIDES):
        for f, finger in enumerate(FINGERS):
            end = shaped.joints[ALL_JOINTS[f"{side}_wrist"]] + bones[s, f].sum(0)
            torch.testing.assert_close(end, tips[f"{side}_{finger}_tip"], atol=1e-5, rtol=0)


def test_only_the_whole_default_body_has_fingers(body: Body, full: Body) -> None:
    assert has_fingers(body) and not has_fingers(replace(body, identity="other sha256:0"))
    assert body_for(body.rest_parameters(), body) is body
    assert len(body_for(full.rest_parameters(), body).weights) == len(
        body_for(full.rest_parameters(), full).weights
    )
    for other in (replace(body, identity="other sha256:0"), body.with_vertices(torch.arange(10)), full):
        with pytest.raises(ValueError, match="whole default body"):
            with_fingers(other)
