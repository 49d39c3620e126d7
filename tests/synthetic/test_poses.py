from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.joint_limits import coordinate_limits, excess_angle
from selfmocap.body_model.named_poses import named_pose, pose_from_degrees
from selfmocap.body_model.skeleton import JOINT, JOINT_MIRROR
from selfmocap.datasets.motions_folder import Recording
from selfmocap.datasets.retargeting.ground import lowest_height
from selfmocap.datasets.retargeting.skeletons import angle_deg
from selfmocap.synthetic.motion_augmentation import (
    MotionAugmentation,
    augment_motions,
    mirror_motion,
    mix_motions,
    sample_procedural_motion,
    separate_limbs,
    warp_time,
)
from selfmocap.synthetic.penetration import _segment_distance, body_capsules, penetration_depth
from selfmocap.synthetic.pose_kinds import POSE_KINDS, RELAXED_RANGES

GREATEST = MotionAugmentation().max_penetration


def joints(parameters: BodyParameters, body: Body) -> torch.Tensor:
    rest = body.shape(parameters.betas).joints
    return forward_kinematics(parameters.R_parent_joint, rest, parameters.p_world_root)[1]


def depth_of(parameters: BodyParameters, body: Body) -> torch.Tensor:
    rest = body.shape(parameters.betas).joints
    R, p = forward_kinematics(parameters.R_parent_joint, rest, parameters.p_world_root)
    return penetration_depth(body_capsules(body, parameters.betas), R, p)


def still(R: torch.Tensor, frames: int = 1) -> BodyParameters:
    return BodyParameters(
        torch.zeros(10), R.expand(frames, 24, 3, 3), torch.tensor([[0.0, 1.0, 0.0]]).expand(frames, 3)
    )


def moving(first: str, second: str, frames: int = 61) -> BodyParameters:
    fraction = torch.linspace(0, 1, frames)[:, None, None]
    rotvec = [roma.rotmat_to_rotvec(named_pose(name)) for name in (first, second)]
    R = roma.rotvec_to_rotmat(torch.lerp(*rotvec, fraction))
    return BodyParameters(
        torch.zeros(10), R, torch.cat([fraction[..., 0], 1 + 0 * fraction[..., 0], fraction[..., 0]], 1)
    )


@pytest.fixture(scope="module")
def clips() -> list[Recording]:
    pairs = (("run", "kick"), ("arms-down", "squat"), ("bend", "twist"))
    return [Recording(f"{a}-{b}", "me", 30.0, moving(a, b)) for a, b in pairs]


def test_a_mirror_image_swaps_sides_and_is_its_own_inverse(body: Body) -> None:
    motion = moving("run", "kick")
    image = mirror_motion(motion)
    reflected = joints(motion, body)[:, list(JOINT_MIRROR)] * torch.tensor([-1.0, 1, 1])
    assert (joints(image, body) - reflected).norm(dim=-1).max() < 2e-3
    assert torch.equal(mirror_motion(image).R_parent_joint, motion.R_parent_joint)
    assert torch.allclose(torch.linalg.det(image.R_parent_joint), torch.tensor(1.0))


def test_mixing_takes_arms_from_one_and_legs_and_path_from_the_other() -> None:
    upper, lower = moving("arms-up", "arms-up"), moving("run", "squat")
    both = mix_motions(upper, lower)
    for name, source in (("left_elbow", upper), ("spine3", upper), ("left_knee", lower), ("pelvis", lower)):
        assert torch.equal(both.R_parent_joint[:, JOINT[name]], source.R_parent_joint[:, JOINT[name]])
    assert torch.equal(both.p_world_root, lower.p_world_root)


def test_warped_time_follows_the_same_path_within_the_speeds() -> None:
    motion = moving("t", "run", frames=90)
    warped = warp_time(motion, 300, np.random.default_rng(0), 0.5, 2.0)
    position = warped.p_world_root[:, 0] * 89
    step = position.diff().abs()
    assert step.max() <= 2.0 + 1e-3
    assert step.median() > 0.5
    assert torch.allclose(warped.p_world_root[:, 0], warped.p_world_root[:, 2])
    nearest = motion.R_parent_joint[position.round().long()]
    assert angle_deg(warped.R_parent_joint, nearest).max() < 1.0


@pytest.mark.parametrize("kind", POSE_KINDS, ids=lambda kind: kind.name)
def test_drawn_poses_keep_limits_ground_and_speed(body: Body, kind) -> None:
    rng = np.random.default_rng(1)
    motion = sample_procedural_motion(kind, body, 120, 30.0, rng, (0.6, 2.2))
    assert excess_angle(motion.R_parent_joint).max() < 1e-5
    assert lowest_height(body, motion).abs().max() < 1e-4
    assert body.pose(motion).vertices[..., 1].amin(1).min() > -0.04
    speed = angle_deg(motion.R_parent_joint[1:], motion.R_parent_joint[:-1]).max() * 30
    assert 10 < speed < 900
    assert joints(motion, body)[:, JOINT["pelvis"], 1].max() < 1.3


def test_ranges_lie_within_the_limits() -> None:
    low, high = (bound.rad2deg() for bound in coordinate_limits())
    for kind in POSE_KINDS:
        for name, ranges in (RELAXED_RANGES | kind.joints).items():
            for axis, (least, greatest) in enumerate(ranges):
                assert low[JOINT[name], axis] - 1e-3 <= least <= greatest <= high[JOINT[name], axis] + 1e-3, (
                    name
                )


def test_each_kind_has_its_typical_heights(body: Body) -> None:
    """Heights over the ground, metres: of a 1.7 m body, on the mean of a clip."""
    expected = {
        "standing": ("head", 1.35, 1.65),
        "sitting": ("pelvis", 0.3, 0.75),
        "sitting on the floor": ("pelvis", 0.05, 0.35),
        "squatting": ("pelvis", 0.2, 0.65),
        "kneeling": ("pelvis", 0.2, 0.65),
        "on all fours": ("pelvis", 0.3, 0.7),
        "lying on the back": ("head", 0.0, 0.4),
        "lying face down": ("head", 0.0, 0.4),
    }
    for kind in POSE_KINDS:
        if kind.name in expected:
            name, least, greatest = expected[kind.name]
            motion = sample_procedural_motion(kind, body, 240, 30.0, np.random.default_rng(5), (0.6, 2.2))
            height = joints(motion, body)[:, JOINT[name], 1].mean()
            assert least < height < greatest, (kind.name, height)
    overhead = next(kind for kind in POSE_KINDS if kind.name == "arms overhead")
    motion = sample_procedural_motion(overhead, body, 240, 30.0, np.random.default_rng(5), (0.6, 2.2))
    elbows = joints(motion, body)[:, [JOINT["left_elbow"], JOINT["right_elbow"]], 1]
    assert (elbows > joints(motion, body)[:, JOINT["neck"], None, 1]).float().mean() > 0.9


# ---- penetration -----------------------------------------------------------------------------------------------


def test_segment_distance_is_that_of_the_nearest_points() -> None:
    ends = torch.randn(4, 200, 3, dtype=torch.float64)
    ends[3, :50] = ends[2, :50] + (ends[1, :50] - ends[0, :50]) * 0.7
    fraction = torch.linspace(0, 1, 201, dtype=torch.float64)[:, None, None]
    a, b = ends[0] + fraction * (ends[1] - ends[0]), ends[2] + fraction * (ends[3] - ends[2])
    brute = (a[:, None] - b[None]).norm(dim=-1).flatten(0, 1).amin(0)
    distance = _segment_distance(*ends)
    assert (distance <= brute + 1e-9).all()
    assert (brute - distance).max() < 0.02


def test_penetration_is_zero_for_free_limbs_and_positive_for_arms_in_the_trunk(body: Body) -> None:
    for name in ("t", "arms-up", "run", "kick"):
        assert depth_of(still(named_pose(name)), body).max() < 0.01, name
    through = pose_from_degrees(
        {"right_shoulder": (0, 0, 68), "left_shoulder": (0, 0, -80), "left_elbow": (0, 0, -95)}
    )
    assert depth_of(still(through), body).max() > 0.04


def test_only_penetrating_limbs_are_moved(body: Body) -> None:
    free = moving("arms-down", "run", 60)
    assert separate_limbs(free, body, GREATEST) is free
    R = named_pose("arms-down").repeat(120, 1, 1, 1)
    crossed = pose_from_degrees(
        {"right_shoulder": (0, 0, 68), "left_shoulder": (0, 0, -80), "left_elbow": (0, 0, -95)}
    )
    ease = torch.sin(torch.linspace(0, torch.pi, 40))[:, None]
    R[40:80] = R[40:80] @ roma.rotvec_to_rotmat(ease[..., None] * roma.rotmat_to_rotvec(R[:1].mT @ crossed))
    motion = still(R, 120)
    motion = replace(motion, p_world_root=motion.p_world_root.clone())
    assert depth_of(motion, body).max() > GREATEST
    moved = separate_limbs(motion, body, GREATEST)
    assert depth_of(moved, body).max() <= GREATEST + 1e-6
    assert torch.equal(moved.R_parent_joint[:25], motion.R_parent_joint[:25])
    rotation_deg = angle_deg(moved.R_parent_joint[1:], moved.R_parent_joint[:-1]).max()
    assert rotation_deg < angle_deg(motion.R_parent_joint[1:], motion.R_parent_joint[:-1]).max() + 8


# ---- all of it -------------------------------------------------------------------------------------------------


def test_augmented_motions_keep_limits_and_bounds_and_are_deterministic(
    body: Body, clips: list[Recording]
) -> None:
    augmented = augment_motions(clips, body, 24, seed=7, seconds=2.0)
    again = augment_motions(clips, body, 24, seed=7, seconds=2.0)
    other = augment_motions(clips, body, 24, seed=8, seconds=2.0)
    for a, b, c in zip(augmented, again, other, strict=True):
        assert a.name == b.name
        for field in ("betas", "R_parent_joint", "p_world_root"):
            assert torch.equal(getattr(a.parameters, field), getattr(b.parameters, field))
        assert not torch.equal(a.parameters.R_parent_joint, c.parameters.R_parent_joint)
        assert a.parameters.R_parent_joint.shape == (60, 24, 3, 3)
        assert excess_angle(a.parameters.R_parent_joint).max() < 1e-5
        assert depth_of(a.parameters, body).max() <= GREATEST + 1e-6
    names = " ".join(clip.name for clip in augmented)
    assert "mirrored" in names and " on " in names and any(kind.name in names for kind in POSE_KINDS)


def test_a_motion_does_not_depend_on_their_number(body: Body) -> None:
    few, many = (augment_motions([], body, count, seed=3, seconds=1.0) for count in (2, 5))
    assert torch.equal(few[1].parameters.R_parent_joint, many[1].parameters.R_parent_joint)


def test_recordings_of_another_rate_are_refused(body: Body, clips: list[Recording]) -> None:
    with pytest.raises(ValueError, match="60.0 frames a second"):
        augment_motions(clips, body, 1, seed=0, fps=60.0)
