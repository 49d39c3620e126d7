"""Every example runs and draws."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_draws(example: Path, tmp_path: Path) -> None:
    target = tmp_path / "picture.png" if "poses" in example.stem else tmp_path
    done = subprocess.run(
        [sys.executable, str(example), str(target)], cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert max(path.stat().st_size for path in tmp_path.rglob("*.png")) > 10_000
