"""The results of a batch in a bucket.

The driver has the manifest and the index in a local folder and uploads what changes. The manifest is uploaded in parts
that are never rewritten: `manifest/00000001.jsonl` and so on, one after the other its lines. A clip's record in `.work`
is its last object, and is deleted when a part of the manifest has it.
"""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from selfmocap.pipeline.distributed.bucket import Bucket, OutputError
from selfmocap.pipeline.distributed.index import INDEX
from selfmocap.pipeline.distributed.jobs import SHARDS, WORK
from selfmocap.pipeline.distributed.manifest import DONE, PARTS_FOLDER, SPLIT, Manifest
from selfmocap.pipeline.distributed.output import unrecorded
from selfmocap.pipeline.distributed.scratch import scratch_folder

_PARTS = "manifest"
_LOCK = f"{WORK}/driver.json"
_BEAT_SECONDS = 10.0
_LOST_SECONDS = 60.0
"""A lock that did not change for so long is that of a killed driver."""
_PUBLISH_SECONDS = 15.0
_CSV_GROWTH = 1.25
"""`index.csv` is uploaded again when it has grown by this factor, and at the end."""

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def bucket_output(bucket: Bucket) -> Iterator["BucketOutput"]:
    """Open a bucket for the driver.

    Raises ValueError where another driver writes to it, OutputError where it cannot be used."""
    with (
        _driver_lock(bucket) as check_lock,
        scratch_folder(bucket, f"driver-{secrets.token_hex(8)}") as folder,
    ):
        yield BucketOutput(bucket, folder, check_lock)


class BucketOutput:
    """A `BatchOutput` in a bucket."""

    def __init__(self, bucket: Bucket, folder: Path, check_lock: Callable[[], None]) -> None:
        """Download the manifest into the local `folder`."""
        self.for_workers, self.folder, self.check_lock = bucket, folder, check_lock
        self.parts = [name for name in bucket.names(_PARTS) if name.endswith(".jsonl")]
        with (folder / "manifest.jsonl").open("wb") as file:
            for part in self.parts:
                file.write(bucket.read(part))
            self.num_bytes = file.tell()
        """Bytes of the manifest that are in parts."""
        (folder / SHARDS).mkdir()
        folders = [SHARDS, *bucket.names(PARTS_FOLDER)]
        self.results = {*bucket.names(), *(name for folder in folders for name in bucket.names(folder))}
        """Results that are listed; those that a manifest does not record may be incomplete."""
        self.recorded = set[str]()
        """Results that the manifest records."""
        self.committed: list[str] = []
        """Jobs whose records are deleted after the next part."""
        self.uploaded: dict[Path, tuple[int, int]] = {}
        """Time of change and size of the files that were uploaded."""
        self.due = 0.0

    def contains(self, result: Path | str) -> bool:
        return str(result) in self.recorded

    def recover(self, manifest: Manifest) -> None:
        done = {line["result"] for line in manifest.lines() if line.get("state") == DONE}
        self.recorded = done & self.results
        names = {Path(name).stem for name in self.for_workers.names(WORK) if name.endswith(".done")}
        lines = self._lines(names)
        self._commit(manifest, lines, unrecorded(manifest, lines))

    def commit(self, manifest: Manifest, names: Collection[str]) -> list[dict[str, Any]]:
        lines = self._lines(names)
        self._commit(manifest, lines, lines)
        if any(line["state"] == SPLIT for line in lines):
            # Its record has the name of the film's, which follows.
            self.due = 0.0
            self.publish()
        return lines

    def _lines(self, names: Collection[str]) -> list[dict[str, Any]]:
        return [json.loads(self.for_workers.read(f"{WORK}/{name}.done")) for name in sorted(names)]

    def _commit(
        self, manifest: Manifest, lines: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
    ) -> None:
        if new:
            manifest.add(*new)
        self.recorded.update(line["result"] for line in lines if line["state"] == DONE)
        self.committed += [line["name"] for line in lines]

    def forget(self, result: str) -> None:
        self.recorded.discard(result)

    def names(self, folder: str) -> list[str]:
        return [Path(name).name for name in self.for_workers.names(folder)]

    def delete(self, folder: str) -> None:
        for name in self.for_workers.find(folder):
            self.for_workers.delete(name)

    def publish(self, at_once: bool = False) -> None:
        if not at_once and time.monotonic() < self.due:
            return
        self.check_lock()
        self._publish_manifest()
        for name in self.committed:
            self.for_workers.delete(f"{WORK}/{name}.done")
        self.committed = []
        for pattern in ("index.html", "index.csv", f"{INDEX}/*", f"{SHARDS}/*"):
            for path in sorted(self.folder.glob(pattern)):
                self._publish_file(path, at_once)
        self.due = time.monotonic() + _PUBLISH_SECONDS

    def _publish_manifest(self) -> None:
        with (self.folder / "manifest.jsonl").open("rb") as file:
            file.seek(self.num_bytes)
            data = file.read()
        if not data:
            return
        number = int(Path(self.parts[-1]).stem) + 1 if self.parts else 1
        part = f"{_PARTS}/{number:08}.jsonl"
        try:
            self.for_workers.create(part, data)
        except FileExistsError as error:
            raise OutputError(_other_driver(self.for_workers)) from error
        self.parts.append(part)
        self.num_bytes += len(data)

    def _publish_file(self, path: Path, at_once: bool) -> None:
        status = path.stat()
        found, before = (status.st_mtime_ns, status.st_size), self.uploaded.get(path, (0, 0))
        if found == before or path.suffix == ".csv" and not at_once and found[1] < _CSV_GROWTH * before[1]:
            return
        self.for_workers.upload(path, path.relative_to(self.folder).as_posix())
        self.uploaded[path] = found


# ---- one driver at a time ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _driver_lock(bucket: Bucket) -> Iterator[Callable[[], None]]:
    """Hold the lock of a bucket, whose object changes as long as this process lives. Give a function that raises
    OutputError when another driver has taken it."""
    token, ended, errors = secrets.token_hex(16), threading.Event(), list[OutputError]()

    def content(beat: int) -> bytes:
        about = {"token": token, "host": socket.gethostname(), "process": os.getpid(), "beat": beat}
        return json.dumps(about).encode()

    def beat() -> None:
        number = 0
        while not ended.wait(_BEAT_SECONDS):
            number += 1
            try:
                if (_owner(bucket) or {}).get("token") != token:
                    raise OutputError(_other_driver(bucket))
                bucket.write(_LOCK, content(number))
            except OutputError as error:
                errors.append(error)
                return

    def check() -> None:
        if errors:
            raise errors[0]

    _acquire(bucket, content(0))
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield check
    finally:
        ended.set()
        thread.join()
        if not errors:
            bucket.delete(_LOCK)


def _acquire(bucket: Bucket, content: bytes) -> None:
    while True:
        try:
            bucket.create(_LOCK, content)
            return
        except FileExistsError:
            owner = _owner(bucket)
            if owner is None:
                continue
            if not _is_lost(bucket, owner):
                raise ValueError(_other_driver(bucket, owner)) from None
            if _owner(bucket) == owner:
                _log.warning("%s: the driver on %s was killed; resuming its run", bucket.url, owner["host"])
                bucket.delete(_LOCK)


def _is_lost(bucket: Bucket, owner: dict[str, Any]) -> bool:
    """Decide whether the process that made a lock is dead: at once on this machine, else by waiting."""
    if owner["host"] == socket.gethostname() and not Path(f"/proc/{owner['process']}").exists():
        return True
    end = time.monotonic() + _LOST_SECONDS
    while time.monotonic() < end:
        time.sleep(min(_BEAT_SECONDS / 4, _LOST_SECONDS))
        if _owner(bucket) != owner:
            return False
    return True


def _owner(bucket: Bucket) -> dict[str, Any] | None:
    try:
        return json.loads(bucket.read(_LOCK))
    except FileNotFoundError:
        return None


def _other_driver(bucket: Bucket, owner: dict[str, Any] | None = None) -> str:
    who = f"process {owner['process']} on {owner['host']}" if owner else "another capture-many"
    return f"{bucket.url} is in use: {who} writes to it; wait until it ends"
