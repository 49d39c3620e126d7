from dataclasses import replace

import numpy as np
import pytest
import roma
import torch

from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.cmu_exponential import CMU_UNIT, read_cmu_exponential
from selfmocap.datasets.retargeting.repair import repair_recording
from selfmocap.datasets.retargeting.skeletons import SkeletonMotion, angle_deg
from tests.helpers.recordings import DATA, asf_amc_text, bvh_text, joints, random_motion


def by_name(motion, names):
    return motion.world()[1][:, [motion.joint_names.index(name) for name in names]]


@pytest.mark.parametrize(("unit", "order"), [(0.01, "ZXY"), (1.0, "XYZ"), (0.0254 / 0.45, "ZYX")])
def test_bvh_returns_the_joints_that_were_written(tmp_path, body, unit, order):
    written = random_motion(7)
    path = tmp_path / "walk.bvh"
    path.write_text(bvh_text(written, body, unit, order, fps=60.0))
    motion = read_bvh(path, subject="me")
    assert (motion.name, motion.subject) == ("walk", "me")
    assert motion.fps == pytest.approx(60, rel=1e-4)
    assert torch.allclose(by_name(motion, JOINT_NAMES), joints(written, body), atol=1e-5)
    assert read_bvh(path, fps=30.0).fps == 30
    assert "left_hand_end" in motion.joint_names


def test_bvh_of_the_cgspeed_kind_gets_its_thorax_back():
    motion = read_bvh_of("cmu_jumpingjacks")
    offset = motion.offsets[motion.joint_names.index("LeftCollar")]
    assert offset.norm() == pytest.approx(0.117, abs=0.003)


def read_bvh_of(name):
    import lzma
    import tempfile
    from pathlib import Path

    packed = DATA / "originals" / f"{name}.bvh.xz"
    if not packed.is_file():
        pytest.skip(f"{packed} is absent")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.bvh"
        path.write_bytes(lzma.decompress(packed.read_bytes()))
        return read_bvh(path)


def test_amc_returns_the_joints_that_were_written(tmp_path, body):
    written = random_motion(5, seed=3)
    asf, amc = asf_amc_text(written, body)
    (tmp_path / "01.asf").write_text(asf)
    (tmp_path / "01_01.amc").write_text(amc)
    motion = read_amc(tmp_path / "01_01.amc", tmp_path / "01.asf", fps=100.0)
    assert motion.fps == 100
    names = ["root", *JOINT_NAMES[1:]]
    assert torch.allclose(by_name(motion, names), joints(written, body), atol=1e-5)


def test_exponential_maps_are_of_inverse_rotations(tmp_path):
    """One turn of the left hip about +x of 90 degrees swings the thigh, which points down and outwards, backwards."""
    row = np.zeros(117)
    row[1] = 18
    row[3 + 3 * 2] = -np.pi / 2
    path = tmp_path / "kick.txt"
    path.write_text(",".join(map(str, row)) + "\n")
    motion = read_cmu_exponential(path)
    hip, knee = (by_name(motion, [name])[0, 0] for name in ("LeftHip", "LeftKnee"))
    assert torch.allclose((knee - hip) / CMU_UNIT, torch.tensor([2.5972, 0, -7.13576]).double(), atol=1e-6)
    assert motion.p_world_root[0, 1] == pytest.approx(18 * CMU_UNIT)


BVH = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
BVH += "End Site\n{\nOFFSET 0 1 0\n}\n}\nMOTION\nFrames: 1\nFrame Time: 0.03\n0 0 0 0 0 0\n"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("MOTION", "MOTIONS"), "MOTION"),
        (("OFFSET 0 0 0", "OFFSET 0 zero 0"), r"line 4.*zero"),
        (("OFFSET 0 0 0", "OFFSET 0 nan 0"), r"line 4.*finite"),
        (("CHANNELS 6", "CHANNELS 5"), "line 5"),
        (("Zrotation Xrotation", "Zrotation Zrotation"), "line 5.*3 rotation channels"),
        (("Frames: 1", "Frames: 9"), "9.*1 follow"),
        (("Frames: 1", "Frames: one"), "Frames: N"),
        (("0 0 0 0 0 0", "0 0 0 0 0"), "expected 6 numbers"),
        (("0 0 0 0 0 0", "0 0 0 0 0 inf"), "not finite"),
        (("0 0 0 0 0 0\n", ""), "no frames"),
        (("Frame Time: 0.03", "Frame Time: 0"), "frame time"),
        (("}\n}\n", "}\n"), "not complete"),
        (("End Site\n{\n", "ROOT b\n{\n"), "line 6"),
    ],
)
def test_a_malformed_bvh_names_file_and_place(tmp_path, change, says):
    path = tmp_path / "bad.bvh"
    path.write_text(BVH)
    assert len(read_bvh(path)) == 1
    assert BVH != BVH.replace(*change)
    path.write_text(BVH.replace(*change))
    with pytest.raises(ValueError, match=rf"bad\.bvh.*{says}"):
        read_bvh(path)


@pytest.mark.parametrize(
    ("of", "change", "says"),
    [
        ("a.asf", (":bonedata", ":bones"), "bonedata"),
        ("a.asf", (" length 0.45", " length -1"), "line 4"),
        ("a.asf", ("axis XYZ", "axis ZYX"), "only XYZ"),
        ("a.asf", ("dof rx ry rz", "dof rx ry l"), "only rx"),
        ("a.asf", ("to_head head\n", "to_head\n"), "not connected to the root: head"),
        ("a.asf", ("to_head head\n", "to_head nobody\n"), "nobody"),
        ("a.amc", ("left_hip ", "left_hop "), r"line \d+.*left_hop"),
        ("a.amc", ("2\nroot", "2\nroot 1"), r"line \d+"),
        ("a.amc", ("left_hip ", "left_hip x"), "x"),
        ("a.amc", (":DEGREES", ":RADIANS"), "radians"),
    ],
)
def test_a_malformed_amc_names_file_and_place(tmp_path, body, of, change, says):
    texts = dict(zip(("a.asf", "a.amc"), asf_amc_text(random_motion(3), body), strict=True))
    assert change[0] in texts[of]
    texts[of] = texts[of].replace(*change)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{of.replace('.', '[.]')}.*{says}"):
        read_amc(tmp_path / "a.amc", tmp_path / "a.asf")


def test_a_cut_off_amc_says_what_the_last_frame_lacks(tmp_path, body):
    asf, amc = asf_amc_text(random_motion(3), body)
    (tmp_path / "a.asf").write_text(asf)
    (tmp_path / "a.amc").write_text("\n".join(amc.splitlines()[:-3]) + "\n")
    with pytest.raises(ValueError, match="frame 3 lacks right_wrist"):
        read_amc(tmp_path / "a.amc", tmp_path / "a.asf")


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
