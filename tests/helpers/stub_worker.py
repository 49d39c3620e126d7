"""The process of a task in tests: a capture reports slowly and copies results that a test has made.

The results are in the folder `.results` beside `captures`; the capture lasts while the file `hold` is there. Of an mp4
the first frame is not decoded, which would take longer than all else."""

import shutil
import time
from pathlib import Path
from typing import Any

from selfmocap.app import worker

STEPS = 10


def capture(report: worker.Reporter, video: str, out: str, settings: dict[str, Any]) -> dict[str, Any]:
    folder = Path(out).parents[2]
    if (folder / "crash").exists():
        raise SystemExit(9)
    for step in range(1, STEPS + 1):
        report({"progress": ["detect and track", step, STEPS]})
        time.sleep(0.02)
        while step == STEPS // 2 and (folder / "hold").exists():
            time.sleep(0.02)
    if settings.get("people") == "largest":
        raise ValueError("nobody is\nlarge; try all")
    shutil.copytree(folder / ".results", out, dirs_exist_ok=True)
    return {"people": 2}


def inspect(report: worker.Reporter, video: str, picture: str) -> dict[str, Any]:
    with Path(video).open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return look(report, video, picture)
    shutil.copy(Path(picture).parents[2] / ".results" / worker.STILL, picture)
    return {"width": 96, "height": 64, "seconds": 0.4}


if __name__ == "__main__":
    look = worker._TASKS["inspect"]
    worker._TASKS |= {"capture": capture, "inspect": inspect}
    worker.run_worker()
