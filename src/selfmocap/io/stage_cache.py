"""Compute each stage of a long job once: record its result, its files and a key of its inputs in a folder.

A stage's record is written after all its files, each of which is written atomically, and removed before they are
written again. A killed process therefore leaves finished and unfinished stages, and nothing in between.
"""

import hashlib
import json
import logging
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from selfmocap.io.files import read_json_object, write_json
from selfmocap.io.memory import release_free_memory

_log = logging.getLogger(__name__)


def fingerprint(*settings: Any) -> str:
    """Return the SHA-256 of settings (JSON data, in which the order of keys does not count), in hexadecimal."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class StageRecord:
    """A finished stage."""

    name: str
    key: str
    """Fingerprint of everything that the result depends on."""
    result: dict[str, Any]
    """JSON data."""
    seconds: float
    """Duration of the computation, whichever run did it."""


@dataclass
class StageCache:
    """The finished stages of a job, one JSON file each in `folder`; their files lie beside `folder` or below it."""

    folder: Path
    summary: Path | None = None
    """A file that describes all stages together. It is deleted when any of them has to be computed (again), so that it
    exists only while all files belong together."""
    version: int = 1
    """Version of the results. Records of another version are not used; see `discard_other_versions`."""
    finished: dict[str, StageRecord] = field(default_factory=dict)
    """The stages of this run by name, in the order in which they finished."""

    def run(
        self,
        name: str,
        needs: dict[str, Any],
        after: Sequence[StageRecord],
        compute: Callable[[], tuple[dict[str, Any], Sequence[Path]]],
    ) -> StageRecord:
        """Return the recorded stage if it was computed with equal `needs` (JSON data) `after` the same stages and all
        its files exist in their full size; otherwise call `compute`, which returns the result (JSON data) and the files
        that it wrote, and record it."""
        keys = [stage.key for stage in after]
        key = fingerprint(name, needs, keys)
        record = self._read(name)
        if not (
            record.get("key") == key and self._version_of(record) == self.version and self._complete(record)
        ):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_summary()
            self._remove(name)
            began = time.perf_counter()
            result, paths = compute()
            record = {
                "version": self.version,
                "key": key,
                "after": keys,
                "result": result,
                "seconds": round(time.perf_counter() - began, 3),
                "files": {str(path.relative_to(self.folder.parent)): path.stat().st_size for path in paths},
            }
            write_json(self._path(name), record)
            release_free_memory()
        stage = StageRecord(name, key, json.loads(json.dumps(record["result"])), record["seconds"])
        self.finished[name] = stage
        return stage

    def sweep(self) -> None:
        """Delete the records and files of stages that followed a stage which no longer exists, such as one with other
        settings."""
        keys = {stage.key for stage in self.finished.values()}
        for name in self._names():
            if name not in self.finished and not set(self._read(name).get("after", [""])) <= keys:
                self._remove(name)

    def discard_other_versions(self) -> None:
        """Delete the records and files of another version of the results, and log that they are computed again."""
        records = {name: self._read(name) for name in self._names()}
        others = [
            name for name, record in records.items() if record and self._version_of(record) != self.version
        ]
        if others:
            _log.warning(
                "%s: computed by another version of selfmocap; its stages are computed again",
                self.folder.parent,
            )
            self._remove_summary()
        for name in others:
            self._remove(name)

    def files(self) -> set[Path]:
        """Return the files of all recorded stages, without symbolic links."""
        home = self.folder.parent
        return {
            (home / file).resolve() for name in self._names() for file in self._read(name).get("files", ())
        }

    def _names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.json"))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def _read(self, name: str) -> dict[str, Any]:
        """Return an empty record where there is none, or a damaged one."""
        record = read_json_object(self._path(name))
        return record if {"key", "result", "seconds", "files"} <= record.keys() else {}

    @staticmethod
    def _version_of(record: dict[str, Any]) -> int:
        return record.get("version", 1)

    def _complete(self, record: dict[str, Any]) -> bool:
        return all(
            (path := self.folder.parent / name).is_file() and path.stat().st_size == size
            for name, size in record["files"].items()
        )

    def _remove_summary(self) -> None:
        if self.summary is not None:
            self.summary.unlink(missing_ok=True)

    def _remove(self, name: str) -> None:
        """Delete the record first: files without a record are not used."""
        record, home = self._read(name), self.folder.parent.resolve()
        self._path(name).unlink(missing_ok=True)
        for file in record.get("files", {}):
            if (path := self.folder.parent / file).resolve().is_relative_to(home):
                path.unlink(missing_ok=True)


def claim_folder(settings_file: Path, settings: dict[str, Any]) -> None:
    """Record in `settings_file` what the files of its folder are made from (JSON data). Raises ValueError where it
    records other settings."""
    wanted = json.loads(json.dumps(settings))
    if settings_file.is_file() and (found := read_json_object(settings_file)) != wanted:
        raise ValueError(
            f"{settings_file.parent} holds files made with {found}, expected {wanted}; choose another folder"
        )
    write_json(settings_file, wanted, indent=1)


def claim_scratch_folder(settings_file: Path, settings: dict[str, Any]) -> None:
    """Record in `settings_file` what the files of its folder are made from (JSON data). Delete the folder's files
    first where it records other settings, or none."""
    wanted, folder = json.loads(json.dumps(settings)), settings_file.parent
    if folder.exists() and read_json_object(settings_file) != wanted:
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(settings_file, wanted, indent=1)
