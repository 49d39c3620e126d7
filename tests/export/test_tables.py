import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_PARENTS
from selfmocap.export.options import ExportOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion


def test_the_csv_holds_positions_and_the_rotations_that_make_them(body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, index=[3, 4, 5, 9, 60])
    (path,) = export_motion(motion, body, tmp_path, ["csv"])
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["time_s"]) for row in rows] == pytest.approx(motion.frame_times.tolist(), abs=1e-6)
    assert [float(row["confidence"]) for row in rows] == pytest.approx(motion.confidence.tolist(), abs=1e-4)

    def columns(suffix: str, axes: str) -> np.ndarray:
        titles = [f"{name}_{axis}{suffix}" for name in names for axis in axes]
        return np.array([[float(row[title]) for title in titles] for row in rows]).reshape(-1, 24, 3)

    names = [title.removesuffix("_x_m") for title in rows[0] if title.endswith("_x_m")]
    assert (names[0], names[4], names[-1]) == ("Pelvis", "L_Knee", "R_Hand")
    joints = columns("_m", "xyz")
    assert np.abs(joints - joints_world(motion)).max() < 1e-5
    angles = columns("rotation_deg", "ZXY")
    rotations = [Rotation.from_euler("ZXY", angles[:, 0], degrees=True)]
    rest = body.shape(motion.parameters.betas).joints.numpy()
    for joint, parent in enumerate(JOINT_PARENTS[1:], start=1):
        position = joints[:, parent] + rotations[parent].apply(rest[joint] - rest[parent])
        assert np.abs(position - joints[:, joint]).max() < 1e-4
        rotations.append(rotations[parent] * Rotation.from_euler("ZXY", angles[:, joint], degrees=True))


def test_the_trc_holds_joints_and_the_points_of_the_skin_in_mm(body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, frames=20)
    (path,) = export_motion(motion, body, tmp_path, ["trc"], ExportOptions(names="mixamo"))
    lines = path.read_text().splitlines()
    facts = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    assert (facts["NumFrames"], facts["NumMarkers"], facts["Units"]) == ("20", "47", "mm")
    assert float(facts["DataRate"]) == 30
    names = lines[3].split("\t")[2::3]
    assert (names[0], names[24], len(names)) == ("mixamorig:Hips", "nose", 47)
    assert lines[4].split("\t")[2:6] == ["X1", "Y1", "Z1", "X2"]
    table = np.array([[float(value) for value in line.split("\t")] for line in lines[6:]])
    assert table[:, 0] == pytest.approx(np.arange(1, 21))
    assert table[:, 1] == pytest.approx(np.arange(20) / 30, abs=1e-6)
    points = table[:, 2:].reshape(20, 47, 3) / 1000
    assert np.abs(points[:, :24] - joints_world(motion)).max() < 1e-5
    keypoints = motion.camera.to_world(motion.keypoints_cam).numpy()
    assert np.abs(points[:, 24:] - keypoints).max() < 1e-5
