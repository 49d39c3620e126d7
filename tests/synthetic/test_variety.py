"""Synthetic people in poses that are not in the recordings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body, forward_kinematics
from selfmocap.body_model.joint_limits import clamp_to_limits, coordinate_limits, excess_angle, to_coordinates
from selfmocap.body_model.skeleton import JOINT
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.keypoint_scene import sample_keypoint_scene
from selfmocap.synthetic.motion_augmentation import mirror_rotations
from selfmocap.synthetic.motions import PoseSequences, procedural_motions, sample_poses
from selfmocap.synthetic.penetration import body_capsules, penetration_depth
from selfmocap.synthetic.pose_variety import PoseVariety, sample_varied_poses

ALWAYS = PoseVariety(fraction=1.0)


@pytest.fixture(scope="module")
def motions(body: Body):
    return procedural_motions(body, count=5)


@pytest.fixture(scope="module")
def plain(motions) -> PoseSequences:
    return sample_poses(np.random.default_rng(3), motions, 24, 4, 30.0)


def varied(variety: PoseVariety, motions, body: Body) -> PoseSequences:
    return sample_varied_poses(np.random.default_rng(3), variety, motions, 24, 4, 30.0, body)


def changed(poses: PoseSequences, plain: PoseSequences) -> torch.Tensor:
    return (poses.R_parent_joint != plain.R_parent_joint).flatten(1).any(1)


def test_the_fraction_decides_how_many_people_change(body: Body, motions, plain: PoseSequences) -> None:
    unchanged = varied(PoseVariety(fraction=0.0), motions, body)
    assert torch.equal(unchanged.R_parent_joint, plain.R_parent_joint)
    assert torch.equal(unchanged.p_world_root, plain.p_world_root)
    all_changed = varied(ALWAYS, motions, body)
    assert changed(all_changed, plain).float().mean() > 0.6
    assert torch.equal(all_changed.R_parent_joint, varied(ALWAYS, motions, body).R_parent_joint)


def test_limbs_are_those_of_other_people_or_mirror_images(body: Body, motions, plain: PoseSequences) -> None:
    poses = varied(replace(ALWAYS, max_joint_offset=0.0, limb_fraction=0.5), motions, body)
    sides = clamp_to_limits(torch.cat([plain.R_parent_joint, mirror_rotations(plain.R_parent_joint)]))
    arm = [JOINT[f"left_{part}"] for part in ("shoulder", "elbow", "wrist")]
    others = 0
    for limb, own in zip(poses.R_parent_joint[:, :, arm], plain.R_parent_joint[:, :, arm], strict=True):
        distance = (sides[:, :, arm] - limb).flatten(1).abs().amax(1)
        assert distance.min() < 1e-4 or torch.equal(limb, own)
        others += not torch.equal(limb, own)
    assert 4 < others < 20
    assert torch.equal(poses.R_parent_joint[:, :, 0], plain.R_parent_joint[:, :, 0])


def test_joints_keep_their_limits_limbs_stay_apart_and_the_lowest_joint_its_height(
    body: Body, motions, plain: PoseSequences
) -> None:
    poses = varied(replace(ALWAYS, max_joint_offset=0.6), motions, body)
    rows = changed(poses, plain)
    rest = body.shape(torch.zeros(body.num_betas)).joints
    assert excess_angle(poses.R_parent_joint[rows]).max() < 1e-3
    R, p = forward_kinematics(poses.R_parent_joint, rest, poses.p_world_root)
    _, before = forward_kinematics(plain.R_parent_joint, rest, plain.p_world_root)
    assert (
        penetration_depth(body_capsules(body, torch.zeros(body.num_betas)), R, p)[rows].max()
        <= ALWAYS.max_penetration
    )
    torch.testing.assert_close(p[..., 1].amin((1, 2)), before[..., 1].amin((1, 2)), atol=1e-4, rtol=0)


def test_a_rotation_is_the_same_in_all_frames(body: Body, motions, plain: PoseSequences) -> None:
    poses = varied(replace(ALWAYS, limb_fraction=0.0), motions, body)
    rotation = plain.R_parent_joint.mT @ poses.R_parent_joint
    low, high = coordinate_limits()
    coordinates = to_coordinates(poses.R_parent_joint)
    within = (
        ((coordinates > low + 1e-3) & (coordinates < high - 1e-3))
        .all(-1)[..., None, None]
        .all(1, keepdim=True)
    )
    drift = torch.where(within, rotation - rotation[:, :1], 0.0)
    assert within[:, :, 1:].float().mean() > 0.3
    assert drift[:, :, 1:].abs().max() < 1e-4


def test_scenes_vary_if_configured(body: Body, motions) -> None:
    config = SyntheticConfig(clips=6)
    plain, others = (
        sample_keypoint_scene(0, c, motions, body) for c in (config, replace(config, variety=ALWAYS))
    )
    assert not torch.equal(plain.truth.R_parent_joint, others.truth.R_parent_joint)
    assert torch.isfinite(others.truth.p_world_root).all()
