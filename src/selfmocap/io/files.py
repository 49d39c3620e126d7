"""Files that may come from strangers are read with bounds; files of ours appear whole or not at all."""

import contextlib
import io
import os
import pickle
import re
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

MAX_ARRAY_BYTES = 4 << 30
MAX_PICKLE_BYTES = 1 << 30


@contextlib.contextmanager
def written_whole(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` to write to: renamed to `path` on success, removed on any failure."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"{path}: the folder {path.parent} does not exist; create it or write elsewhere"
        )
    number, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(number)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o666 & ~_umask())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path, stems: str = "*") -> None:
    """Removes what `written_whole` left in a folder when its process was killed, of files whose stems match."""
    for path in folder.glob(f".{stems}-*"):
        if re.fullmatch(r"\..+-[a-z0-9_]{8}(\.\w+)?", path.name) and path.is_file():
            path.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_npz(path: Path | str, arrays: Mapping[str, Any]) -> None:
    """Writes arrays as a compressed `.npz`, whole or not at all."""
    assert not any(np.asarray(array).dtype.hasobject for array in arrays.values())
    with written_whole(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **arrays)


class PartOfFile(io.BytesIO):
    """A file that lies in another one, with what errors call it."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name

    def __str__(self) -> str:
        return self.name


def read_npz(
    path: Path | str | PartOfFile, only: Collection[str] | None = None, max_bytes: int = MAX_ARRAY_BYTES
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`, or `only` those of some names; never a pickled object. Before any memory is taken,
    every declared size is checked against what the file holds and against `max_bytes` in all."""
    path = path if isinstance(path, PartOfFile) else existing_file(path)
    with _refused_if_damaged(path), zipfile.ZipFile(path) as archive:
        members = [m for m in archive.infolist() if only is None or m.filename.removesuffix(".npy") in only]
        total = sum(member.file_size for member in members)
        if total > max_bytes:
            raise ValueError(f"its arrays take {total} bytes, more than the {max_bytes} allowed")
        return {member.filename.removesuffix(".npy"): _read_member(archive, member) for member in members}


def npz_names(path: Path | str) -> set[str]:
    """The names of the arrays in an `.npz`."""
    path = existing_file(path)
    with _refused_if_damaged(path), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def npz_rows(path: Path | str, names: Collection[str], length: int) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of those names in an `.npz`, `length` rows (along the first axis) at a time: memory does not grow with
    the file. Sizes are checked as `read_npz` does, `MAX_ARRAY_BYTES` being the bound of one part."""
    path = existing_file(path)
    with _refused_if_damaged(path), contextlib.ExitStack() as opened:
        archive = opened.enter_context(zipfile.ZipFile(path))
        members = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
        if missing := sorted(set(names) - members.keys()):
            raise ValueError(f"lacks {', '.join(missing)}")
        streams = {name: opened.enter_context(archive.open(members[name])) for name in names}
        headers = {name: _header(stream, members[name]) for name, stream in streams.items()}
        counts = {header.shape[:1] for header in headers.values()}
        if len(counts) != 1 or counts == {()}:
            raise ValueError(f"its arrays {', '.join(sorted(names))} differ in length")
        if length * sum(header.row_bytes for header in headers.values()) > MAX_ARRAY_BYTES:
            raise ValueError(f"{length} rows take more than the {MAX_ARRAY_BYTES} bytes allowed")
        (rows,) = counts.pop()
        for first in range(0, rows, length):
            count = min(length, rows - first)
            yield {
                name: headers[name].rows(stream.read(count * headers[name].row_bytes), count)
                for name, stream in streams.items()
            }


@contextlib.contextmanager
def _refused_if_damaged(path: Path | PartOfFile) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path}: expected an .npz file, found a damaged or other file ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


@dataclass(frozen=True)
class _Header:
    """What an `.npy` member says of itself, and what the file holds agrees."""

    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * int(np.prod([int(n) for n in self.shape[1:]], dtype=object))

    def rows(self, data: bytes, count: int) -> np.ndarray:
        if self.columns_first and len(self.shape) > 1:
            raise ValueError("an array laid out by columns cannot be read by rows")
        return np.frombuffer(bytearray(data), self.dtype).reshape(count, *self.shape[1:])


def _header(file: Any, member: zipfile.ZipInfo) -> _Header:
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"array {member.filename}: .npy version {version} is not read")
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    header = _Header(*read_header[version](file))
    if header.dtype.hasobject:
        raise ValueError(f"array {member.filename} holds pickled objects, which are never read")
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


def existing_file(path: Path | str) -> Path:
    """The path, if it is a file that is not empty."""
    path = Path(path)
    if path.is_dir():
        raise FileNotFoundError(f"{path} is a folder; a file is expected")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.stat().st_size == 0:
        raise ValueError(f"{path} is empty")
    return path


def check_format(
    path: Path | str | PartOfFile, arrays: Mapping[str, np.ndarray], name: str, version: int, keys: Set[str]
) -> None:
    """Refuses arrays that are not of our format `name`, of a newer version, or lack a key."""
    found = str(arrays["format"]) if "format" in arrays else "no format key"
    if found != name:
        raise ValueError(f"{path}: expected a {name} file, found {found}")
    if int(arrays["version"]) > version:
        raise ValueError(
            f"{path}: {name} version {arrays['version']}; this program reads up to {version}: update it"
        )
    if missing := sorted(keys - arrays.keys()):
        raise ValueError(f"{path}: {name} lacks {', '.join(missing)}; write it again")


def check_shapes(
    path: Path | str | PartOfFile,
    arrays: Mapping[str, np.ndarray],
    shapes: Mapping[str, tuple[str | int, ...]],
) -> None:
    """Refuses arrays whose shapes are not as named: a number is that size, a name is one size throughout."""
    sizes: dict[str, int] = {}
    for key, shape in shapes.items():
        found = arrays[key].shape
        expected = tuple(sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in shape)
        if len(found) != len(shape) or any(
            isinstance(n, int) and n != m for n, m in zip(expected, found, strict=False)
        ):
            raise ValueError(f"{path}: {key} has shape {found}, expected ({', '.join(map(str, expected))})")
        sizes |= {axis: m for axis, m in zip(shape, found, strict=True) if isinstance(axis, str)}


# ---- pickles --------------------------------------------------------------------------------------------------


class _Array(np.ndarray):
    """What a pickle gets for `numpy.ndarray`: empty however it is called, filled only by its checked state."""

    def __new__(cls, *_: Any) -> "_Array":
        return super().__new__(cls, (0,))


class Attributes:
    """What a pickle gets for a foreign object (chumpy, scipy.sparse): its attributes, and none of its code."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise pickle.UnpicklingError("an object's state is not a dict")
        self.__dict__.update(state)


def _dtype(code: Any, *_: Any) -> np.dtype:
    code = code.decode("latin1") if isinstance(code, bytes) else code
    if not (isinstance(code, str) and re.fullmatch(r"[<>|=]?[biufSUO]\d{0,4}", code)):
        raise pickle.UnpicklingError(f"a number type {code!r}")
    return np.dtype(code)


def _scalar(dtype: np.dtype, data: Any = b"") -> Any:
    if dtype.hasobject or not isinstance(data, (bytes, str)):
        raise pickle.UnpicklingError("a scalar that is not a number")
    return np.frombuffer(data.encode("latin1") if isinstance(data, str) else data, dtype, count=1)[0]


def _from_buffer(data: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    if dtype.hasobject:
        raise pickle.UnpicklingError("an array of objects")
    return np.frombuffer(data, dtype).reshape(shape, order="F" if order == "F" else "C")


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1" or not isinstance(text, str):
        raise pickle.UnpicklingError("a text encoding other than latin1")
    return text.encode("latin1")


def _rebuild(kind: Any, *_: Any) -> Any:
    if kind not in (_Array, Attributes):
        raise pickle.UnpicklingError("an object of an unknown kind")
    return kind()


_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_SAFE: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("copy_reg", "_reconstructor"): _rebuild,
    ("copyreg", "_reconstructor"): _rebuild,
    ("__builtin__", "object"): Attributes,
    ("builtins", "object"): Attributes,
    **{(module, "_frombuffer"): _from_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
    **{(module, "_reconstruct"): _rebuild for module in _ARRAY_MODULES},
    **{(module, "scalar"): _scalar for module in _ARRAY_MODULES},
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _SAFE:
            return _SAFE[module, name]
        if module.startswith("chumpy.") or re.fullmatch(r"scipy\.sparse\.(_?cs[cr]|_?coo)", module):
            return Attributes
        raise pickle.UnpicklingError(f"{module}.{name}")


def read_pickle(path: Path | str, max_bytes: int = MAX_PICKLE_BYTES) -> Any:
    """The plain data, numpy arrays, scipy sparse matrices and chumpy arrays of a pickle, reconstructed as numpy
    arrays in dicts, lists and tuples. No code of the pickle's choosing is run and chumpy is not needed; anything
    else in it is refused with a ValueError that names it."""
    path = existing_file(path)
    if path.stat().st_size > max_bytes:
        raise ValueError(
            f"{path}: {path.stat().st_size} bytes, more than the {max_bytes} allowed for a pickle"
        )
    try:
        with path.open("rb") as file:
            return _plain(_load(file), depth=0)
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
        MemoryError, OverflowError, UnicodeDecodeError, RecursionError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path}: expected a pickle of numpy arrays, scipy sparse matrices and chumpy arrays only, found "
            f"{error or type(error).__name__}; it is refused because other objects could run code"
        ) from error


def _load(file: IO[bytes]) -> Any:
    return _ArraysOnly(file, encoding="latin1").load()


def _plain(value: Any, depth: int) -> Any:
    if depth > 20:
        raise pickle.UnpicklingError("data nested deeper than 20 levels")
    if isinstance(value, Attributes):
        return _plain(_array_of(value), depth + 1)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return [_plain(item, depth + 1) for item in value.ravel().tolist()]
        return np.asarray(value)
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item, depth + 1) for item in value)
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return value
    raise pickle.UnpicklingError(f"a value of type {type(value).__name__}")


def _array_of(value: Attributes) -> Any:
    """A dense array from the attributes of a scipy sparse matrix, of chumpy's Ch (x) or of its Select (a, idxs)."""
    found = vars(value)
    if {"data", "indices", "indptr"} <= found.keys():
        return _dense(found)
    if "x" in found:
        return found["x"]
    if {"a", "idxs", "preferred_shape"} <= found.keys():
        return np.asarray(_plain(found["a"], 0)).ravel()[found["idxs"]].reshape(found["preferred_shape"])
    raise pickle.UnpicklingError(f"an object with attributes {sorted(found)}")


def _dense(found: dict[str, Any]) -> np.ndarray:
    from scipy.sparse import csc_matrix, csr_matrix

    shape = tuple(int(n) for n in found.get("_shape", found.get("shape", ())))
    if len(shape) != 2 or not 0 < shape[0] * shape[1] <= 1 << 24:
        raise pickle.UnpicklingError(f"a sparse matrix of shape {shape}")
    data, indices, indptr = (np.asarray(found[key]) for key in ("data", "indices", "indptr"))
    by_row = len(indptr) == shape[0] + 1 and (len(indptr) != shape[1] + 1 or found.get("format") == "csr")
    matrix = (csr_matrix if by_row else csc_matrix)((data, indices, indptr), shape=shape)
    matrix.check_format(full_check=True)
    return matrix.toarray()
