import os
import sys
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.memory import give_memory_back, peak_memory_gb


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_is_freed_below_something_that_stays_goes_back_to_the_system() -> None:
    blocks = [np.ones(10_000) for _ in range(2000)]
    stays = np.ones(10_000)
    held = resident_mb()
    del blocks
    give_memory_back()
    assert resident_mb() < held - 100 and stays.all()
    peak = peak_memory_gb()
    assert peak is not None and 1000 * peak > held - 1
