from pathlib import Path

import pytest

from tests.helpers.stub_capture import killed_and_run_again

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    not Path("/proc/self/stat").is_file(), reason="needs /proc to measure the CPU time of a process"
)
def test_captures_killed_at_random_moments_resume_to_the_same_result(tmp_path: Path) -> None:
    """Kill four captures; `benchmarks/capture_kills.py` kills twenty."""
    interrupted, different = killed_and_run_again(tmp_path, kills=4)
    assert interrupted >= 2
    assert not different
