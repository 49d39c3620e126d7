from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.human36m import (
    HUMAN36M_CAMERAS,
    JOINTS_17_OF_32,
    read_human36m_cameras,
    read_human36m_joints,
)
from tests.helpers.recordings import Evil


def test_human36m_cameras_see_as_the_data_set_defines(tmp_path: Path) -> None:
    """The camera's centre is the translation in mm, its rotation the product of turns about x, y and z."""
    values = np.zeros(300)
    pose = values[:264].reshape(4, 11, 6)
    pose[1, 8] = [np.pi / 2, 0, 0, 1000, -4000, 1500]
    lenses = values[264:].reshape(4, 9)
    lenses[1] = [1145, 1143, 512, 515, -0.2, 0.24, -0.002, -0.0009, -0.0016]
    (tmp_path / "metadata.xml").write_text(f"<m><w0>[{' '.join(map(str, values))}]</w0></m>")
    camera = read_human36m_cameras(tmp_path / "metadata.xml")["S9"][HUMAN36M_CAMERAS[1]]
    centre = camera.camera.to_world(torch.zeros(1, 3))[0]
    assert centre.tolist() == pytest.approx([1, 1.5, 4], abs=1e-5)
    # Rx(90 degrees) takes the world's z to the camera's -y, and its y to z: the camera looks along +y, upright.
    ahead = torch.tensor([[1.0, 1.5, 3.0], [1.0, 2.5, 2.0]])
    assert camera.camera.to_camera(ahead)[:, 2].tolist() == pytest.approx([1, 2], abs=1e-5)
    assert camera.project(ahead)[0].tolist() == pytest.approx([512, 515], abs=1e-3)
    x, y = 0.0, -0.5
    r2 = x * x + y * y
    bent = y * (1 - 0.2 * r2 + 0.24 * r2**2 - 0.002 * r2**3 - 0.0009 * y - 0.0016 * x) - 0.0009 * r2
    assert camera.project(ahead)[1, 1].item() == pytest.approx(1143 * bent + 515, abs=1e-2)


def test_human36m_joints_are_turned_up_and_their_17_are_named(tmp_path: Path) -> None:
    positions = np.zeros((3, 32, 3), np.float32)
    positions[:, 15, 2] = 1.7
    np.savez(tmp_path / "data_3d_h36m.npz", positions_3d={"S9": {"Walking 1": positions}})
    joints_32 = read_human36m_joints(tmp_path / "data_3d_h36m.npz")["S9"]["Walking 1"]
    head = KEYPOINT_SETS["human36m-17"].index("head")
    assert joints_32[:, list(JOINTS_17_OF_32)][0, head].tolist() == pytest.approx([0, 1.7, 0])


def test_human36m_refuses_what_is_not_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "evil.npz", positions_3d=np.array(Evil(), dtype=object))
    with pytest.raises(ValueError, match="refused"):
        read_human36m_joints(tmp_path / "evil.npz")
    assert "run" not in capsys.readouterr().out
    np.savez(tmp_path / "short.npz", positions_3d={"S9": {"Walking": np.zeros((3, 17, 3))}})
    with pytest.raises(ValueError, match="S9, Walking"):
        read_human36m_joints(tmp_path / "short.npz")
    (tmp_path / "metadata.xml").write_text("<w0>[1 2 3]</w0>")
    with pytest.raises(ValueError, match="300"):
        read_human36m_cameras(tmp_path / "metadata.xml")
