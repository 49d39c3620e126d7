"""Read MATLAB 5 files (`.mat`) from untrusted sources: sizes are checked before memory is allocated."""

import io
import struct
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from selfmocap.io.files import existing_file

_HEADER = 128
_COMPRESSED, _MATRIX = 15, 14
_CHUNK = 1 << 20
_NUMERIC = {
    "double",
    "single",
    "logical",
    "char",
    *(f"{s}int{n}" for s in ("", "u") for n in (8, 16, 32, 64)),
}


def read_mat(path: Path | str, only: Collection[str], max_bytes: int) -> dict[str, np.ndarray]:
    """Read the arrays `only` that the file contains. All its arrays together may unpack to at most `max_bytes`.

    Raises ValueError for a damaged, too large or other file, and for arrays that are not plain numbers or text."""
    from scipy.io import loadmat, whosmat
    from scipy.io.matlab import MatReadError

    path = existing_file(path)
    if path.stat().st_size > max_bytes:
        raise ValueError(f"{path}: {path.stat().st_size} bytes; at most {max_bytes} are allowed")
    data = path.read_bytes()
    try:
        _check_unpacked_size(data, max_bytes)
        kinds = {name: kind for name, _, kind in whosmat(io.BytesIO(data)) if name in only}
        if wrong := [f"{name} ({kind})" for name, kind in kinds.items() if kind not in _NUMERIC]:
            raise ValueError(f"{', '.join(wrong)}: expected plain numbers or text")
        found = loadmat(io.BytesIO(data), variable_names=list(kinds))
    except (
        MatReadError, ValueError, TypeError, KeyError, IndexError, OSError, EOFError, zlib.error, struct.error,
        NotImplementedError, MemoryError, OverflowError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path}: expected a MATLAB 5 file of plain arrays ({error}); download it again"
        ) from error
    return {name: np.asarray(found[name]) for name in kinds}


def _check_unpacked_size(data: bytes, max_bytes: int) -> None:
    order = {b"IM": "<", b"MI": ">"}.get(data[_HEADER - 2 : _HEADER])
    if order is None:
        raise ValueError("no MATLAB 5 header")
    position, total = _HEADER, 0
    while position < len(data):
        kind, size = struct.unpack_from(f"{order}II", data, position)
        element = memoryview(data)[position + 8 : position + 8 + size]
        if kind not in (_COMPRESSED, _MATRIX) or len(element) < size:
            raise ValueError("an element is truncated or of an unknown kind")
        total += _unpacked(element, max_bytes - total) if kind == _COMPRESSED else size
        if total > max_bytes:
            raise ValueError(f"its arrays unpack to more than the {max_bytes} bytes allowed")
        position += 8 + size


def _unpacked(element: memoryview, enough: int) -> int:
    """Count the bytes that a compressed element unpacks to; stop soon after `enough`. The size that its array declares
    is not larger than its data."""
    stream = zlib.decompressobj()
    first = stream.decompress(element, _CHUNK)
    total = len(first)
    while stream.unconsumed_tail and total <= enough:
        total += len(stream.decompress(stream.unconsumed_tail, _CHUNK))
    return total
