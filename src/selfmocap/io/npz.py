"""Read and write `.npz` files; every declared size is checked before memory is allocated, and no pickle is read."""

import contextlib
import errno
import io
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.io.atomic import atomic_write
from selfmocap.io.files import existing_file

MAX_ARRAY_BYTES = 4 << 30
_NUMBER_TYPES = {"b1", "u1", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}


def write_npz(path: Path | str, arrays: Mapping[str, Any]) -> None:
    """Write arrays as a compressed `.npz`, atomically."""
    assert not any(np.asarray(array).dtype.hasobject for array in arrays.values())
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


class NamedBytesIO(io.BytesIO):
    """The bytes of a file that is stored in another file, with a name for error messages."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name

    def __str__(self) -> str:
        return self.name


def read_npz(
    path: Path | str | NamedBytesIO, only: Collection[str] | None = None, max_bytes: int = MAX_ARRAY_BYTES
) -> dict[str, np.ndarray]:
    """Read the arrays of an `.npz`, or `only` those with some names. Pickled objects are refused.

    Every declared size is compared with the size of the file's data, and their sum with `max_bytes`, before memory is
    allocated. A ValueError names the file and the problem."""
    path = path if isinstance(path, NamedBytesIO) else existing_file(path)
    with _naming_the_file(path), zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if only is None or m.filename.removesuffix(".npy") in only]
        total = sum(member.file_size for member in members)
        if total > max_bytes:
            raise ValueError(f"expected at most {max_bytes} bytes of arrays, found {total}")
        return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}


def npz_names(path: Path | str) -> set[str]:
    """Read the names of the arrays in an `.npz`."""
    path = existing_file(path)
    with _naming_the_file(path), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def npz_rows(path: Path | str, names: Collection[str], length: int) -> Iterator[dict[str, np.ndarray]]:
    """Read the named arrays of an `.npz`, `length` rows (along the first axis) at a time.

    Memory does not grow with the file. Sizes are checked as in `read_npz`; `MAX_ARRAY_BYTES` bounds one yield."""
    path = existing_file(path)
    with _naming_the_file(path), contextlib.ExitStack() as opened:
        archive = opened.enter_context(zipfile.ZipFile(path))
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        if missing := sorted(set(names) - members.keys()):
            raise ValueError(f"the file lacks the arrays {', '.join(missing)}")
        streams = {name: opened.enter_context(archive.open(members[name])) for name in names}
        headers = {name: _header(stream, members[name]) for name, stream in streams.items()}
        counts = {header.shape[:1] for header in headers.values()}
        if len(counts) != 1 or counts == {()}:
            raise ValueError(f"the arrays {', '.join(sorted(names))} differ in length")
        if length * sum(header.row_bytes for header in headers.values()) > MAX_ARRAY_BYTES:
            raise ValueError(f"expected at most {MAX_ARRAY_BYTES} bytes in {length} rows, found more")
        (rows,) = counts.pop()
        for first in range(0, rows, length):
            count = min(length, rows - first)
            yield {
                name: headers[name].rows(stream.read(count * headers[name].row_bytes), count)
                for name, stream in streams.items()
            }


@contextlib.contextmanager
def _naming_the_file(path: Path | NamedBytesIO) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: expected an .npz file, found a damaged or other file ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # The archive names a position before the file's beginning.
            raise
        raise ValueError(f"{path}: expected an .npz file, found a damaged file; write it again") from error
    except (ValueError, SyntaxError, TypeError, OverflowError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Header:
    """The header of an `.npy` member, checked against the size of the member."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod([int(n) for n in self.shape[1:]], dtype=object))

    def rows(self, data: bytes, count: int) -> np.ndarray:
        if self.fortran_order and len(self.shape) > 1:
            raise ValueError("expected an array in C order, found Fortran order; it cannot be read by rows")
        return np.frombuffer(bytearray(data), self.dtype).reshape(count, *self.shape[1:])


def _header(file: Any, member: zipfile.ZipInfo) -> _Header:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array {member.filename}: expected .npy version 1.0 or 2.0, found {version}")
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    header = _Header(*read_header[version](file))
    if header.dtype.hasobject:
        raise ValueError(f"array {member.filename} holds pickled objects, which are refused")
    declared = header.dtype.itemsize * int(np.prod([int(n) for n in header.shape], dtype=object))
    if declared != member.file_size - file.tell():
        raise ValueError(
            f"array {member.filename} declares {declared} bytes, the file holds {member.file_size - file.tell()}"
        )
    return header


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        _header(file, member)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def check_format(
    path: Path | str | NamedBytesIO, arrays: Mapping[str, np.ndarray], name: str, version: int, keys: Set[str]
) -> None:
    """Raise ValueError unless arrays have the format `name`, a version up to `version`, and all `keys`."""
    found = str(arrays["format"]) if "format" in arrays else "no format key"
    if found != name:
        raise ValueError(f"{path}: expected a {name} file, found {found}")
    declared = arrays.get("version", np.empty(0))
    if declared.shape != () or declared.dtype.kind not in "iu":
        raise ValueError(f"{path}: expected the version of {name} as a number; write the file again")
    if int(declared) > version:
        raise ValueError(
            f"{path}: expected {name} version {version} or older, found {arrays['version']}; update selfmocap"
        )
    if missing := sorted(keys - arrays.keys()):
        raise ValueError(f"{path}: {name} lacks {', '.join(missing)}; write it again")


def check_numbers(
    path: Path | str | NamedBytesIO, arrays: Mapping[str, np.ndarray], keys: Collection[str]
) -> None:
    """Raise ValueError unless arrays are of a type that tensors have: Booleans, integers or real numbers."""
    for key in keys:
        dtype = arrays[key].dtype
        if dtype.newbyteorder("=").str[1:] not in _NUMBER_TYPES or not dtype.isnative:
            raise ValueError(f"{path}: {key} is of type {dtype}, expected numbers; write the file again")


def check_kinds(
    path: Path | str | NamedBytesIO, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, str]
) -> None:
    """Raise ValueError unless arrays are of the given kinds: `f` real numbers, `i` integers, `u` small integers."""
    names = {"f": "real numbers", "i": "integers", "u": "integers from 0 to 255"}
    for key, kind in kinds.items():
        dtype = arrays[key].dtype
        if dtype.kind != kind or (kind == "u" and dtype != np.uint8):
            raise ValueError(
                f"{path}: {key} is of type {dtype}, expected {names[kind]}; write the file again"
            )


def check_shapes(
    path: Path | str | NamedBytesIO,
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[str | int, ...]],
) -> None:
    """Raise ValueError unless arrays have the given shapes: a number is a size, equal names are equal sizes."""
    sizes: dict[str, int] = {}
    for key, shape in shapes.items():
        found = arrays[key].shape
        expected = tuple(sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in shape)
        if len(found) != len(shape) or any(
            isinstance(n, int) and n != m for n, m in zip(expected, found, strict=False)
        ):
            raise ValueError(f"{path}: {key} has shape {found}, expected ({', '.join(map(str, expected))})")
        sizes |= {axis: m for axis, m in zip(shape, found, strict=True) if isinstance(axis, str)}
