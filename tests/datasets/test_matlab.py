import io
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from selfmocap.datasets.matlab import read_mat


def test_a_mat_that_unpacks_to_too_much_is_refused_before_it_does(tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "bomb.mat", {"a": np.zeros((4000, 1000))}, do_compression=True)
    assert (tmp_path / "bomb.mat").stat().st_size < 1 << 17
    with pytest.raises(ValueError, match=r"bomb\.mat.*allowed"):
        read_mat(tmp_path / "bomb.mat", ["a"], max_bytes=1 << 20)


def test_damaged_mats_raise_value_errors(tmp_path: Path) -> None:
    stream = io.BytesIO()
    scipy.io.savemat(stream, {"a": np.arange(50.0), "b": "text"}, do_compression=True)
    whole = stream.getvalue()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.mat"
    refused = 0
    for cut in range(1, len(whole), 7):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"damaged\.mat"):
            read_mat(path, ["a"], 1 << 20)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[rng.integers(0, len(whole))] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_mat(path, ["a"], 1 << 20)
        except ValueError as error:
            assert "damaged.mat" in str(error)
            refused += 1
    assert refused > 20
