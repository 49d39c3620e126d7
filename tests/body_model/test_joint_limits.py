import math

import pytest
import roma
import torch

from selfmocap.body_model.joint_limits import (
    clamp_to_limits,
    coordinate_limits,
    excess_angle,
    from_coordinates,
    repair_rotations,
    to_coordinates,
)
from selfmocap.body_model.named_poses import NAMED_POSES, named_pose
from selfmocap.body_model.skeleton import JOINT, JOINT_MIRROR
from selfmocap.datasets.retargeting.skeletons import angle_deg


def turned(joint: str, x: float, y: float, z: float, frames: int = 1) -> torch.Tensor:
    R = torch.eye(3).repeat(frames, 24, 1, 1)
    R[:, JOINT[joint]] = roma.rotvec_to_rotmat(torch.tensor([x, y, z]).deg2rad())
    return R


@pytest.mark.parametrize("batch", [(), (1,), (3, 2)])
def test_coordinates_are_inverted(batch: tuple[int, ...]) -> None:
    R = roma.random_rotmat((*batch, 24), dtype=torch.float64)
    assert torch.allclose(from_coordinates(to_coordinates(R)), R, atol=1e-9)


def test_a_rotation_about_one_axis_is_one_coordinate() -> None:
    """For an arm, whose bone is x, and a leg, whose bone is y, both twist and swing."""
    for joint in ("left_shoulder", "left_hip"):
        for axis in range(3):
            angles = [0.0, 0.0, 0.0]
            angles[axis] = 40.0
            found = to_coordinates(turned(joint, *angles))[0, JOINT[joint]].rad2deg()
            assert found.tolist() == pytest.approx(angles, abs=1e-3)


def test_limits_are_mirrored() -> None:
    low, high = coordinate_limits()
    assert torch.equal(low[:, 0], low[list(JOINT_MIRROR), 0])
    assert torch.equal(low[1:, 1:], -high[list(JOINT_MIRROR), 1:][1:])
    assert (low < high).all()


@pytest.mark.parametrize("name", NAMED_POSES)
def test_named_poses_are_within_the_limits(name: str) -> None:
    assert excess_angle(named_pose(name)).max() == 0


@pytest.mark.parametrize(
    ("joint", "angles", "excess"),
    [
        ("left_knee", (-60, 0, 0), 52),
        ("right_knee", (-60, 0, 0), 52),
        ("left_elbow", (0, 60, 0), 50),
        ("right_elbow", (0, -60, 0), 50),
        ("head", (0, 170, 0), 110),
    ],
)
def test_excess_is_measured_and_clamped(joint: str, angles: tuple[float, ...], excess: float) -> None:
    R = turned(joint, *map(float, angles))
    assert excess_angle(R)[0, JOINT[joint]].rad2deg().item() == pytest.approx(excess, abs=0.1)
    clamped = clamp_to_limits(R)
    assert excess_angle(clamped).max() < 1e-5
    assert angle_deg(clamped[0, JOINT[joint]], R[0, JOINT[joint]]).item() == pytest.approx(excess, abs=0.1)


def test_rotations_within_the_limits_are_unchanged() -> None:
    R = named_pose("run")
    assert torch.equal(clamp_to_limits(R), R)
    assert torch.equal(repair_rotations(R[None]), R[None])


def test_a_head_turned_back_to_front_is_interpolated() -> None:
    R = turned("head", 0.0, 0.0, 0.0, frames=40)
    R[:, JOINT["head"]] = roma.rotvec_to_rotmat(torch.tensor([[0.0, 0.01 * k, 0.0] for k in range(40)]))
    wrong = R.clone()
    wrong[15:25, JOINT["head"]] = roma.rotvec_to_rotmat(torch.tensor([0.0, math.pi - 0.1, 0.0]))
    assert angle_deg(repair_rotations(wrong), R).max() < 0.1


def test_a_joint_without_valid_rotations_is_set_to_rest() -> None:
    assert torch.equal(
        repair_rotations(turned("left_foot", 0.0, 170.0, 0.0, frames=9)), torch.eye(3).repeat(9, 24, 1, 1)
    )
