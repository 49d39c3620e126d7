import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import JOINT, JOINT_NAMES
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.retargeting.ground import lowest_height
from selfmocap.datasets.retargeting.reference import drop_leading_pose, find_reference, reference_pose
from selfmocap.datasets.retargeting.retarget import fit_betas_to_joints, retarget, with_shape
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion, angle_deg
from tests.helpers.recordings import DATA, bvh_text, joints

LIMBS = [
    f"{side}_{part}" for part in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist") for side in ("l", "r")
]


def posed(*names: str, betas: torch.Tensor | None = None) -> BodyParameters:
    """Named poses one after the other, at different positions."""
    R = torch.stack([named_pose(name) for name in names]).double()
    p = torch.tensor([[0.4 * k, 0.9, -0.2 * k] for k in range(len(names))], dtype=torch.float64)
    return BodyParameters(torch.zeros(10, dtype=torch.float64) if betas is None else betas, R, p)


def as_skeleton(parameters: BodyParameters, body: Body, path: Path) -> SkeletonMotion:
    path.write_text(bvh_text(parameters, body, unit=1.0))
    return read_bvh(path)


def reference_of(motion: SkeletonMotion) -> SkeletonMotion:
    reference = reference_pose(motion)
    assert reference is not None
    return reference


def test_the_bodys_own_skeleton_round_trips(tmp_path: Path, body: Body) -> None:
    """Except for the fraction of the wrists' twist that forearms take, zero in these poses, and the toes."""
    written = posed("t", "run", "squat", "bend", "kick", "sit")
    motion = as_skeleton(written, body, tmp_path / "poses.bvh")
    again = retarget(motion, reference_of(motion), body)
    assert again.betas.norm() < 0.1
    a, b = (joints(p, body) for p in (again, written))
    lift = (a - b).mean((0, 1))
    assert lift[[0, 2]].abs().max() < 1e-3
    assert (a - b - lift).norm(dim=-1).max() < 2e-3
    assert angle_deg(again.R_parent_joint.double(), written.R_parent_joint).max() < 0.5


def test_shape_and_scale_follow_the_skeleton(tmp_path: Path, body: Body) -> None:
    tall = torch.tensor([2.0, *[0.0] * 9], dtype=torch.float64)
    written = posed("t", "run", betas=tall)
    motion = as_skeleton(written, body, tmp_path / "tall.bvh")
    again = retarget(motion, reference_of(motion), body)
    length = [body.shape(b).joints[JOINT["head"], 1] for b in (again.betas, tall.float(), torch.zeros(10))]
    assert abs(length[0] - length[1]) < 0.02 < abs(length[0] - length[2])


def test_given_betas_are_kept_and_the_path_is_scaled(tmp_path: Path, body: Body) -> None:
    written = posed("t", "run", "run")
    motion = as_skeleton(written, body, tmp_path / "a.bvh")
    tall = torch.tensor([2.5, *[0.0] * 9])
    again = retarget(motion, reference_of(motion), body, betas=tall)
    assert torch.equal(again.betas, tall)
    rest = [body.shape(b).joints for b in (tall, torch.zeros(10))]
    leg = [float((j[JOINT["left_hip"]] - j[JOINT["left_ankle"]]).norm()) for j in rest]
    step = (again.p_world_root[2] - again.p_world_root[1]).double()
    truth = written.p_world_root[2] - written.p_world_root[1]
    assert torch.allclose(step, truth * leg[0] / leg[1], atol=2e-3)


def test_the_lowest_frames_stand_on_the_ground_for_any_shape(tmp_path: Path, body: Body) -> None:
    motion = as_skeleton(posed("t", *["arms-down"] * 30, "kick"), body, tmp_path / "a.bvh")
    standing = retarget(motion, reference_of(motion), body)
    for parameters in (standing, with_shape(standing, body, torch.tensor([-2.0, 1.0, *[0.0] * 8]))):
        lowest = body.pose(parameters).vertices[..., 1].amin(1)
        assert lowest[1:31].abs().max() < 0.01
        assert abs(lowest_height(body, parameters)[1:31].max() - lowest[1:31].max()) < 0.01


def test_a_twisted_wrist_rotates_the_forearm_by_half(tmp_path: Path, body: Body) -> None:
    written = posed("t", "t")
    R = written.R_parent_joint.clone()
    R[1, JOINT["left_wrist"]] = roma.rotvec_to_rotmat(torch.tensor([1.2, 0, 0]).double())
    motion = as_skeleton(replace(written, R_parent_joint=R), body, tmp_path / "a.bvh")
    again = retarget(motion, reference_of(motion), body).R_parent_joint[1]
    for joint in ("left_elbow", "left_wrist"):
        assert roma.rotmat_to_rotvec(again[JOINT[joint]]).tolist() == pytest.approx([0.6, 0, 0], abs=0.03)


def test_a_skeleton_that_rests_with_hanging_arms_moves_the_same(tmp_path: Path, body: Body) -> None:
    """The same motion written on a skeleton whose unrotated pose has its arms down and legs apart."""
    written = posed("t", "run", "squat")
    t_posed = as_skeleton(written, body, tmp_path / "a.bvh")
    hang = torch.eye(3, dtype=torch.float64).repeat(len(t_posed.joint_names), 1, 1)
    for name, rotvec in (
        ("left_shoulder", -1.4),
        ("right_shoulder", 1.4),
        ("left_hip", 0.3),
        ("right_hip", -0.3),
    ):
        R = roma.rotvec_to_rotmat(torch.tensor([0, 0, rotvec]).double())
        hang[t_posed.joint_names.index(name)] = R
    world = replace(t_posed, R_parent_joint=hang[None], p_world_root=torch.zeros(1, 3).double()).world()[0][0]
    parents = torch.tensor([max(parent, 0) for parent in t_posed.parents])
    hanging = replace(
        t_posed,
        offsets=(world[parents] @ t_posed.offsets[..., None])[..., 0],
        R_parent_joint=world[parents] @ t_posed.R_parent_joint @ world.mT,
    )
    hanging.R_parent_joint[:, 0] = t_posed.R_parent_joint[:, 0] @ world[0].mT
    assert torch.allclose(hanging.world()[1], t_posed.world()[1], atol=1e-9)
    still = hanging.frames(slice(1))
    still = replace(still, R_parent_joint=torch.eye(3).double().expand_as(still.R_parent_joint))
    a, b = (retarget(m, r, body) for m, r in ((hanging, still), (t_posed, reference_of(t_posed))))
    assert angle_deg(a.R_parent_joint.double(), b.R_parent_joint.double()).max() < 2.0
    assert (joints(a, body) - joints(b, body)).norm(dim=-1).max() < 0.01


def test_a_t_pose_put_first_is_dropped_and_used(tmp_path: Path, body: Body) -> None:
    motion = as_skeleton(posed("t", *["run"] * 40), body, tmp_path / "a.bvh")
    assert len(drop_leading_pose(motion)) == 40
    assert len(drop_leading_pose(drop_leading_pose(motion))) == 40


def test_a_recording_without_any_t_pose_borrows_one_of_the_same_skeleton(tmp_path: Path, body: Body) -> None:
    complete = as_skeleton(posed("t", "run", "squat"), body, tmp_path / "complete.bvh")
    crooked = roma.rotvec_to_rotmat(torch.tensor([1.5, 0.5, 0.2]).double())
    knees = [complete.joint_names.index(name) for name in ("left_knee", "right_knee", "left_elbow", "spine2")]
    offsets = complete.offsets.clone()
    offsets[knees] = offsets[knees] @ crooked
    odd = replace(complete, offsets=offsets)
    assert reference_pose(odd) is None
    assert find_reference(complete.frames(slice(1, None)), [reference_of(complete)]) is not None
    with pytest.raises(ValueError, match="odd.*T-pose"):
        find_reference(replace(odd, name="odd"), [reference_of(complete)])


def test_a_skeleton_that_is_no_person_is_refused(tmp_path: Path, body: Body) -> None:
    motion = as_skeleton(posed("t"), body, tmp_path / "a.bvh")
    chain = replace(
        motion,
        joint_names=tuple(f"bone{k}" for k in range(len(motion.joint_names))),
        parents=tuple(range(-1, len(motion.parents) - 1)),
    )
    with pytest.raises(ValueError, match="a: a skeleton of an unknown kind; expected two legs.* found bone0"):
        reference_pose(chain)


def test_betas_are_those_of_the_lengths(body: Body) -> None:
    truth = torch.tensor([1.0, -0.5, *[0.0] * 8])
    points = dict(zip(JOINT_NAMES, body.shape(truth).joints.double(), strict=True))
    joints_found = body.shape(fit_betas_to_joints(points, body)).joints
    assert (joints_found - body.shape(truth).joints).norm(dim=-1).max() < 0.03


REAL = (
    "cmu_02_04.amc",
    "cmu_jumpingjacks.bvh",
    "cmuexp_test_running_1.txt",
    "cmucc_07_05.bvh",
    "cmudaz_10_03.bvh",
)


def test_real_recordings_of_every_rig_stay_near_their_reference_joints(tmp_path: Path, body: Body) -> None:
    from selfmocap.datasets.motions_folder import load_motions

    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent")
    for name in REAL:
        (tmp_path / name).write_bytes(lzma.decompress((DATA / "originals" / f"{name}.xz").read_bytes()))
    (tmp_path / "02.asf").write_bytes((DATA / "skeletons" / "02.asf").read_bytes())
    rows = (DATA / "motions.csv").read_text().splitlines()
    kept = [rows[0], *(row for row in rows if row.startswith(REAL))]
    (tmp_path / "motions.csv").write_text("\n".join(kept) + "\n")
    clips = load_motions(tmp_path, body)
    assert [clip.name for clip in clips] == sorted(Path(name).stem for name in REAL)
    for clip in clips:
        with np.load(DATA / "joints" / f"{clip.name}.npz") as reference:
            names = list(reference["names"])
            truth = reference["joints"][:, [names.index(name) for name in LIMBS]]
        limb_joints = [JOINT[name.replace("l_", "left_").replace("r_", "right_")] for name in LIMBS]
        estimate = joints(clip.parameters, body)[:, limb_joints].numpy()
        frames = min(len(estimate), len(truth))
        assert abs(len(estimate) - len(truth)) <= 2
        a, b = (
            estimate[:frames] - estimate[:frames].mean((0, 1)),
            truth[:frames] - truth[:frames].mean((0, 1)),
        )
        scale = (a * b).sum() / (a * a).sum()
        assert 0.9 < scale < 1.1
        assert np.linalg.norm(scale * a - b, axis=-1).mean() < 0.045, clip.name
        assert lowest_height(body, clip.parameters).min() > -0.06


def test_amc_elbows_bend_about_the_bodys_hinge(tmp_path: Path, body: Body) -> None:
    """Measured twist carries over: forearms bend forwards of a T with the palms down, that is about -y on the left
    and +y on the right, and knees about +x."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is absent")
    path = tmp_path / "cmu_01_01.amc"
    path.write_bytes(lzma.decompress((DATA / "originals" / "cmu_01_01.amc.xz").read_bytes()))
    motion = read_amc(path, DATA / "skeletons" / "01.asf").resampled(10.0)
    R = retarget(motion, reference_of(motion), body).R_parent_joint
    for joint, axis in (("left_elbow", [0, -1, 0]), ("right_elbow", [0, 1, 0]), ("left_knee", [1, 0, 0])):
        rotvec = roma.rotmat_to_rotvec(R[:, JOINT[joint]])
        bent = rotvec[rotvec.norm(dim=1) > 0.6].mean(0)
        assert bent @ torch.tensor(axis).float() / bent.norm() > 0.75, joint
