"""The app in a process of its own, with captures that do no work, and requests to it without a browser."""

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.app.worker import write_still
from selfmocap.body_model.body import Body
from selfmocap.export.write import export_motion
from selfmocap.io.video_writer import write_video
from selfmocap.visualization.report.page import write_report
from tests.conftest import ROOT
from tests.helpers.exported_files import wandering_motion

TOKEN = "a-token-that-is-long-enough-for-tests"
SCORES = {"heldout_reprojection_px": 2.0, "jitter": 30.0, "foot_slide_mm": 4.0}


def write_clip(path: Path, frames: int = 12) -> Path:
    """Write a small video of one grey after the other."""
    pictures = ((n / 30, np.full((64, 96, 3), 20 * n % 255, np.uint8)) for n in range(frames))
    write_video(path, pictures, 30.0)
    return path


def write_results(folder: Path, body: Body) -> None:
    """Write what a capture of two people writes."""
    motions = [wandering_motion(body, frames=40), wandering_motion(body, frames=20, seed=5)]
    folder.mkdir(parents=True)
    write_clip(folder / "overlay.mp4", frames=40)
    person = {"stature": 1.7, "stature_from": "proportions", "accepted": True, "low_confidence_ranges": []}
    report = {
        "video": {"path": "clip.mp4", "fps": 30.0, "frames": 40},
        "focal": {"px": 1000.0, "source": "default", "uncertainty": 0.2},
        "shots": [{"camera": {"static": True}}],
        "warnings": ["person 1 falls at 3.0 m/s^2, and gravity is 9.81: give --slow-motion 1.8"],
        "people": [person | {"before": SCORES, "after": SCORES | {"jitter": 10.0}}] * 2,
    }
    for number, motion in enumerate(motions, start=1):
        (folder / f"person-{number}").mkdir()
        motion.save(folder / f"person-{number}" / "motion.npz")
        export_motion(motion, body, folder / f"person-{number}", ["bvh"])
    write_report(folder / "report.html", motions, body, report, folder / "overlay.mp4")
    (folder / "report.json").write_text(json.dumps(report))
    write_still(folder, motions, 0.0)


class AppServer:
    """A running app; `folder` has the token already, so that its address is known."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.options = folder, options
        (folder / ".selfmocap").mkdir(parents=True, exist_ok=True)
        (folder / ".selfmocap" / "token").write_text(TOKEN)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.start()

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "tests.helpers.stub_app",
            str(self.folder),
            str(self.port),
            *self.options,
        ]
        self.process = subprocess.Popen(command, cwd=ROOT)
        try:
            until(self._answers, 60)
        except AssertionError:
            self.kill()
            raise

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/")[0] == 403 or "--password" in self.options
        return False

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/{TOKEN}/"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def request(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Send a request; `path` is as it is sent. JSON for a dict."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            data = json.dumps(body) if isinstance(body, dict) else body
            connection.request(method, path, data, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers

    def get(self, path: str, **headers: str) -> tuple[int, bytes, http.client.HTTPMessage]:
        return self.request(
            "GET", path, None, {name.replace("_", "-"): value for name, value in headers.items()}
        )

    def api(self, path: str, body: Any = None, method: str = "") -> Any:
        """Send a request of the page; return its answer, and the status if it is a refusal."""
        method = method or ("GET" if body is None else "POST")
        status, content, _ = self.request(method, f"/{TOKEN}/api/{path}", body)
        return json.loads(content) if status == 200 else (status, json.loads(content)["error"])

    def upload(self, path: Path, name: str = "") -> Any:
        with path.open("rb") as file:
            return self.api(f"uploads?name={name or path.name}", file.read())

    def captures(self) -> list[dict[str, Any]]:
        """Return the first state that the server sends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", f"/{TOKEN}/api/events")
            line = connection.getresponse().readline()
            return json.loads(line.removeprefix(b"data: "))["captures"]

    def state(self, capture_id: str) -> str:
        return next(one["state"] for one in self.captures() if one["id"] == capture_id)

    def captured(self, path: Path, **settings: Any) -> str:
        """Upload and capture a video; return its id when it has ended."""
        capture_id = self.upload(path)["id"]
        assert self.api(f"captures/{capture_id}/start", {"settings": settings}) == {}
        until(lambda: self.state(capture_id) not in ("queued", "running"))
        return capture_id


@contextlib.contextmanager
def app_server(folder: Path, *options: str) -> Iterator[AppServer]:
    server = AppServer(folder, *options)
    try:
        yield server
    finally:
        server.kill()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)
