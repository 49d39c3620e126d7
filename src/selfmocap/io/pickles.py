"""Read numpy arrays from pickles without running any code that the pickle names."""

import contextlib
import pickle
import re
import struct
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from selfmocap.io.files import existing_file

MAX_PICKLE_BYTES = 1 << 30
_MAX_DEPTH = 20
_MAX_DENSE_SIZE = 1 << 24
"""Elements of the largest sparse matrix that is made dense."""


class _Array(np.ndarray):
    """Stand-in for `numpy.ndarray`: empty whatever its arguments are, filled only by its checked state."""

    def __new__(cls, *_: Any) -> "_Array":
        return super().__new__(cls, (0,))


class _Attributes:
    """Stand-in for a foreign object (chumpy, scipy.sparse): it has the object's attributes and none of its code."""

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
    if kind not in (_Array, _Attributes):
        raise pickle.UnpicklingError("an object of an unknown kind")
    return kind()


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _empty_bytes(*_: Any) -> bytes:
    """Stand-in for `bytes`, which protocol 2 calls without arguments where the data is empty."""
    return b""


_ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_SAFE: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    ("copy_reg", "_reconstructor"): _rebuild,
    ("copyreg", "_reconstructor"): _rebuild,
    ("__builtin__", "object"): _Attributes,
    ("builtins", "object"): _Attributes,
    ("__builtin__", "dict"): _empty_dict,
    ("builtins", "dict"): _empty_dict,
    ("__builtin__", "bytes"): _empty_bytes,
    ("collections", "OrderedDict"): _empty_dict,
    ("collections", "defaultdict"): _empty_dict,
    **{(module, "_frombuffer"): _from_buffer for module in ("numpy.core.numeric", "numpy._core.numeric")},
    **{(module, "_reconstruct"): _rebuild for module in _ARRAY_MODULES},
    **{(module, "scalar"): _scalar for module in _ARRAY_MODULES},
}


def safe_class(module: str, name: str) -> Any:
    """Return the stand-in for a class or function that a pickle names. Raises UnpicklingError for one that is not
    needed for plain data, numpy arrays, scipy sparse matrices and chumpy arrays."""
    if (module, name) in _SAFE:
        return _SAFE[module, name]
    if module.startswith("chumpy.") or re.fullmatch(r"scipy\.sparse\.(_?cs[cr]|_?coo)", module):
        return _Attributes
    raise pickle.UnpicklingError(f"{module}.{name}")


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return safe_class(module, name)


def read_pickle(path: Path | str, max_bytes: int = MAX_PICKLE_BYTES) -> Any:
    """Read plain data, numpy arrays, scipy sparse matrices and chumpy arrays from a pickle.

    Returns numpy arrays in dicts, lists and tuples; sparse matrices become dense. No code that the pickle names is
    run, and chumpy is not needed. A ValueError names any other object in the file."""
    path = existing_file(path)
    if path.stat().st_size > max_bytes:
        raise ValueError(
            f"{path}: expected a pickle of at most {max_bytes} bytes, found {path.stat().st_size}"
        )
    expected = "a pickle of numpy arrays, scipy sparse matrices and chumpy arrays"
    with refusing_other_objects(path, expected), path.open("rb") as file:
        return plain_data(_load(file))


@contextlib.contextmanager
def refusing_other_objects(path: Path, expected: str) -> Iterator[None]:
    """Turn the errors of reading a pickle into a ValueError that names the file, and what was expected and found."""
    try:
        yield
    except (
        pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError,
        MemoryError, OverflowError, RecursionError, SyntaxError, struct.error, tokenize.TokenError,
    ) as error:  # fmt: skip
        raise ValueError(
            f"{path}: expected {expected} only, found {error or type(error).__name__}; it is refused "
            "because other objects could run code"
        ) from error


def _load(file: IO[bytes]) -> Any:
    return _ArraysOnly(file, encoding="latin1").load()


def plain_data(value: Any) -> Any:
    """Convert what was unpickled with `safe_class` to numpy arrays, numbers and text in dicts, lists and tuples.

    Raises UnpicklingError for data of another type, and for data nested too deeply."""
    return _plain(value, 0, {})


def _plain(value: Any, depth: int, done: dict[int, Any]) -> Any:
    """`done` has the result for each container by its id: one that is stored once can be referred to very often."""
    if depth > _MAX_DEPTH:
        raise pickle.UnpicklingError(f"data nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, (dict, list, tuple, np.ndarray, _Attributes)):
        if id(value) not in done:
            done[id(value)] = _plain_container(value, depth + 1, done)
        return done[id(value)]
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return value
    raise pickle.UnpicklingError(f"a value of type {type(value).__name__}")


def _plain_container(value: Any, depth: int, done: dict[int, Any]) -> Any:
    if isinstance(value, _Attributes):
        return _plain(_array_of(value), depth, done)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            return [_plain(item, depth, done) for item in value.ravel().tolist()]
        return np.asarray(value)
    if isinstance(value, dict):
        return {key: _plain(item, depth, done) for key, item in value.items()}
    return type(value)(_plain(item, depth, done) for item in value)


def _array_of(value: _Attributes) -> Any:
    """Build a dense array from the attributes of a scipy sparse matrix, of chumpy's Ch (x) or Select (a, idxs)."""
    found = vars(value)
    if {"data", "indices", "indptr"} <= found.keys():
        return _dense(found)
    if "x" in found:
        return found["x"]
    if {"a", "idxs", "preferred_shape"} <= found.keys():
        return np.asarray(plain_data(found["a"])).ravel()[found["idxs"]].reshape(found["preferred_shape"])
    raise pickle.UnpicklingError(f"an object with attributes {sorted(found)}")


def _dense(found: dict[str, Any]) -> np.ndarray:
    from scipy.sparse import csc_matrix, csr_matrix

    shape = tuple(int(n) for n in found.get("_shape", found.get("shape", ())))
    if len(shape) != 2 or not 0 < shape[0] * shape[1] <= _MAX_DENSE_SIZE:
        raise pickle.UnpicklingError(f"a sparse matrix of shape {shape}")
    data, indices, indptr = (np.asarray(found[key]) for key in ("data", "indices", "indptr"))
    by_row = len(indptr) == shape[0] + 1 and (len(indptr) != shape[1] + 1 or found.get("format") == "csr")
    matrix = (csr_matrix if by_row else csc_matrix)((data, indices, indptr), shape=shape)
    matrix.check_format(full_check=True)
    return matrix.toarray()
