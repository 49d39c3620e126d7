import os

import pytest

from selfmocap.io.cores import cap_workers, cores


def test_workers_are_at_most_the_cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3}, raising=False)
    assert [cap_workers(number) for number in (0, 1, 2, 3)] == [0, 1, 2, 2]
