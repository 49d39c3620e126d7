from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from selfmocap.datasets.retargeting.repair import repair_recording
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion, angle_deg


def turning(frames, fps=120.0):
    """Two joints that turn steadily."""
    angle = torch.arange(frames, dtype=torch.float64)[:, None] * torch.tensor([0.01, 0.02])
    R = roma.rotvec_to_rotmat(torch.stack([angle, 0 * angle, 0 * angle], -1).double())
    p = torch.arange(frames, dtype=torch.float64)[:, None] * torch.tensor([0.01, 0, 0])
    return SkeletonMotion(
        "m", "s", fps, ("a", "b"), (-1, 0), torch.tensor([[0, 0, 0], [0, 1.0, 0]]).double(), R, p
    )


def test_resampling_keeps_frames_and_interpolates_between():
    motion = turning(121)
    quarter = motion.resampled(30.0)
    assert len(quarter) == 31
    assert torch.equal(quarter.R_parent_joint, motion.R_parent_joint[::4])
    dense = motion.resampled(240.0)
    assert len(dense) == 241
    assert torch.allclose(dense.p_world_root[1], motion.p_world_root[:2].mean(0))
    half_step = angle_deg(dense.R_parent_joint[0, 1], dense.R_parent_joint[1, 1])
    assert half_step == pytest.approx(np.degrees(0.01), rel=1e-6)
    assert len(turning(100, fps=59.999).resampled(30.0)) == 50


def test_a_jerk_of_one_joint_is_interpolated():
    motion = turning(60)
    R = motion.R_parent_joint.clone()
    R[30:32, 1] = R[30:32, 1] @ roma.rotvec_to_rotmat(torch.tensor([0, 0.8, 0]).double())
    (piece,) = repair_recording(replace(motion, R_parent_joint=R))
    assert angle_deg(piece.R_parent_joint, motion.R_parent_joint).max() < 1e-3


def test_a_short_dropout_that_ends_in_a_jump_is_interpolated():
    motion = turning(100)
    R, p = motion.R_parent_joint.clone(), motion.p_world_root.clone()
    R[40:60], p[40:60] = R[39], p[39]
    (piece,) = repair_recording(replace(motion, R_parent_joint=R, p_world_root=p))
    assert (piece.p_world_root - motion.p_world_root).norm(dim=1).max() < 2e-3


def test_a_long_dropout_splits_the_recording():
    motion = turning(400)
    R, p = motion.R_parent_joint.clone(), motion.p_world_root.clone()
    R[150:200], p[150:200] = R[149], p[149]
    pieces = repair_recording(replace(motion, R_parent_joint=R, p_world_root=p))
    assert [piece.name for piece in pieces] == ["m", "m#2"]
    assert [abs(len(piece) - n) <= 3 for piece, n in zip(pieces, (150, 200), strict=True)] == [True, True]


def test_a_steady_motion_is_left_alone():
    motion = turning(60)
    (piece,) = repair_recording(motion)
    assert torch.equal(piece.R_parent_joint, motion.R_parent_joint)
