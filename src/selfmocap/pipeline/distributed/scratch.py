"""Folders that one process at a time works in: locks, and scratch space on a machine's own disk."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path

from selfmocap.pipeline.distributed.bucket import Bucket, OutputError

_LOCK_TIMEOUT = 60.0
"""Seconds to wait for the process of a killed run to end."""
_LOCK_POLL = 0.2


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file. Raises BlockingIOError where another process holds it too long."""
    end = time.monotonic() + _LOCK_TIMEOUT
    while (file := _lock(path)) is None:
        if time.monotonic() > end:
            raise BlockingIOError(
                f"{path.stem} is locked by another process for {_LOCK_TIMEOUT:.0f} s; end it first"
            )
        time.sleep(_LOCK_POLL)
    with file:
        yield


@contextlib.contextmanager
def scratch_folder(bucket: Bucket, name: str) -> Iterator[Path]:
    """Give a folder on this machine's disk, and delete it afterwards, unless the bucket could not be written: the next
    run uploads what is in it.

    What killed processes left in others is deleted first, so that the space does not grow with the number of names."""
    root = _scratch_root(bucket)
    folder, lock = root / name, root / f"{name}.lock"
    with locked(lock):
        _remove_abandoned(root)
        folder.mkdir(exist_ok=True)
        try:
            yield folder
        except OutputError:
            raise
        except BaseException:
            _remove(folder, lock)
            raise
        _remove(folder, lock)


def _scratch_root(bucket: Bucket) -> Path:
    digest = hashlib.sha256(bucket.url.encode()).hexdigest()[:16]
    root = (bucket.scratch or Path(tempfile.gettempdir())) / f"selfmocap-{os.getuid()}-{digest}"
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise OutputError(f"{root} belongs to another user; choose another folder with --scratch")
    return root


def _remove_abandoned(root: Path) -> None:
    for lock in root.glob("*.lock"):
        if (file := _lock(lock)) is not None:
            with file:
                _remove(root / lock.stem, lock)


def _remove(folder: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    lock.unlink(missing_ok=True)


def _lock(path: Path) -> BufferedWriter | None:
    """Lock a file; None while another process holds it, or if one has just deleted it."""
    file = path.open("wb")
    with contextlib.ExitStack() as stack:
        stack.callback(file.close)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            return None
        stack.pop_all()
    return file
