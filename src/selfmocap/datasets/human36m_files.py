"""Read the joint positions of one recording of Human3.6M from a `.cdf` file or an `.h5` copy, which may be from an
untrusted source."""

import math
import struct
import zlib
from pathlib import Path

import numpy as np
from jaxtyping import Float

from selfmocap.io.files import existing_file
from selfmocap.io.text import MAX_RECORDING_FRAMES

_COORDINATES = 96
_MAX_BYTES = 1 << 28
_REMEDY = "run: pip install 'selfmocap[human36m]'"


def read_cdf(path: Path) -> Float[np.ndarray, "time 96"]:
    """Read the variable `Pose` (mm) of a CDF file. Raises ValueError that names the file, or ImportError with the
    remedy without `cdflib`."""
    try:
        import cdflib
    except ImportError as error:
        raise ImportError(f"{path}: reading .cdf needs cdflib; {_REMEDY}") from error
    _check_size(path)
    try:
        file = cdflib.CDF(path)
        found = file.varinq("Pose")
        numbers = math.prod(int(size) for size in found.Dim_Sizes) * (found.Last_Rec + 1)
        if not 0 < numbers <= _COORDINATES * MAX_RECORDING_FRAMES:
            raise ValueError(f"Pose has {numbers} numbers")
        pose = np.asarray(file.varget("Pose"))
    except (
        AssertionError, AttributeError, EOFError, IndexError, KeyError, MemoryError, OSError, OverflowError,
        TypeError, ValueError, struct.error, zlib.error,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path}: expected a CDF file of Human3.6M with the variable Pose ({error}); unpack it again"
        ) from error
    return _checked(path, "Pose", pose[0] if pose.ndim == 3 and len(pose) == 1 else pose)


def read_h5(path: Path) -> Float[np.ndarray, "time 96"]:
    """Read the data set `3D_positions` (mm; coordinates, time) of an HDF5 file, which must lie in the file itself.
    Raises ValueError that names the file, or ImportError with the remedy without `h5py`."""
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{path}: reading .h5 needs h5py; {_REMEDY}") from error
    _check_size(path)
    try:
        with h5py.File(path, "r") as file:
            inside = isinstance(file.get("3D_positions", getlink=True), h5py.HardLink)
            data = file["3D_positions"] if inside else None
            if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
                raise ValueError("no data set 3D_positions in the file itself")
            if data.ndim != 2 or len(data) != _COORDINATES or data.shape[1] > MAX_RECORDING_FRAMES:
                raise ValueError(f"3D_positions is {data.dtype} of shape {data.shape}")
            return _checked(path, "3D_positions", data[:].T)
    except (KeyError, OSError, RuntimeError, TypeError, ValueError) as error:
        if str(path) in str(error):
            raise
        raise ValueError(
            f"{path}: expected an HDF5 file with 3D_positions ({error}); unpack it again"
        ) from error


def _check_size(path: Path) -> None:
    if existing_file(path).stat().st_size > _MAX_BYTES:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; at most {_MAX_BYTES} are allowed")


def _checked(path: Path, name: str, pose: np.ndarray) -> Float[np.ndarray, "time 96"]:
    if pose.ndim != 2 or pose.shape[1] != _COORDINATES or pose.dtype.kind != "f":
        raise ValueError(
            f"{path}: {name} is {pose.dtype} of shape {pose.shape}; expected {_COORDINATES} numbers a frame"
        )
    return pose
