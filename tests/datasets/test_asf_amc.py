import numpy as np
import pytest
import torch

from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.datasets.asf_amc import read_amc
from selfmocap.datasets.cmu_exponential import CMU_UNIT, read_cmu_exponential
from tests.helpers.recordings import asf_amc_text, by_name, joints, random_motion


def test_amc_returns_the_joints_that_were_written(tmp_path, body):
    written = random_motion(5, seed=3)
    asf, amc = asf_amc_text(written, body)
    (tmp_path / "01.asf").write_text(asf)
    (tmp_path / "01_01.amc").write_text(amc)
    motion = read_amc(tmp_path / "01_01.amc", tmp_path / "01.asf", fps=100.0)
    assert motion.fps == 100
    names = ["root", *JOINT_NAMES[1:]]
    assert torch.allclose(by_name(motion, names), joints(written, body), atol=1e-5)


@pytest.mark.parametrize(
    ("of", "change", "message"),
    [
        ("a.asf", (":bonedata", ":bones"), "bonedata"),
        ("a.asf", (" length 0.45", " length -1"), "line 4"),
        ("a.asf", ("axis XYZ", "axis ZYX"), "only XYZ"),
        ("a.asf", ("dof rx ry rz", "dof rx ry l"), "only rx"),
        ("a.asf", ("to_head head\n", "to_head\n"), "not connected to the root: head"),
        ("a.asf", ("to_head head\n", "to_head hat\n"), "hat"),
        ("a.amc", ("left_hip ", "left_hop "), r"line \d+.*left_hop"),
        ("a.amc", ("2\nroot", "2\nroot 1"), r"line \d+"),
        ("a.amc", ("left_hip ", "left_hip x"), "x"),
        ("a.amc", (":DEGREES", ":RADIANS"), "radians"),
    ],
)
def test_a_malformed_amc_names_file_and_place(tmp_path, body, of, change, message):
    texts = dict(zip(("a.asf", "a.amc"), asf_amc_text(random_motion(3), body), strict=True))
    assert change[0] in texts[of]
    texts[of] = texts[of].replace(*change)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=rf"{of.replace('.', '[.]')}.*{message}"):
        read_amc(tmp_path / "a.amc", tmp_path / "a.asf")


def test_a_cut_off_amc_says_what_the_last_frame_lacks(tmp_path, body):
    asf, amc = asf_amc_text(random_motion(3), body)
    (tmp_path / "a.asf").write_text(asf)
    (tmp_path / "a.amc").write_text("\n".join(amc.splitlines()[:-3]) + "\n")
    with pytest.raises(ValueError, match="frame 3 lacks right_wrist"):
        read_amc(tmp_path / "a.amc", tmp_path / "a.asf")


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
