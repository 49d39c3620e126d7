"""Arrays that grow on disk, row by row, so that memory does not grow with the length of a video."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.io.atomic import atomic_write

_CHUNK_ROWS = 64


class Spool:
    """A file of rows of one shape and type; appended rows survive an interruption."""

    def __init__(self, path: Path, row: tuple[int, ...], dtype: Any) -> None:
        self.path, self.row, self.dtype = path, row, np.dtype(dtype)
        self._bytes = int(np.prod(row)) * self.dtype.itemsize
        path.touch()

    def __len__(self) -> int:
        return self.path.stat().st_size // self._bytes

    def append(self, rows: np.ndarray) -> None:
        """Append rows."""
        assert rows.shape[1:] == self.row, (rows.shape, self.row)
        with self.path.open("ab") as file:
            file.write(np.ascontiguousarray(rows, self.dtype).tobytes())

    def read(self, first: int, last: int) -> np.ndarray:
        """Read the rows from `first` up to, not including, `last`."""
        with self.path.open("rb") as file:
            file.seek(first * self._bytes)
            data = file.read((last - first) * self._bytes)
        return np.frombuffer(data, self.dtype).reshape(-1, *self.row)

    def truncate(self, length: int) -> None:
        """Delete all rows from `length` on, and an incomplete row at the end."""
        with self.path.open("r+b") as file:
            file.truncate(min(length, len(self)) * self._bytes)


def write_npz_from_spools(path: Path, arrays: Mapping[str, Any], spools: Mapping[str, Spool]) -> None:
    """Write an `.npz` like `npz.write_npz`, with some rows of the spools in memory at a time."""
    with (
        atomic_write(path) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
    ):
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(value), allow_pickle=False)
        for name, spool in spools.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                _write_rows(file, spool)


def _write_rows(file: Any, spool: Spool) -> None:
    rows = len(spool)
    descr = np.lib.format.dtype_to_descr(spool.dtype)
    header = {"descr": descr, "fortran_order": False, "shape": (rows, *spool.row)}
    np.lib.format.write_array_header_1_0(file, header)
    for first in range(0, rows, _CHUNK_ROWS):
        file.write(spool.read(first, min(first + _CHUNK_ROWS, rows)).tobytes())
