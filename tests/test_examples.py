"""Every example runs and draws."""

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.helpers.programs import run_program

pytestmark = pytest.mark.slow
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_draws(example: Path, tmp_path: Path) -> None:
    target = tmp_path / "picture.png" if "poses" in example.stem else tmp_path
    done = run_program(example, [target], folder=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert max(path.stat().st_size for path in tmp_path.rglob("*.png")) > 10_000
