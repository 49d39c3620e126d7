import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_matrix, csc_matrix, csr_matrix

from selfmocap.body_model.body import Body
from selfmocap.io.pickles import read_pickle


class RunsACommand:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.system, (f"touch {self.path}",)


def reconstruct(shape: tuple[int, ...], call: str = "numpy.core.multiarray _reconstruct") -> bytes:
    """Build pickle code that requests an array of `shape` from numpy before any data is read."""
    inner = b"(" + b"".join(b"L%dL\n" % n for n in shape) + b"t"
    return b"c" + call.replace(" ", "\n").encode() + b"\n(cnumpy\nndarray\n" + inner + b"S'b'\ntR."


def refused(tmp_path: Path, data: bytes, match: str) -> None:
    path = tmp_path / "hostile.pkl"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=match):
        read_pickle(path)
    with pytest.raises(ValueError, match=match):
        Body.load(path)


def test_a_pickle_that_runs_a_command_is_refused_and_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    refused(tmp_path, pickle.dumps({"v_template": RunsACommand(trace)}), "(posix|nt).system; it is refused")
    assert not trace.exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"c__builtin__\nexec\n(S'1'\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"csubprocess\nPopen\n(S'true'\ntR.",
        b"cnumpy\nload\n(S'/etc/passwd'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'/etc/passwd'\ntR.",
        b"ccopy_reg\n_reconstructor\n(cos\nsystem\nc__builtin__\nobject\nNtR.",
        b"cscipy.sparse._csc.os\nsystem\n(S'true'\ntR.",
    ],
)
def test_pickles_that_name_other_code_are_refused(tmp_path: Path, code: bytes) -> None:
    refused(tmp_path, code, "refused because other objects could run code")


def test_chumpy_names_run_no_code(tmp_path: Path) -> None:
    refused(tmp_path, b"cchumpy.ch.os\nsystem\n(S'true'\ntR.", "an object with attributes")


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (pickle.dumps({"a": np.zeros((50, 3))})[:-40], "found"),
        (b"\x80\x02", "found"),
        (b"hello, world", "found"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62), "found"),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 40), "found"),
        (pickle.dumps({"a": {1, 2}}), "set"),
        (pickle.dumps(np.array([{1}], dtype=object)), "found"),
    ],
    ids=["truncated", "header only", "text", "huge bytes", "huge bytearray", "a set", "an object array"],
)
def test_damaged_and_unsupported_pickles_are_refused(tmp_path: Path, data: bytes, match: str) -> None:
    refused(tmp_path, data, match)


def test_a_pickle_with_a_huge_array_takes_no_memory(tmp_path: Path) -> None:
    """The pickle requests 10^12 numbers: the array stays empty, and the file is no body."""
    path = tmp_path / "huge.pkl"
    for call in ("numpy.core.multiarray _reconstruct", "numpy ndarray"):
        path.write_bytes(reconstruct((1000000, 1000000), call))
        assert read_pickle(path).size == 0
        with pytest.raises(ValueError, match="expected an SMPL"):
            Body.load(path)


def test_nesting_and_size_are_bounded(tmp_path: Path) -> None:
    nested: list = []
    for _ in range(30):
        nested = [nested]
    refused(tmp_path, pickle.dumps(nested), "nested deeper")
    path = tmp_path / "large.pkl"
    path.write_bytes(pickle.dumps(np.zeros(1000)))
    with pytest.raises(ValueError, match="at most 100 bytes"):
        read_pickle(path, max_bytes=100)


@pytest.mark.parametrize("make", [csc_matrix, csr_matrix, coo_matrix])
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_arrays_and_sparse_matrices_survive(tmp_path: Path, make: Callable, protocol: int) -> None:
    if make is coo_matrix:
        make = lambda dense: coo_matrix(dense).tocsc()  # noqa: E731
    dense = np.eye(3, 4)
    content = {
        "matrix": make(dense),
        "text": "män",
        "n": np.float32(2),
        "list": [1, (2.0, None)],
        "a": np.arange(6),
    }
    path = tmp_path / "good.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    found = read_pickle(path)
    assert (found["matrix"] == dense).all()
    assert (found["a"] == np.arange(6)).all()
    assert (found["text"], found["n"], found["list"]) == ("män", 2, [1, (2.0, None)])


def test_chumpy_arrays_are_read_without_chumpy(tmp_path: Path) -> None:
    """SMPL 1.0 has chumpy.ch.Ch with its data in `x`, and chumpy.reordering.Select of one."""

    def foreign(module: str, name: str, state: dict) -> bytes:
        return (
            b"ccopy_reg\n_reconstructor\n(c"
            + f"{module}\n{name}\n".encode()
            + (b"c__builtin__\nobject\nNtR" + pickle.dumps(state, protocol=0)[:-1] + b"b")
        )

    array = np.arange(6.0).reshape(2, 3)
    ch = foreign("chumpy.ch", "Ch", {"x": array})
    path = tmp_path / "ch.pkl"
    path.write_bytes(ch + b".")
    assert (read_pickle(path) == array).all()
    state = (
        b"(dS'idxs'\n"
        + pickle.dumps(np.array([5, 0]), protocol=0)[:-1]
        + b"sS'preferred_shape'\n(I1\nI2\ntsS'a'\n"
    )
    select = (
        b"ccopy_reg\n_reconstructor\n(cchumpy.reordering\nSelect\nc__builtin__\nobject\nNtR"
        + state
        + ch
        + b"sb."
    )
    path.write_bytes(select)
    assert read_pickle(path).tolist() == [[5.0, 0.0]]
