from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT
from selfmocap.cli.main import main
from selfmocap.datasets.bvh import read_bvh
from selfmocap.export.characters.write import retarget_files
from selfmocap.export.options import ExportOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world
from tests.helpers.played_gltf import PlayedGltf
from tests.helpers.rigs import mixamo_rig, vrm_bones, vrm_rig, write_rig
from tests.helpers.walking import LEVEL, walking_motion


@pytest.mark.parametrize("up_axis", ["y", "z"])
def test_a_bvh_of_the_same_body_gets_the_same_joints(body: Body, tmp_path: Path, up_axis: str) -> None:
    """In other units and axes, with other names; as the reader of recordings sees it."""
    motion = walking_motion(body, body.keypoint_proxy("coco-23"), LEVEL, seconds=1.0)
    (onto,) = export_motion(motion, body, tmp_path, ["bvh"], ExportOptions(up_axis=up_axis, names="mixamo"))
    retarget_files({"walk": motion}, body, onto, tmp_path / "out.bvh")
    read = read_bvh(tmp_path / "out.bvh")
    _, p = read.world()
    names = [name.removeprefix("mixamorig:") for name in read.joint_names]
    expected = joints_world(motion)
    for part, name, error in (
        ("hip", "UpLeg", 0.005), ("elbow", "ForeArm", 0.005), ("wrist", "Hand", 0.005), ("knee", "Leg", 0.03),
        ("ankle", "Foot", 0.03),
    ):  # fmt: skip
        places = p[:, names.index(f"Left{name}")].numpy()
        difference = places - expected[:, JOINT[f"left_{part}"]]
        assert np.abs(difference - difference[0]).max() < error, part
    assert read.fps == pytest.approx(30)


def test_a_vrm_animation_moves_the_bones_of_the_humanoid(body: Body, tmp_path: Path) -> None:
    motion = walking_motion(body, body.keypoint_proxy("coco-23"), LEVEL, seconds=1.0)
    motion.save(tmp_path / "motion.npz")
    onto = write_rig(vrm_rig(), tmp_path / "person.vrm")
    for name in ("a.vrma", "a.vrm"):
        with pytest.raises(SystemExit) as stop:
            main(
                ["retarget", str(tmp_path / "motion.npz"), "--onto", str(onto), "--out", str(tmp_path / name)]
            )
        assert stop.value.code == 0
    animation = PlayedGltf(tmp_path / "a.vrma", "motion")
    model = PlayedGltf(tmp_path / "a.vrm", tmp_path.name)
    humanoid = animation.file.extensions["VRMC_vrm_animation"]["humanoid"]["humanBones"]
    assert set(humanoid) == set(vrm_bones().values())
    for bone in ("hips", "leftHand", "rightFoot"):
        node = humanoid[bone]["node"]
        assert np.abs(animation.world[node] - model.world[node]).max() < 1e-5
    assert not animation.file.meshes


def test_files_that_do_not_fit_are_refused(body: Body, tmp_path: Path) -> None:
    motion = walking_motion(body, body.keypoint_proxy("coco-23"), LEVEL, seconds=0.2)
    onto = write_rig(mixamo_rig(), tmp_path / "person.glb")
    with pytest.raises(ValueError, match="no VRM|expected a VRM"):
        retarget_files({"walk": motion}, body, onto, tmp_path / "a.vrma")
    with pytest.raises(ValueError, match="written as .glb or .vrm or .vrma"):
        retarget_files({"walk": motion}, body, onto, tmp_path / "a.bvh")
    with pytest.raises(ValueError, match="holds one motion, found 2"):
        retarget_files({"a": motion, "b": motion}, body, onto, tmp_path / "a.vrma")
    with pytest.raises(ValueError, match="expected a character in"):
        retarget_files({"walk": motion}, body, tmp_path / "person.obj", tmp_path / "a.glb")
    with pytest.raises(ValueError, match="expected a motion of the body"):
        retarget_files({"walk": replace(motion, body="other")}, body, onto, tmp_path / "a.glb")
    (tmp_path / "map.json").write_text('{"left_wing": "a"}')
    motion.save(tmp_path / "motion.npz")
    with pytest.raises(SystemExit) as stop:
        main([
            "retarget", str(tmp_path / "motion.npz"), "--onto", str(onto), "--out", str(tmp_path / "a.glb"),
            "--map", str(tmp_path / "map.json"),
        ])  # fmt: skip
    assert stop.value.code == 2
    assert not list(tmp_path.glob("a.*"))
