import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from selfmocap.pipeline.distributed.cluster import cluster
from selfmocap.pipeline.distributed.jobs import WORK
from selfmocap.pipeline.distributed.manifest import Manifest
from tests.conftest import ROOT
from tests.helpers.bulk_jobs import Meeting, Niceness, Pause, results, run

pytest.importorskip("ray", reason="Ray is not installed: pip install 'selfmocap[bulk]'")

pytestmark = pytest.mark.slow


def states(out: Path) -> Counter[tuple[str, str]]:
    with Manifest(out / "manifest.jsonl", {}) as manifest:
        return Counter((line["name"], line["state"]) for line in list(manifest.lines())[1:])


def test_two_workers_do_all_jobs_and_give_up_the_broken_one(tmp_path: Path) -> None:
    with cluster(tmp_path, None, 2) as pool:
        meeting = [Meeting("job-0"), Meeting("job-1")]
        tally = run([*meeting, *(Pause(f"job-{n}", broken=n == 4) for n in range(2, 8))], pool, tmp_path)
    assert tally.done == 7
    assert tally.failed == {"job-4"}
    assert len({(tmp_path / f"job-{n}" / "worker.txt").read_text() for n in range(2)}) == 2
    with Manifest(tmp_path / "manifest.jsonl", {}) as manifest:
        assert manifest.failures["job-4"].error == "ValueError: /videos/job-4.mp4: a damaged video"


def test_a_worker_and_then_the_driver_killed_every_job_is_done_once(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.helpers.bulk_jobs", str(tmp_path), "12", "0.5", "2"]
    driver = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        while not (begun := [*(tmp_path / WORK).glob("*/worker.txt")]):
            assert driver.poll() is None
            time.sleep(0.05)
        os.kill(int(begun[0].read_text()), signal.SIGKILL)
        while len(results(tmp_path)) < 4:
            assert driver.poll() is None
            time.sleep(0.05)
    finally:
        driver.kill()
    driver.wait()
    assert len(results(tmp_path)) < 12
    subprocess.run(command, cwd=ROOT, check=True)
    assert results(tmp_path).keys() == {f"job-{number}" for number in range(12)}
    found = states(tmp_path)
    assert {name: count for (name, state), count in found.items() if state == "done"} == {
        f"job-{number}": 1 for number in range(12)
    }
    assert sum(count for (_, state), count in found.items() if state == "failed") == 1


@pytest.mark.parametrize("moment", [0.0, 1.2])
def test_another_machine_dies_and_its_jobs_are_done_here(tmp_path: Path, moment: float) -> None:
    command = [sys.executable, "-m", "tests.helpers.lost_machine", str(tmp_path), "8", str(moment)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=500)
    assert results(tmp_path).keys() == {f"job-{number}" for number in range(8)}
    assert Counter(state for _, state in states(tmp_path))["done"] == 8


def test_a_cluster_on_this_machine_leaves_nothing_at_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    with cluster(tmp_path, None, 1) as pool:
        run([Niceness("job")], pool, tmp_path)
    assert (tmp_path / "job" / "niceness.txt").read_text() == str(os.nice(0))
    assert not [*home.iterdir()]
    assert not {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_worker_niceness"} & os.environ.keys()
