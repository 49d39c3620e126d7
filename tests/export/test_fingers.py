"""Fingers in exported files, read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import finger_anatomy, finger_rotations, with_fingers
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import ALL_JOINT_NAMES, ALL_JOINTS, FINGER_JOINT_NAMES, JOINT
from selfmocap.datasets.bvh import read_bvh
from selfmocap.datasets.results.read import read_result
from selfmocap.export.characters.write import read_bone_map, retarget_files
from selfmocap.export.options import ExportOptions
from selfmocap.export.presets import PRESETS, Skeleton, preset_names
from selfmocap.export.rig_options import RigOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import wandering_motion
from tests.helpers.played_gltf import PlayedGltf
from tests.helpers.rigs import vrm_rig, write_rig

KNOWN_NAMES = {
    "smpl": "L_Index1", "mixamo": "mixamorig:LeftHandIndex1", "humanik": "LeftHandIndex1",
    "vrm": "leftIndexProximal", "unreal": "index_01_l",
}  # fmt: skip


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    """A motion whose hands have no rotation of their own, so that skeletons without that joint move equally."""
    rigid = wandering_motion(body, index=list(range(30, 42)))
    R = rigid.parameters.R_parent_joint.clone()
    R[:, [JOINT["left_hand"], JOINT["right_hand"]]] = torch.eye(3)
    anatomy = finger_anatomy()
    fraction = torch.rand(len(rigid), 30, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    fingers = finger_rotations(anatomy.low + (anatomy.high - anatomy.low) * fraction)
    return replace(rigid, parameters=replace(rigid.parameters, R_parent_joint=R), fingers=fingers.float())


@pytest.fixture(scope="module")
def joints(motion: Motion, body: Body) -> np.ndarray:
    return with_fingers(body).pose(motion.all_parameters).joints.numpy()


@pytest.mark.parametrize("skeleton", PRESETS)
def test_finger_joints_move_equally_in_every_skeleton(
    skeleton: Skeleton, motion: Motion, joints: np.ndarray, body: Body, tmp_path: Path
) -> None:
    options = ExportOptions(rig=RigOptions(skeleton=skeleton))
    glb, bvh = export_motion(motion, body, tmp_path, ["glb", "bvh"], options)
    played, labels = PlayedGltf(glb, "motion"), preset_names(PRESETS[skeleton], None, ALL_JOINT_NAMES)
    assert labels["left_index1"] == KNOWN_NAMES[skeleton] and set(FINGER_JOINT_NAMES) <= labels.keys()
    for joint, name in labels.items():
        assert np.abs(played.position(name) - joints[:, ALL_JOINTS[joint]]).max() < 1e-4, name
    read = read_bvh(bvh)
    found = read.world()[1][:, [read.joint_names.index(name) for name in labels.values()]].numpy()
    spans = [
        np.linalg.norm(p[:, :, None] - p[:, None], axis=-1)
        for p in (found, joints[:, [ALL_JOINTS[joint] for joint in labels]])
    ]
    assert np.abs(spans[0] - spans[1]).max() < 1e-3


def test_the_skin_of_the_fingers_moves_as_the_bodys(motion: Motion, body: Body, tmp_path: Path) -> None:
    (path,) = export_motion(motion, body, tmp_path, ["glb"])
    full = with_fingers(body)
    expected = full.pose(motion.all_parameters).vertices.numpy()
    of_fingers = (full.weights[24:].sum(0) > 0.99).numpy()
    error = np.linalg.norm(PlayedGltf(path, "motion").skinned() - expected, axis=-1)[:, of_fingers]
    assert of_fingers.sum() > 500 and np.quantile(error, 0.99) < 0.004


def test_usd_has_the_finger_joints(motion: Motion, body: Body, tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd")
    skel = pytest.importorskip("pxr.UsdSkel")
    (path,) = export_motion(motion, body, tmp_path, ["usd"])
    stage = usd.Stage.Open(str(path))
    joints = skel.Skeleton(stage.GetPrimAtPath("/person/skeleton")).GetJointsAttr().Get()
    assert len(joints) == 54 and sum(joint.endswith("R_Thumb3") for joint in joints) == 1


def test_smpl_and_amass_files_give_the_fingers_from_straight_ones(
    motion: Motion, body: Body, tmp_path: Path
) -> None:
    smpl, amass = export_motion(motion, body, tmp_path, ["smpl", "amass"])
    assert motion.fingers is not None
    straight = finger_anatomy().R_straight.view(2, 5, 3, 3, 3).numpy()
    world = motion.fingers.double().numpy().reshape(-1, 2, 5, 3, 3, 3).copy()
    for n in (1, 2):
        world[..., n, :, :] = world[..., n - 1, :, :] @ world[..., n, :, :]
    with np.load(smpl) as file, np.load(amass) as other:
        hands = np.concatenate([file["left_hand_pose"], file["right_hand_pose"]], axis=1)
        np.testing.assert_allclose(other["poses"][:, 66:], hands, atol=1e-6)
        assert other["poses"].shape[1] == 156 and file["body_pose"].shape[1] == 69
    read = Rotation.from_rotvec(hands.reshape(-1, 3)).as_matrix().reshape(world.shape)
    for n in (1, 2):
        read[..., n, :, :] = read[..., n - 1, :, :] @ read[..., n, :, :]
    error = roma.rotmat_geodesic_distance(torch.from_numpy(read @ straight), torch.from_numpy(world))
    assert error.rad2deg().max() < 0.1


def test_amass_gives_its_fingers_to_the_motion(motion: Motion, body: Body, tmp_path: Path) -> None:
    (amass,) = export_motion(motion, body, tmp_path, ["amass"])
    (read,) = read_result(amass, body).motions
    assert motion.fingers is not None and read.fingers is not None
    assert roma.rotmat_geodesic_distance(read.fingers, motion.fingers).rad2deg().max() < 0.1


def test_a_map_names_finger_bones(motion: Motion, body: Body, tmp_path: Path) -> None:
    rig = vrm_rig()
    thumb = rig.names.index("left_thumb")
    rig.names[thumb] = "Daumen.L"
    (tmp_path / "map.json").write_text('{"left_thumb1": "Daumen.L"}')
    character = write_rig(rig, tmp_path / "hero.glb")
    turned = []
    for bone_map in ({}, read_bone_map(tmp_path / "map.json")):
        retarget_files({"p": motion}, body, character, tmp_path / "moving.glb", bone_map)
        found = PlayedGltf(tmp_path / "moving.glb", "p").file.animations[-1].channels
        turned.append(thumb in {channel.target.node for channel in found})
    assert turned == [False, True]


def test_finger_bones_of_vrm_have_the_names_of_its_specification() -> None:
    """VRMC_vrm 1.0, humanoid: `leftThumbMetacarpal`, ..., `rightLittleDistal`."""
    parts = {"Thumb": ("Metacarpal", "Proximal", "Distal")} | dict.fromkeys(
        ("Index", "Middle", "Ring", "Little"), ("Proximal", "Intermediate", "Distal")
    )
    expected = {f"{side}{f}{p}" for side in ("left", "right") for f, ps in parts.items() for p in ps}
    names = preset_names(PRESETS["vrm"], None, ALL_JOINT_NAMES)
    assert {names[joint] for joint in FINGER_JOINT_NAMES} == expected
    assert names["left_thumb1"] == "leftThumbMetacarpal" and names["right_pinky3"] == "rightLittleDistal"


def test_tables_have_the_finger_joints(
    motion: Motion, joints: np.ndarray, body: Body, tmp_path: Path
) -> None:
    csv, trc = export_motion(motion, body, tmp_path, ["csv", "trc"])
    table = np.genfromtxt(csv, delimiter=",", names=True)
    np.testing.assert_allclose(table["R_Pinky3_x_m"], joints[:, ALL_JOINTS["right_pinky3"], 0], atol=1e-5)
    assert "L_Thumb3" in trc.read_text()


def test_resting_fingers_write_the_files_of_24_joints(motion: Motion, body: Body, tmp_path: Path) -> None:
    rigid = replace(motion, fingers=None)
    paths = export_motion(rigid, body, tmp_path, ["glb", "bvh", "smpl", "amass", "csv"])
    assert not any(b"Index1" in path.read_bytes() for path in paths)
    with np.load(paths[2]) as smpl, np.load(paths[3]) as amass:
        assert "left_hand_pose" not in smpl and not amass["poses"][:, 66:].any()


@pytest.mark.slow
@pytest.mark.parametrize("skeleton", ["mixamo", "unreal"])
def test_retargeting_points_the_fingers_as_the_bodys(
    skeleton: Skeleton, motion: Motion, joints: np.ndarray, body: Body, tmp_path: Path
) -> None:
    """The character is this body's own mesh on another skeleton, whose fingers bend with another motion."""
    other = replace(motion, fingers=torch.eye(3).expand_as(motion.fingers))
    options = ExportOptions(rig=RigOptions(skeleton=skeleton))
    (character,) = export_motion(other, body, tmp_path, ["glb"], options)
    retarget_files({"retargeted": motion}, body, character, tmp_path / "out.glb")
    played, labels = (
        PlayedGltf(tmp_path / "out.glb", "retargeted"),
        preset_names(PRESETS[skeleton], None, ALL_JOINT_NAMES),
    )
    for finger in ("left_index", "right_middle", "left_thumb", "right_pinky"):
        for n in (1, 2):
            ends = [f"{finger}{n}", f"{finger}{n + 1}"]
            found = played.position(labels[ends[1]]) - played.position(labels[ends[0]])
            expected = joints[:, ALL_JOINTS[ends[1]]] - joints[:, ALL_JOINTS[ends[0]]]
            cosine = (
                (found * expected).sum(-1)
                / np.linalg.norm(found, axis=-1)
                / np.linalg.norm(expected, axis=-1)
            )
            assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 1.0, ends
