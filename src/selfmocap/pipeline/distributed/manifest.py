"""`manifest.jsonl`: one line per event of a batch, written to disk before it is relied on.

A killed driver leaves at most an incomplete last line, which the next run cuts off.
"""

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from selfmocap.pipeline.summary import FORMER_STAGE_NAMES

DONE, SPLIT, FAILED = "done", "split", "failed"
"""States of a job: it has its result; it is a film that is captured in parts, and its result follows; it failed."""
PARTS_FOLDER = ".parts"
"""Folder of the results of films' parts, which are deleted when their film is whole."""
_FORMAT = "selfmocap-manifest"
_VERSION = 2
"""Version 1 has former names of stages, which `Manifest.lines` replaces, and of a setting (`_FORMER_SETTINGS`)."""
_FORMER_SETTINGS = {"export": "formats"}
_READ_VERSIONS = (1, 2)
_TAIL_BYTES = 4096


@dataclass(frozen=True)
class Failure:
    """A job that failed and has not succeeded since."""

    source: str
    error: str
    """The error of the last attempt."""
    attempts: int


def is_of_part(line: dict[str, Any]) -> bool:
    """Decide whether a line is of a part of a film or of its split, and not of a result."""
    return line.get("state") == SPLIT or Path(line.get("result", "")).parts[:1] == (PARTS_FOLDER,)


class Manifest:
    """The open manifest of a folder. No other process can open it meanwhile. Only failures are held in memory."""

    def __init__(
        self, path: Path, settings: dict[str, Any], defaults: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        """Open or create the manifest. `defaults` are the settings of which a former version wrote none.

        Raises ValueError where it has other settings, is damaged, or is open in another process."""
        self.path = path
        self.failures: dict[str, Failure] = {}
        """By the job's name."""
        self.on_line: Callable[[dict[str, Any]], None] = lambda line: None
        """Called with each line that is added."""
        self.file = path.open("a+b")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise ValueError(
                f"{path} is in use: another capture-many writes to this folder; wait until it ends"
            ) from None
        try:
            self._begin(settings, defaults)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _begin(self, settings: dict[str, Any], defaults: Mapping[str, Any]) -> None:
        self._cut_incomplete_line()
        lines = self.lines()
        header = next(lines, None)
        if header is None:
            self._write({"format": _FORMAT, "version": _VERSION, "settings": settings})
            return
        if header.get("format") != _FORMAT or header.get("version") not in _READ_VERSIONS:
            raise ValueError(
                f"{self.path}: expected a {_FORMAT} of version {' or '.join(map(str, _READ_VERSIONS))}, "
                f"found {header.get('format')} {header.get('version')}; write to another folder"
            )
        found = {_FORMER_SETTINGS.get(key, key): value for key, value in header.get("settings", {}).items()}
        if {**defaults, **found} != {**defaults, **settings}:
            raise ValueError(
                f"{self.path} is of captures with other settings ({json.dumps(header.get('settings'))}); use the same "
                f"({json.dumps(settings)}) or write to another folder"
            )
        for line in lines:
            self._track_failure(line)

    def _cut_incomplete_line(self) -> None:
        end = start = self.file.seek(0, os.SEEK_END)
        tail = b""
        while start and b"\n" not in tail:
            start = max(start - _TAIL_BYTES, 0)
            self.file.seek(start)
            tail = self.file.read(min(_TAIL_BYTES, end - start))
        keep = start + tail.rfind(b"\n") + 1
        if keep < end:
            self.file.truncate(keep)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Read all lines; the first is the header. Former names of stages are replaced by the present ones."""
        with self.path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                try:
                    line = json.loads(text)
                except ValueError:
                    line = None
                if not isinstance(line, dict) or number > 1 and not {"name", "state"} <= line.keys():
                    raise ValueError(f"{self.path}: line {number} is damaged; repair or remove it")
                if isinstance(stages := line.get("stages"), dict):
                    line["stages"] = {
                        FORMER_STAGE_NAMES.get(name, name): seconds for name, seconds in stages.items()
                    }
                yield line

    def add(self, *lines: dict[str, Any]) -> None:
        """Append lines, each with a job's `name` and `state`: DONE, SPLIT, or FAILED with its `source` and `error`."""
        for line in lines:
            self._track_failure(line)
        self._write(*lines)
        for line in lines:
            self.on_line(line)

    def _write(self, *lines: dict[str, Any]) -> None:
        self.file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self.file.flush()
        os.fsync(self.file.fileno())

    def _track_failure(self, line: dict[str, Any]) -> None:
        name = line["name"]
        if line["state"] != FAILED:
            self.failures.pop(name, None)
        elif name in self.failures:
            attempts = self.failures[name].attempts + 1
            self.failures[name] = replace(self.failures[name], error=line["error"], attempts=attempts)
        else:
            self.failures[name] = Failure(line["source"], line["error"], 1)
