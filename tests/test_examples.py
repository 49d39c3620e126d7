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
    subprocess.run([sys.executable, str(example), str(target)], check=True, timeout=120, capture_output=True)
    assert max(path.stat().st_size for path in tmp_path.rglob("*.png")) > 10_000
