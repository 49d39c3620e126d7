import lzma
from pathlib import Path

import pytest
import torch

from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.datasets.bvh import read_bvh
from tests.helpers.recordings import DATA, bvh_text, by_name, joints, random_motion


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
    import tempfile

    packed = DATA / "originals" / f"{name}.bvh.xz"
    if not packed.is_file():
        pytest.skip(f"{packed} is absent")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.bvh"
        path.write_bytes(lzma.decompress(packed.read_bytes()))
        return read_bvh(path)


BVH = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation\n"
BVH += "End Site\n{\nOFFSET 0 1 0\n}\n}\nMOTION\nFrames: 1\nFrame Time: 0.03\n0 0 0 0 0 0\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("MOTION", "MOTIONS"), "MOTION"),
        (("OFFSET 0 0 0", "OFFSET 0 zero 0"), r"line 4.*zero"),
        (("OFFSET 0 0 0", "OFFSET 0 nan 0"), r"line 4.*finite"),
        (("CHANNELS 6", "CHANNELS 5"), "line 5"),
        (("Zrotation Xrotation", "Zrotation Zrotation"), "line 5.*3 rotation channels"),
        (("Frames: 1", "Frames: 9"), "9.*1 follow"),
        (("Frames: 1", "Frames: one"), "Frames: N"),
        (("0 0 0 0 0 0", "0 0 0 0 0"), "expected 6 numbers"),
        (("0 0 0 0 0 0", "0 0 0 0 0 inf"), "line 14: expected 6 finite numbers"),
        (("0 0 0 0 0 0\n", ""), "no frames"),
        (("Frame Time: 0.03", "Frame Time: 0"), "frame time"),
        (("}\n}\n", "}\n"), "not complete"),
        (("End Site\n{\n", "ROOT b\n{\n"), "line 6"),
    ],
)
def test_a_malformed_bvh_names_file_and_place(tmp_path, change, message):
    path = tmp_path / "bad.bvh"
    path.write_text(BVH)
    assert len(read_bvh(path)) == 1
    assert BVH != BVH.replace(*change)
    path.write_text(BVH.replace(*change))
    with pytest.raises(ValueError, match=rf"bad\.bvh.*{message}"):
        read_bvh(path)
