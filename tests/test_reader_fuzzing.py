"""No damaged file makes a reader raise anything but its documented errors; scripts/fuzz_readers.py tries more."""

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from selfmocap.body_model.body import Body
from selfmocap.body_model.model_files import read_body
from selfmocap.datasets.cmu_exponential import read_cmu_exponential
from selfmocap.io.pickled_files import read_pickled_file
from selfmocap.io.video import open_video
from tests.helpers.fuzzing import damaged, failure, targets
from tests.helpers.smpl_files import smpl_arrays

INPUTS_PER_READER = 16


@pytest.mark.slow
def test_readers_refuse_damaged_files(tmp_path_factory: pytest.TempPathFactory, body: Body) -> None:
    wrong = []
    for target in targets(body):
        rng = np.random.default_rng(0)
        folder = tmp_path_factory.mktemp("fuzz")
        assert failure(target, target.good, folder) is None, target.name
        for _ in range(INPUTS_PER_READER):
            wrong.append(failure(target, damaged(target, rng), folder))
    assert not [text for text in wrong if text is not None]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_a_damaged_avif_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)).save(
        stream, "AVIF"
    )
    path = tmp_path / "a.avif"
    head, mark, pixels = stream.getvalue().partition(b"mdat")
    path.write_bytes(head + mark + bytes(len(pixels)))
    with pytest.raises(ValueError, match=r"a\.avif: expected an image, found damaged data"):
        list(open_video(path).frames())


@pytest.mark.parametrize("name", ["v_template", "J_regressor"])
def test_an_array_without_dimensions_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(path, **(smpl_arrays(vertices=60) | {name: np.float64(3)}))
    with pytest.raises(ValueError, match=r"SMPL_NEUTRAL\.npz"):
        read_body(path)


def test_an_array_header_that_is_no_literal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00v\x00" + b"{'descr': (('f8', 'shape': (".ljust(117) + b"\n")
    with pytest.raises(ValueError, match=r"a\.npy"):
        read_pickled_file(path)


def test_a_table_takes_no_more_memory_than_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(",".join(["0"] * 777))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="expected 117 numbers per line, found 777"):
            read_cmu_exponential(path)
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()
