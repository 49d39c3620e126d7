"""`manifest.jsonl`: what became of every clip, a line for each thing that happened, on disk before anyone relies on it.

A killed driver leaves at most half a line, which the next run cuts off.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_FORMAT = "selfmocap-manifest"
_VERSION = 1


@dataclass(frozen=True)
class Failure:
    """A job that has failed and not been done since."""

    source: str
    error: str
    """Of the last try."""
    tries: int


class Manifest:
    """The open manifest of a folder; while it is open, no other process opens it. Only failures are kept in memory."""

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        """Opens the manifest, or begins one. A ValueError where it is of captures with other settings, is damaged, or
        is open elsewhere."""
        self.path = path
        self.failures: dict[str, Failure] = {}
        """By name."""
        self.file = path.open("a+b")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.file.close()
            raise ValueError(f"{path} is in use: another capture-many writes to this folder") from None
        try:
            self._begin(settings)
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def _begin(self, settings: dict[str, Any]) -> None:
        self._cut_half_a_line()
        header = {"format": _FORMAT, "version": _VERSION, "settings": settings}
        lines = self.lines()
        found = next(lines, None)
        if found is None:
            self._write(header)
            return
        if found != header:
            raise ValueError(
                f"{self.path} is of captures with other settings ({json.dumps(found.get('settings'))}); use the same "
                f"({json.dumps(settings)}) or write to another folder"
            )
        for line in lines:
            self._remember(line)

    def _cut_half_a_line(self) -> None:
        end = whole = self.file.seek(0, os.SEEK_END)
        tail = b""
        while whole and b"\n" not in tail:
            whole = max(whole - 4096, 0)
            self.file.seek(whole)
            tail = self.file.read(min(4096, end - whole))
        keep = whole + tail.rfind(b"\n") + 1
        if keep < end:
            self.file.truncate(keep)

    def lines(self) -> Iterator[dict[str, Any]]:
        """All lines, one after the other."""
        with self.path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                try:
                    line = json.loads(text)
                except ValueError:
                    line = None
                if not isinstance(line, dict) or number > 1 and not {"name", "state"} <= line.keys():
                    raise ValueError(f"{self.path}: line {number} is damaged; repair or remove it")
                yield line

    def add(self, *lines: dict[str, Any]) -> None:
        """Writes lines with a job's `name` and `state` (`done`, or `failed` with its `source` and `error`)."""
        for line in lines:
            self._remember(line)
        self._write(*lines)

    def _write(self, *lines: dict[str, Any]) -> None:
        self.file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self.file.flush()
        os.fsync(self.file.fileno())

    def _remember(self, line: dict[str, Any]) -> None:
        name = line["name"]
        if line["state"] == "done":
            self.failures.pop(name, None)
        elif name in self.failures:
            tries = self.failures[name].tries + 1
            self.failures[name] = replace(self.failures[name], error=line["error"], tries=tries)
        else:
            self.failures[name] = Failure(line["source"], line["error"], 1)
