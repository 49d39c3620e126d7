from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.human36m import (
    HUMAN36M_CAMERAS,
    JOINTS_17_OF_32,
    read_human36m_cameras,
    read_human36m_joints,
    read_human36m_positions,
)
from selfmocap.datasets.human36m_files import read_cdf, read_h5
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


def recorded(frames: int = 3) -> np.ndarray:
    """(frames, 32, 3) mm, z up."""
    return np.random.default_rng(0).uniform(-1000, 2000, (frames, 32, 3))


def test_human36m_is_read_from_every_form(tmp_path: Path) -> None:
    h5py, cdfwrite = pytest.importorskip("h5py"), pytest.importorskip("cdflib.cdfwrite")
    positions = recorded()
    forms = {form: tmp_path / form for form in ("npz", "h5", "cdf")}
    forms["npz"].mkdir()
    np.savez(forms["npz"] / "data_3d_h36m.npz", positions_3d={"S9": {"Walking 1": positions / 1000}})
    h5 = forms["h5"] / "S9" / "MyPoses" / "3D_positions"
    cdf = forms["cdf"] / "S9" / "MyPoseFeatures" / "D3_Positions"
    for folder in (h5, cdf):
        folder.mkdir(parents=True)
    with h5py.File(h5 / "Walking_1.h5", "w") as file:
        file["3D_positions"] = positions.reshape(3, 96).T
    write_cdf(cdfwrite, cdf / "Walking 1.cdf", positions.reshape(1, 3, 96))
    for folder in forms.values():
        read = read_human36m_positions(folder)["S9"]["Walking 1"]
        assert np.abs(read.numpy()[..., 1] - positions[..., 2] / 1000).max() < 1e-5
        assert np.abs(read.numpy()[..., 2] + positions[..., 1] / 1000).max() < 1e-5


def write_cdf(cdfwrite: Any, path: Path, pose: np.ndarray) -> None:
    file = cdfwrite.CDF(str(path), cdf_spec={"Compressed": 0})
    spec = {
        "Variable": "Pose",
        "Data_Type": 45,
        "Num_Elements": 1,
        "Rec_Vary": True,
        "Dim_Sizes": list(pose.shape[1:]),
    }
    file.write_var(spec, var_data=pose)
    file.close()


def test_hostile_human36m_files_are_refused(tmp_path: Path) -> None:
    h5py, cdfwrite = pytest.importorskip("h5py"), pytest.importorskip("cdflib.cdfwrite")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = recorded().reshape(3, 96).T
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["3D_positions"] = h5py.ExternalLink("secret.h5", "data")
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        layout = h5py.VirtualLayout((96, 3), "f8")
        layout[:] = h5py.VirtualSource("secret.h5", "data", (96, 3), "f8")
        file.create_virtual_dataset("3D_positions", layout)
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("3D_positions", (96, 1 << 40), "f8", chunks=(96, 64))
    with h5py.File(tmp_path / "narrow.h5", "w") as file:
        file["3D_positions"] = np.zeros((51, 3))
    (tmp_path / "noise.h5").write_bytes(bytes(range(256)) * 8)
    for name in ("link", "outside", "huge", "narrow", "noise"):
        with pytest.raises(ValueError, match=rf"{name}.h5: expected"):
            read_h5(tmp_path / f"{name}.h5")
    (tmp_path / "noise.cdf").write_bytes(bytes.fromhex("cdf30001 0000ffff") + bytes(range(256)) * 8)
    write_cdf(cdfwrite, tmp_path / "narrow.cdf", np.zeros((1, 3, 51)))
    for name, match in (("noise", "expected a CDF file"), ("narrow", "expected 96 numbers a frame")):
        with pytest.raises(ValueError, match=rf"{name}.cdf: .*{match}"):
            read_cdf(tmp_path / f"{name}.cdf")
    with pytest.raises(FileNotFoundError, match="no joints of Human3.6M"):
        read_human36m_positions(tmp_path)
