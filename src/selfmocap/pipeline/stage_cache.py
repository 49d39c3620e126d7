"""Work that is done once: each stage's result lies in a folder with what it was made from.

A record is written after all files of its stage, each of which appears whole; it is removed before they are made
again. So a process that is killed leaves stages that are done and stages that are not, and nothing between.
"""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfmocap.io.atomic import atomic_write
from selfmocap.io.memory import give_memory_back


@dataclass(frozen=True)
class Done:
    """A stage that is done."""

    name: str
    key: str
    """Of all that it was made from."""
    result: dict[str, Any]
    """What it says (JSON data)."""
    seconds: float
    """What it took when it was done."""


@dataclass
class Stages:
    """The records of the stages that made the files in a folder."""

    folder: Path
    summary: Path | None = None
    """A file that says what all stages gave: removed when one of them has to be done (again), so that it is there only
    when all files belong together."""
    done: dict[str, Done] = field(default_factory=dict)
    """The stages of this run, in their order."""

    def run(
        self,
        name: str,
        needs: dict[str, Any],
        after: Sequence[Done],
        work: Callable[[], tuple[dict[str, Any], Sequence[Path]]],
    ) -> Done:
        """The stage as it was done before, if it was with the same `needs` (JSON data) `after` the same stages and all
        its files are still there; otherwise `work` does it, which gives its result and its files."""
        keys = [stage.key for stage in after]
        key = hashlib.sha256(json.dumps([name, needs, keys], sort_keys=True).encode()).hexdigest()
        record = self._read(name)
        if record.get("key") != key or not self._complete(record):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self.summary is not None:
                self.summary.unlink(missing_ok=True)
            self._remove(name)
            began = time.perf_counter()
            result, paths = work()
            record = {
                "key": key,
                "after": keys,
                "result": result,
                "seconds": round(time.perf_counter() - began, 3),
                "files": {str(path.relative_to(self.folder.parent)): path.stat().st_size for path in paths},
            }
            with atomic_write(self._path(name)) as partial:
                partial.write_text(json.dumps(record))
            give_memory_back()
        done = Done(name, key, json.loads(json.dumps(record["result"])), record["seconds"])
        self.done[name] = done
        return done

    def sweep(self) -> None:
        """Removes the files of stages that followed ones which are no more: of another quality, of a person less."""
        keys = {stage.key for stage in self.done.values()}
        for path in self.folder.glob("*.json"):
            name = path.stem
            if name not in self.done and not set(self._read(name).get("after", [""])) <= keys:
                self._remove(name)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, Any]:
        try:
            record = json.loads(self._path(name).read_bytes())
        except (OSError, ValueError):
            return {}
        return (
            record
            if isinstance(record, dict) and {"key", "result", "seconds", "files"} <= record.keys()
            else {}
        )

    def _complete(self, record: dict[str, Any]) -> bool:
        return all(
            (path := self.folder.parent / name).is_file() and path.stat().st_size == size
            for name, size in record["files"].items()
        )

    def _remove(self, name: str) -> None:
        """The record first: without it, the files count for nothing."""
        record, home = self._read(name), self.folder.parent.resolve()
        self._path(name).unlink(missing_ok=True)
        for file in record.get("files", {}):
            if (path := self.folder.parent / file).resolve().is_relative_to(home):
                path.unlink(missing_ok=True)
