import os
import sys
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.memory import peak_memory_gb, release_free_memory


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_free_memory_below_a_live_array_is_returned_to_the_system() -> None:
    blocks = [np.ones(10_000) for _ in range(2000)]
    stays = np.ones(10_000)
    held = resident_mb()
    del blocks
    release_free_memory()
    assert resident_mb() < held - 100 and stays.all()
    peak = peak_memory_gb()
    assert peak is not None and 1000 * peak > held - 1
