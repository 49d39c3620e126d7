"""Spools: rows survive an interruption and are written to an npz file."""

from pathlib import Path

import numpy as np

from selfmocap.io.spool import Spool, write_npz_from_spools


def test_a_spool_survives_half_a_row_and_streams_into_an_npz(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (200, 5, 3), dtype=np.uint8)
    spool = Spool(tmp_path / "a", (5, 3), np.uint8)
    spool.append(rows[:150])
    with (tmp_path / "a").open("ab") as file:
        file.write(b"half")
    again = Spool(tmp_path / "a", (5, 3), np.uint8)
    again.truncate(140)
    again.append(rows[140:])
    np.testing.assert_array_equal(again.read(130, 160), rows[130:160])
    write_npz_from_spools(tmp_path / "a.npz", {"name": "x", "n": np.arange(3)}, {"rows": again})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["rows"], rows)
        assert str(loaded["name"]) == "x"
