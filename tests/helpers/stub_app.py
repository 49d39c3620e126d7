"""Serve the app with captures that do no work, in a process of its own: FOLDER PORT [--password PASSWORD]."""

import sys
from pathlib import Path

from selfmocap.app import captures, tasks
from selfmocap.app.config import AppConfig
from selfmocap.app.server import serve_app

if __name__ == "__main__":
    folder, port, *options = sys.argv[1:]
    tasks.WORKER = (sys.executable, "-m", "tests.helpers.stub_worker")
    tasks.CAPTURE_MODULES = ()
    captures.MAX_CAPTURES = 10
    others = {"password": options[1], "host": "0.0.0.0"} if options else {}
    serve_app(AppConfig(port=int(port), folder=Path(folder), **others), lambda _: None, False)
