"""Read the arrays of files that other programs pickle without running any code that the files name: pickles of
joblib, object arrays of NumPy (`.npy`, `.npz`) and tensors of PyTorch (`.pt`)."""

import errno
import io
import json
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from selfmocap.io.files import existing_file
from selfmocap.io.pickles import plain_data, refusing_other_objects, safe_class

MAX_FILE_BYTES = 2 << 30
_TORCH_MAGIC = 0x1950A86A20F9469CFC6C
"""First object of a file that PyTorch writes without a zip archive."""
_STORAGE_TYPES = {
    f"{name}Storage": np.dtype(code)
    for name, code in (
        ("Double", "<f8"), ("Float", "<f4"), ("Half", "<f2"), ("Long", "<i8"), ("Int", "<i4"), ("Short", "<i2"),
        ("Char", "<i1"), ("Byte", "<u1"), ("Bool", "?"),
    )
}  # fmt: skip
_EXPECTED = "a pickle, an array file or JSON of numbers, text, arrays and tensors"

Storage = Callable[[Any, np.dtype, int], np.ndarray]
"""Finds the numbers of a tensor by key, type and count."""


def read_pickled_file(path: Path | str, max_bytes: int = MAX_FILE_BYTES) -> Any:
    """Read plain data from a pickle (of pickle, joblib or PyTorch), an `.npy`, an `.npz` or a JSON file, whatever its
    name is. Arrays and tensors become numpy arrays.

    The size of each array is compared with the file's before memory is allocated. A ValueError names the file, and an
    object that is not plain data."""
    path = existing_file(path)
    if path.stat().st_size > max_bytes:
        raise ValueError(
            f"{path}: expected at most {max_bytes} bytes, found {path.stat().st_size}; split the file"
        )
    with refusing_other_objects(path, _EXPECTED), path.open("rb") as file:
        start = file.read(16)
        file.seek(0)
        if start.startswith(b"PK\x03\x04"):
            return plain_data(_read_archive(file, max_bytes))
        if start.startswith(b"\x93NUMPY"):
            return plain_data(_read_npy(file, path.stat().st_size))
        if start.lstrip().startswith((b"{", b"[")):
            return json.loads(file.read())
        if start.startswith((b"\x1f\x8b", b"x\x9c", b"x\x01", b"x\xda", b"x^", b"BZh", b"\xfd7zXZ", b"ZF")):
            raise pickle.UnpicklingError("a compressed pickle (write it with joblib.dump(..., compress=0))")
        value = _Unpickler(file).load()
        return plain_data(_read_bare_tensors(file) if value == _TORCH_MAGIC else value)


class _ArrayInFile:
    """Stand-in for joblib's mark of an array, whose numbers follow in the file."""

    shape: Any
    order: Any
    dtype: Any
    numpy_array_alignment_bytes: Any = None

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class _Unpickler(pickle._Unpickler):
    """The unpickler of the standard library that is written in Python: the position in the file is known."""

    def __init__(self, file: Any, storage: Storage | None = None) -> None:
        super().__init__(file, encoding="latin1")
        self._source, self._storage = file, storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return _ArrayInFile
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch.storage", "_load_from_bytes"):
            return _storage_of_bytes
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        return safe_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        if self._storage is None or not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise pickle.UnpicklingError(f"a reference {str(pid)[:80]!r}")
        _, dtype, key, _, count, *_ = pid
        if not isinstance(dtype, np.dtype) or not isinstance(count, int) or count < 0:
            raise pickle.UnpicklingError(f"a tensor's storage of type {dtype} with {count} numbers")
        return self._storage(key, dtype, count)

    def load_build(self) -> None:
        pickle._Unpickler.load_build(self)  # pyright: ignore[reportAttributeAccessIssue]
        stack = self.stack  # pyright: ignore[reportAttributeAccessIssue]
        if isinstance(stack[-1], _ArrayInFile):
            stack[-1] = _array_in_file(self._source, stack[-1])

    dispatch: ClassVar[dict[int, Any]] = pickle._Unpickler.dispatch | {pickle.BUILD[0]: load_build}  # pyright: ignore[reportAttributeAccessIssue]


def _array_in_file(file: Any, found: _ArrayInFile) -> np.ndarray:
    if found.numpy_array_alignment_bytes is not None:
        file.read(file.read(1)[0])
    return _numbers(file, _remaining(file), found.dtype, found.shape, found.order)


def _remaining(file: Any) -> int:
    position = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(position)
    return end - position


def _numbers(file: Any, size: int, dtype: Any, shape: Any, order: Any) -> np.ndarray:
    """Read an array from the next bytes of a file, of which there are at most `size`."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError(f"an array of {dtype}")
    if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f"an array of shape {str(shape)[:80]}")
    count = math.prod(shape)
    if count * dtype.itemsize > size:
        raise pickle.UnpicklingError(f"an array of {count * dtype.itemsize} bytes in a file with {size} more")
    data = file.read(count * dtype.itemsize)
    return np.frombuffer(data, dtype, count).reshape(shape, order="F" if order == "F" else "C")


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """Return a tensor's view of its storage; one that is larger than the storage is refused."""
    whole = [offset, *size, *stride]
    if not isinstance(storage, np.ndarray) or not all(isinstance(n, int) and n >= 0 for n in whole):
        raise pickle.UnpicklingError("a tensor without a storage, size or stride")
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if math.prod(size) and (last >= storage.size or math.prod(size) > storage.size):
        raise pickle.UnpicklingError(f"a tensor of size {tuple(size)} in a storage of {storage.size} numbers")
    if not math.prod(size):
        return np.empty(size, storage.dtype)
    strides = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, strides, writeable=False)


def _storage_of_bytes(data: Any) -> np.ndarray:
    """Read a storage that is pickled as the bytes of a file of its own."""
    file = io.BytesIO(data)
    if _Unpickler(file).load() != _TORCH_MAGIC:
        raise pickle.UnpicklingError("a tensor's storage that PyTorch did not write")
    return _read_bare_tensors(file)


def _read_bare_tensors(file: Any) -> Any:
    """Read what follows PyTorch's magic number: version, system, the data, the storages' keys, and each storage."""
    for _ in range(2):
        _Unpickler(file).load()
    start = file.tell()
    sizes: dict[Any, tuple[np.dtype, int]] = {}

    def note_size(key: Any, dtype: np.dtype, count: int) -> np.ndarray:
        sizes[key] = (dtype, count)
        return np.lib.stride_tricks.as_strided(np.zeros(1, dtype), (count,), (0,), writeable=False)

    _Unpickler(file, note_size).load()
    storages = {}
    for key in _Unpickler(file).load():
        dtype, count = sizes[key]
        (declared,) = struct.unpack("<q", file.read(8))
        if declared != count:
            raise pickle.UnpicklingError(f"a tensor's storage of {declared} numbers, {count} expected")
        storages[key] = _numbers(file, _remaining(file), dtype, (count,), "C")
    file.seek(start)
    return _Unpickler(file, lambda key, *_: storages[key]).load()


# ---- archives --------------------------------------------------------------------------------------------------


def _read_archive(file: Any, max_bytes: int) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            if (total := sum(member.file_size for member in members)) > max_bytes:
                raise pickle.UnpicklingError(f"{total} bytes of arrays, more than {max_bytes}")
            roots = [
                m.filename.removesuffix("/data.pkl") for m in members if m.filename.endswith("/data.pkl")
            ]
            if roots:
                return _read_torch_archive(archive, roots[0])
            return {m.filename.removesuffix(".npy"): _read_member(archive, m) for m in members}
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as error:
        raise pickle.UnpicklingError(f"a damaged archive ({error})") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # The archive names a position before the file's beginning.
            raise
        raise pickle.UnpicklingError("a damaged archive") from error


def _read_torch_archive(archive: zipfile.ZipFile, root: str) -> Any:
    def storage(key: Any, dtype: np.dtype, count: int) -> np.ndarray:
        member = archive.getinfo(f"{root}/data/{key}")
        with archive.open(member) as file:
            return _numbers(file, member.file_size, dtype, (count,), "C")

    with archive.open(f"{root}/data.pkl") as file:
        return _Unpickler(file, storage).load()


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Any:
    with archive.open(member) as file:
        return _read_npy(file, member.file_size)


def _read_npy(file: Any, size: int) -> Any:
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    shape, fortran_order, dtype = read_header[version](file)
    if not dtype.hasobject:
        return _numbers(file, size - file.tell(), dtype, shape, "F" if fortran_order else "C")
    array = _Unpickler(file).load()
    return array.item() if isinstance(array, np.ndarray) and array.ndim == 0 else array
