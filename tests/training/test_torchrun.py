import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from selfmocap.models.checkpoints import load_network
from selfmocap.training.train_frame import MICRO_BATCH_FRAMES
from tests.conftest import ROOT
from tests.helpers.programs import start_program, torchrun_environments

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes as Linux shows them"),
]
SCRIPT = ROOT / "tests" / "helpers" / "training_run.py"


def started(out: Path, pause: float) -> subprocess.Popen:
    """Start a training of 12 steps by two processes; torchrun restarts them if one dies."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "--max-restarts=2",
    ]
    arguments = [str(SCRIPT), str(out), "12", str(2 * MICRO_BATCH_FRAMES), str(pause)]
    settings = {"OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    return subprocess.Popen([*launcher, *arguments], env=os.environ | settings, start_new_session=True)


def processes_of(launcher: subprocess.Popen) -> list[int]:
    return [
        int(pid) for pid in Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    ]


def history(out: Path) -> list[dict]:
    path = out / "history.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_run_that_lost_a_process_resumes_bit_for_bit(tmp_path: Path) -> None:
    arguments = [tmp_path / "whole", 12, 2 * MICRO_BATCH_FRAMES]
    for process in [start_program(SCRIPT, arguments, each) for each in torchrun_environments(2)]:
        process.join(240)
        assert process.exitcode == 0
    launcher = started(tmp_path / "lost", 0.3)
    try:
        while len(history(tmp_path / "lost")) < 6:
            assert launcher.poll() is None
            time.sleep(0.02)
        lost = processes_of(launcher)
        os.kill(lost[-1], signal.SIGKILL)
        assert launcher.wait(timeout=240) == 0
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(launcher.pid, signal.SIGKILL)
        launcher.wait()
    assert len(lost) == 2
    assert history(tmp_path / "lost") == history(tmp_path / "whole")
    resumed, expected = (
        load_network(tmp_path / run / "network.safetensors")[0].state_dict() for run in ("lost", "whole")
    )
    assert all(torch.equal(resumed[name], expected[name]) for name in resumed)
