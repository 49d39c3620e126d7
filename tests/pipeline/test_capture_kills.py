from pathlib import Path

import pytest

from tests.helpers.stub_capture import killed_and_run_again

pytestmark = pytest.mark.slow


@pytest.mark.skipif(
    not Path("/proc/self/stat").is_file(), reason="needs /proc to know how long a process has worked"
)
def test_killed_at_random_moments_and_run_again_the_result_is_the_same(tmp_path: Path) -> None:
    """Four times here; `benchmarks/capture_kills.py` does it twenty times."""
    cut_short, different = killed_and_run_again(tmp_path, kills=4)
    assert cut_short >= 2
    assert not different
