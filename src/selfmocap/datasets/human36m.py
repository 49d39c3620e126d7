"""Read joints and cameras of Human3.6M. Angles and SMPL parameters are not read: the set is for evaluation.

Joints come from the data set's own `.cdf` files, from the widespread `.h5` copies of them, or from `data_3d_h36m.npz`
(one dict by subject and action); cameras from the data set's own `metadata.xml`. The world is rotated from z up to y
up."""

import re
import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.human36m_files import read_cdf, read_h5
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.rotations import R_YUP_ZUP
from selfmocap.io.files import existing_file
from selfmocap.io.pickles import MAX_PICKLE_BYTES, read_pickle
from selfmocap.io.stray_files import is_stray
from selfmocap.io.text import parse_numbers, read_text

HUMAN36M_FPS = 50.0
HUMAN36M_CAMERAS = ("54138969", "55011271", "58860488", "60457274")
JOINTS_17_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
"""Indices of the 17 joints in use, in the order of the keypoint set `human36m-17`, among the 32 of the data set (the
others are repeated joints, fingers and toes)."""

_SUBJECTS = 11
_EXTRINSICS, _INTRINSICS = 6, 9


@dataclass(frozen=True, eq=False)
class Human36mCamera:
    """A camera of the data set with its lens distortion."""

    camera: Camera
    """The camera without distortion. Pixel coordinates follow the data set."""
    radial: Float[Tensor, "3"]
    """Coefficients of r^2, r^4, r^6, for coordinates divided by depth."""
    tangential: Float[Tensor, "2"]

    def project(self, p_world: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch n 2"]:
        """Compute the distorted pixels of world points in front of the camera."""
        p_cam = self.camera.to_camera(p_world)
        xy = p_cam[..., :2] / p_cam[..., 2:]
        r2 = (xy * xy).sum(-1, keepdim=True)
        stretch = 1 + (torch.cat([r2, r2**2, r2**3], dim=-1) * self.radial).sum(-1, keepdim=True)
        shear = (xy * self.tangential.flip(0)).sum(-1, keepdim=True)
        bent = xy * (stretch + shear) + r2 * self.tangential.flip(0)
        return bent * self.camera.focal + self.camera.center


def read_human36m_cameras(path: Path | str) -> dict[str, dict[str, Human36mCamera]]:
    """Read the cameras by subject (`S1` ...) and camera name from `metadata.xml`. Raises ValueError."""
    text = read_text(path)
    match = re.search(r"<w0>\[([^\]<]*)\]</w0>", text)
    if match is None:
        raise ValueError(f"{path}: no <w0>[...]</w0>; expected the metadata.xml of Human3.6M")
    extrinsics = len(HUMAN36M_CAMERAS) * _SUBJECTS * _EXTRINSICS
    line = text.count("\n", 0, match.start()) + 1
    values = parse_numbers(path, line, match[1].split(), extrinsics + len(HUMAN36M_CAMERAS) * _INTRINSICS)
    poses = torch.tensor(values[:extrinsics], dtype=torch.float64).view(
        len(HUMAN36M_CAMERAS), _SUBJECTS, _EXTRINSICS
    )
    lenses = torch.tensor(values[extrinsics:], dtype=torch.float64).view(len(HUMAN36M_CAMERAS), _INTRINSICS)
    return {
        f"S{subject + 1}": {
            name: _camera(poses[index, subject], lenses[index]) for index, name in enumerate(HUMAN36M_CAMERAS)
        }
        for subject in range(_SUBJECTS)
    }


def _camera(pose: Float[Tensor, "6"], lens: Float[Tensor, "9"]) -> Human36mCamera:
    R_cam_zup = roma.euler_to_rotmat("XYZ", pose[:3])
    camera = Camera(
        focal=lens[:2],
        center=lens[2:4],
        R_cam_world=R_cam_zup @ R_YUP_ZUP.T,
        t_cam_world=-R_cam_zup @ (pose[3:] / 1000),
    )
    return Human36mCamera(camera.to(torch.float32), lens[4:7].float(), lens[7:9].float())


def read_human36m_joints(path: Path | str) -> dict[str, dict[str, Float[Tensor, "time 32 3"]]]:
    """Read the world positions (y up, metres) of the 32 joints at HUMAN36M_FPS, by subject and action, from
    `data_3d_h36m.npz`.

    No code of its pickled dict is run. Raises ValueError."""
    path = existing_file(path)
    positions = _pickled_member(path, "positions_3d.npy")
    while isinstance(positions, list) and len(positions) == 1:
        positions = positions[0]
    if not isinstance(positions, dict) or not all(
        isinstance(actions, dict) for actions in positions.values()
    ):
        raise ValueError(f"{path}: positions_3d: expected a dict by subject of dicts by action")
    return {
        str(subject): {
            str(action): _joints(path, array, f"{subject}, {action}") for action, array in actions.items()
        }
        for subject, actions in positions.items()
    }


def read_human36m_positions(folder: Path) -> dict[str, dict[str, Float[Tensor, "time 32 3"]]]:
    """Read what `read_human36m_joints` returns from a folder, in the first form that it holds: `data_3d_h36m.npz`,
    `S*/**/D3_Positions/*.cdf`, or `S*/**/3D_positions/*.h5`.

    Raises FileNotFoundError if there is none of them, and ValueError that names the file and what is wrong."""
    if found := sorted(folder.rglob("data_3d_h36m.npz")):
        return read_human36m_joints(found[0])
    for pattern, read in (("D3_Positions/*.cdf", read_cdf), ("3D_positions/*.h5", read_h5)):
        files = sorted(path for path in folder.glob(f"S*/**/{pattern}") if not is_stray(path, folder))
        subjects: dict[str, dict[str, Float[Tensor, "time 32 3"]]] = {}
        for path in files:
            subject, action = path.relative_to(folder).parts[0], path.stem.replace("_", " ")
            joints = _joints(path, read(path).reshape(-1, 32, 3) / 1000, "positions")
            subjects.setdefault(subject, {})[action] = joints
        if subjects:
            return subjects
    raise FileNotFoundError(
        f"{folder}: no joints of Human3.6M; expected data_3d_h36m.npz, S9/MyPoseFeatures/D3_Positions/*.cdf or "
        "S9/MyPoses/3D_positions/*.h5"
    )


def _joints(path: Path, array: np.ndarray, what: str) -> Float[Tensor, "time 32 3"]:
    array = np.asarray(array)
    if (
        array.ndim != 3
        or array.shape[1:] != (32, 3)
        or array.dtype.kind != "f"
        or not np.isfinite(array).all()
    ):
        raise ValueError(
            f"{path}: {what}: {array.dtype} of shape {array.shape}; expected numbers (time, 32, 3)"
        )
    return (torch.from_numpy(array.astype(np.float64)) @ R_YUP_ZUP.T).float()


def _pickled_member(path: Path, name: str) -> object:
    """Read the object of an array of one object by the restricted unpickler."""
    try:
        with zipfile.ZipFile(path) as archive, tempfile.NamedTemporaryFile(suffix=".pkl") as copy:
            if archive.getinfo(name).file_size > MAX_PICKLE_BYTES:
                raise ValueError(f"{path}: {name} is larger than the {MAX_PICKLE_BYTES} bytes allowed")
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read_header = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }
                read_header[version](member)
                shutil.copyfileobj(member, copy)
            copy.flush()
            return read_pickle(copy.name)
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        UnicodeDecodeError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        raise ValueError(f"{path}: expected data_3d_h36m.npz with {name} ({error})") from error
