from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.atomic import atomic_write, remove_temporaries
from selfmocap.io.npz import read_npz, write_npz


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.npz"
    write_npz(path, {"a": np.ones(1)})
    with pytest.raises(RuntimeError, match="disk"), atomic_write(path) as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError("disk")
    assert read_npz(path)["a"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["result.npz"]
    with (
        pytest.raises(FileNotFoundError, match="does not exist; create it"),
        atomic_write(tmp_path / "no" / "a"),
    ):
        pass


def test_only_temporary_files_are_removed(tmp_path: Path) -> None:
    kept = [".motion-1.bvh", ".overlay-notes", "overlay-abcdefgh.mp4", ".settings-abcdefgh.json"]
    for name in [*kept, ".overlay-abc_123x.mp4", ".motion-2-abcdefgh.npz"]:
        (tmp_path / name).touch()
    for stems in ("overlay", "motion*"):
        remove_temporaries(tmp_path, stems)
    assert {path.name for path in tmp_path.iterdir()} == {*kept}
