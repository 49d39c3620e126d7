import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.npz import check_shapes, read_npz


def npy_with_header(shape: tuple[int, ...], descr: str = "<f8") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + bytes(64)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (npy_with_header((10**12,)), "declares 8000000000000 bytes, the file holds 64"),
        (npy_with_header((2**40, 2**40)), "declares"),
        (npy_with_header((8,), "|O"), "pickled objects"),
        (b"not an array", "magic"),
    ],
)
def test_npz_headers_are_checked_before_memory_is_allocated(
    tmp_path: Path, content: bytes, match: str
) -> None:
    path = tmp_path / "hostile.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", content)
    with pytest.raises(ValueError, match=match):
        read_npz(path)


def test_npz_bombs_and_damage_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, a=np.zeros(1 << 20))
    with pytest.raises(ValueError, match="expected at most 1000 bytes"):
        read_npz(path, max_bytes=1000)
    np.savez_compressed(path, a=np.random.default_rng(0).random(100))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"PK" + bytes(100), whole[:200] + b"\x00" * 20 + whole[220:]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="bomb.npz"):
            read_npz(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read_npz(path)
    with pytest.raises(FileNotFoundError, match="found a folder"):
        read_npz(tmp_path)


def test_named_arrays_are_read_beside_pickled_ones(tmp_path: Path) -> None:
    path = tmp_path / "smplx.npz"
    np.savez(path, a=np.ones(2), names=np.array([{"x": 1}], dtype=object))
    assert list(read_npz(path, only={"a"})) == ["a"]


def test_shapes_are_checked_by_axis_name() -> None:
    arrays = {"a": np.zeros((4, 3)), "b": np.zeros((5, 2))}
    with pytest.raises(ValueError, match=r"x: b has shape \(5, 2\), expected \(4, 2\)"):
        check_shapes("x", arrays, {"a": ("time", 3), "b": ("time", 2)})
    check_shapes("x", arrays, {"a": ("time", 3), "b": ("other", 2)})


def test_archives_that_point_outside_themselves_and_unfinished_headers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, a=np.zeros(3))
    data = bytearray(path.read_bytes())
    end = data.rindex(b"PK\x05\x06")
    data[end + 12 : end + 16] = len(data).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: expected an \.npz file"):
        read_npz(path)
    header = b"{'descr': '<f8', 'shape': (3,"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ValueError, match=r"a\.npz: "):
        read_npz(path)
