from pathlib import Path

import numpy as np
import pytest
from bvh import Bvh
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT_NAMES
from selfmocap.datasets.bvh import read_bvh
from selfmocap.export.options import ExportOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion

SMPL_NAMES = ("Pelvis L_Hip R_Hip Spine1 L_Knee R_Knee Spine2 L_Ankle R_Ankle Spine3 L_Foot R_Foot Neck L_Collar "
              "R_Collar Head L_Shoulder R_Shoulder L_Elbow R_Elbow L_Wrist R_Wrist L_Hand R_Hand").split()  # fmt: skip


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, frames=150)


def joints_of(path: Path) -> dict[str, np.ndarray]:
    """Compute joint positions in the unit of the file with the package `bvh` and scipy's rotations."""
    file = Bvh(path.read_text())
    places: dict[str, np.ndarray] = {}
    turns: dict[str, Rotation] = {}
    for name in file.get_joints_names():
        channels = file.joint_channels(name)
        values = np.array(file.frames_joint_channels(name, channels))
        order = "".join(channel[0] for channel in channels if channel.endswith("rotation"))
        local = Rotation.from_euler(order, values[:, -3:], degrees=True)
        parent = file.joint_parent(name)
        if parent is None:
            turns[name], places[name] = local, values[:, :3] + file.joint_offset(name)
        else:
            above = turns[parent.name]
            turns[name] = above * local
            places[name] = places[parent.name] + above.apply(file.joint_offset(name))
    return places


def test_another_library_reads_equal_joint_positions(motion: Motion, body: Body, tmp_path: Path) -> None:
    (path,) = export_motion(motion, body, tmp_path, ["bvh"])
    found = joints_of(path)
    assert set(found) == set(SMPL_NAMES)
    error_cm = np.stack([found[name] for name in SMPL_NAMES], axis=1) - 100 * joints_world(motion)
    assert np.abs(error_cm).max() < 0.01
    assert Bvh(path.read_text()).frame_time == pytest.approx(1 / 30, abs=1e-8)


def test_read_bvh_gives_equal_joints_and_the_unit(motion: Motion, body: Body, tmp_path: Path) -> None:
    (path,) = export_motion(motion, body, tmp_path, ["bvh"])
    recording = read_bvh(path)
    chosen = [recording.joint_names.index(name) for name in SMPL_NAMES]
    assert np.abs(recording.world()[1][:, chosen].numpy() - joints_world(motion)).max() < 1e-4


def test_z_up_in_metres_rotates_skeleton_and_motion(motion: Motion, body: Body, tmp_path: Path) -> None:
    (path,) = export_motion(motion, body, tmp_path, ["bvh"], ExportOptions(up_axis="z", unit="m"))
    x, y, z = np.moveaxis(joints_world(motion), -1, 0)
    found = joints_of(path)
    error = np.stack([found[name] for name in SMPL_NAMES], axis=1) - np.stack([x, -z, y], axis=-1)
    assert np.abs(error).max() < 1e-4


def test_mixamo_names_are_those_of_a_mixamo_rig(motion: Motion, body: Body, tmp_path: Path) -> None:
    (path,) = export_motion(motion, body, tmp_path, ["bvh"], ExportOptions(names="mixamo"))
    found = joints_of(path)
    expected = dict(zip(JOINT_NAMES, np.moveaxis(100 * joints_world(motion), 1, 0), strict=True))
    for name, joint in {
        "Hips": "pelvis", "LeftUpLeg": "left_hip", "LeftLeg": "left_knee", "RightFoot": "right_ankle",
        "RightToeBase": "right_foot", "Spine2": "spine3", "LeftShoulder": "left_collar", "LeftArm": "left_shoulder",
        "RightForeArm": "right_elbow", "LeftHand": "left_wrist", "Neck": "neck", "Head": "head",
    }.items():  # fmt: skip
        assert np.abs(found[f"mixamorig:{name}"] - expected[joint]).max() < 0.01


def test_no_angle_jumps(motion: Motion, body: Body, tmp_path: Path) -> None:
    """The root rotates fully and every joint moves far; no angle changes faster than the rotation."""
    (path,) = export_motion(motion, body, tmp_path, ["bvh"])
    file = Bvh(path.read_text())
    for name in SMPL_NAMES:
        channels = [channel for channel in file.joint_channels(name) if channel.endswith("rotation")]
        angles_deg = np.array(file.frames_joint_channels(name, channels))
        assert np.abs(np.diff(angles_deg, axis=0)).max() < 40, name
