"""Do one task of the app in a process of its own, so that it can be cancelled and its crash ends no server.

The task is a line of JSON on standard input, and the reports are lines of JSON on standard output: `progress`, then a
`result` or an `error`. The process ends when its standard input is closed. Its arguments are modules that it loads
before it reads the task.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from selfmocap.io.files import write_json

_PROGRESS_INTERVAL = 0.25
"""Seconds between two reports of one stage."""
_PREVIEW_WIDTH = 960
_SAME_TIME = 1e-3
"""Seconds between the times of one frame in two motions."""
STILL, PEOPLE_BOXES = "people.jpg", "people.json"
"""A frame of the overlay in which most people are visible, and the box of each person in it."""

Reporter = Callable[[dict[str, Any]], None]


def run_worker() -> None:
    """Read a task, do it and report. Exit code 1 after an error."""
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # What libraries print is no report.
    for name in sys.argv[1:]:
        importlib.import_module(name)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    threading.Thread(target=_end_with_server, daemon=True).start()

    def report(message: dict[str, Any]) -> None:
        reports.write(json.dumps(message) + "\n")
        reports.flush()

    task = json.loads(line)
    try:
        report({"result": _TASKS[task.pop("task")](report=report, **task)})
    except (ValueError, OSError, ImportError) as error:
        report({"error": " ".join(str(error).splitlines())})
        sys.exit(1)


def _end_with_server() -> None:
    sys.stdin.buffer.read(1)
    os._exit(1)


def _progress(report: Reporter) -> Callable[[str, int, int], None]:
    due: dict[str, float] = {}

    def send(stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= due.get(stage, 0.0) or 0 < total <= done:
            due[stage] = now + _PROGRESS_INTERVAL
            report({"progress": [stage, done, total]})

    return send


def _capture(report: Reporter, video: str, out: str, settings: dict[str, Any]) -> dict[str, Any]:
    from selfmocap.app.settings import capture_config
    from selfmocap.pipeline.capture import capture

    motions = capture(Path(video), Path(out), capture_config(settings), _progress(report))
    write_still(Path(out), motions, settings.get("start", 0.0))
    return {"people": len(motions)}


def write_still(out: Path, motions: Sequence[Any], start: float) -> None:
    """Write the first frame of the overlay with most people, and their boxes as fractions of its width and height.

    `start` is the time at which the overlay begins, s."""
    import numpy as np

    from selfmocap.app.preview import frame_at

    times, counts = np.unique(
        np.concatenate([motion.frame_times.numpy() for motion in motions]), return_counts=True
    )
    time_shown = float(times[counts.argmax()])
    boxes = {}
    for number, motion in enumerate(motions, start=1):
        row = int(np.abs(motion.frame_times.numpy() - time_shown).argmin())
        if abs(float(motion.frame_times[row]) - time_shown) > _SAME_TIME:
            continue
        joints, camera = motion.joints_cam[row].double(), motion.camera
        px = (
            camera.focal.reshape(-1, 2)[-1] * joints[:, :2] / joints[:, 2:] + camera.center.reshape(-1, 2)[-1]
        )
        corners = np.stack([px.min(0).values.numpy(), px.max(0).values.numpy()]) / motion.image_size
        boxes[str(number)] = corners.clip(0, 1).round(4).flatten().tolist()
    _write_jpeg(out / STILL, frame_at(out / "overlay.mp4", time_shown - start))
    write_json(out / PEOPLE_BOXES, boxes)


def _write_jpeg(path: Path, frame: Any) -> tuple[int, int]:
    """Write a frame, scaled to the width of the page; return its own width and height."""
    import numpy as np
    from PIL import Image

    from selfmocap.io.atomic import atomic_write

    image = Image.fromarray(np.ascontiguousarray(frame))
    size = image.size
    image.thumbnail((_PREVIEW_WIDTH, _PREVIEW_WIDTH))
    with atomic_write(path) as partial:
        image.save(partial, "JPEG", quality=85)
    return size


def _inspect(report: Reporter, video: str, picture: str) -> dict[str, Any]:
    """Write the first frame of a video as a JPEG; return its size and, if the file has it, its length."""
    from selfmocap.app.preview import first_frame

    frame, seconds = first_frame(Path(video))
    width, height = _write_jpeg(Path(picture), frame)
    return {"width": width, "height": height, "seconds": seconds}


def _export(
    report: Reporter, motions: list[str], out: str, program: str | None, formats: list[str]
) -> dict[str, Any]:
    from selfmocap.app.settings import export_choice
    from selfmocap.pipeline.export_files import export_files

    paths, warnings = export_files(
        [Path(path) for path in motions], Path(out), *export_choice(program, formats)
    )
    return {"files": len(paths), "warnings": warnings}


def _retarget(report: Reporter, motions: list[str], character: str, out: str) -> dict[str, Any]:
    from selfmocap.body_model.body import Body
    from selfmocap.body_model.motion import Motion
    from selfmocap.export.characters.write import retarget_files

    named = {Path(path).parent.name: Motion.load(path) for path in motions}
    retarget_files(named, Body.load(), Path(character), Path(out))
    return {}


_TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "capture": _capture,
    "inspect": _inspect,
    "export": _export,
    "retarget": _retarget,
}

if __name__ == "__main__":
    run_worker()
