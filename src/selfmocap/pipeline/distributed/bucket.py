"""A folder in an object store, at any URL that fsspec writes to. Requests are repeated with back-off."""

import contextlib
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from selfmocap.pipeline.distributed.sources import is_url

_WAITS = (1.0, 4.0, 16.0, 64.0)
"""Seconds between the attempts of a request."""
_PERMANENT = ("NoCredentialsError", "PartialCredentialsError", "NotImplementedError", "ParamValidationError")
"""Names of errors of the stores' libraries that another attempt does not mend."""
_EXTRAS = {"s3": "s3", "gs": "gs"}
_MAX_ERROR_CHARACTERS = 300

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class OutputError(OSError):
    """The place of the results cannot be used. It ends a batch, because no other job could be done either."""


@dataclass(frozen=True)
class Bucket:
    """A folder in an object store. Names are relative to it, with slashes."""

    url: str
    scratch: Path | None = None
    """Folder of each machine for unfinished captures; None is the system's temporary folder."""

    def read(self, name: str) -> bytes:
        """Read an object. Raises FileNotFoundError if there is none."""
        return self._request(f"read {name}", lambda system, root: system.cat_file(f"{root}/{name}"))

    def write(self, name: str, data: bytes) -> None:
        """Write an object."""
        self._write(name, lambda system, path: system.pipe_file(path, data))

    def create(self, name: str, data: bytes) -> None:
        """Write an object that must not exist. Raises FileExistsError if it exists with other content."""
        try:
            self._write(name, lambda system, path: system.pipe_file(path, data, mode="create"))
        except FileExistsError:
            if self.read(name) != data:  # Equal: written by an attempt whose answer was lost.
                raise

    def upload(self, path: Path, name: str) -> None:
        """Write a file as an object."""
        self._write(name, lambda system, remote: system.put_file(str(path), remote))

    def upload_folder(self, folder: Path, name: str, last: str, progress: Callable[[int, int], None]) -> None:
        """Write the files of a folder, the one with the name `last` as the last."""
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        paths.sort(key=lambda path: path.relative_to(folder) == Path(last))
        for done, path in enumerate(paths, start=1):
            self.upload(path, f"{name}/{path.relative_to(folder).as_posix()}")
            progress(done, len(paths))

    def download(self, name: str, path: Path) -> None:
        """Read an object into a file."""
        self._request(f"read {name}", lambda system, root: system.get_file(f"{root}/{name}", str(path)))

    def delete(self, name: str) -> None:
        """Delete an object, if there is one."""
        with contextlib.suppress(FileNotFoundError):
            self._request(f"delete {name}", lambda system, root: system.rm_file(f"{root}/{name}"))

    def find(self, folder: str) -> list[str]:
        """List all objects in a folder and below it."""
        return self._list(folder, lambda system, path: system.find(path))

    def names(self, folder: str = "") -> list[str]:
        """List the objects and folders in a folder."""
        return self._list(folder, lambda system, path: system.ls(path, detail=False))

    def _list(self, folder: str, found: Callable[[Any, str], list[str]]) -> list[str]:
        def relative(system: Any, root: str) -> list[str]:
            path = f"{root}/{folder}".rstrip("/")
            return sorted(name[len(root) + 1 :].rstrip("/") for name in found(system, path))

        try:
            return [name for name in self._request(f"list {folder or 'its content'}", relative) if name]
        except FileNotFoundError:  # There are no empty folders in a bucket.
            return []

    def _write(self, name: str, write: Callable[[Any, str], object]) -> None:
        try:
            self._request(f"write {name}", lambda system, root: write(system, f"{root}/{name}"))
        except FileNotFoundError as error:
            raise OutputError(
                f"{self.url}: expected a bucket, found none ({_one_line(error)}); create it, or check the URL"
            ) from error

    def _request(self, what: str, request: Callable[[Any, str], _Result]) -> _Result:
        """Do a request, again after errors that may pass. Raises OutputError where it cannot be done."""
        system, root = _file_system(self.url)
        for wait in (*_WAITS, None):
            try:
                return request(system, root)
            except (FileNotFoundError, FileExistsError):
                raise
            except PermissionError as error:
                raise OutputError(
                    f"{self.url}: no rights to {what} ({_one_line(error)}); check the credentials and their rights"
                ) from error
            except Exception as error:
                if wait is None or type(error).__name__ in _PERMANENT:
                    raise OutputError(
                        f"{self.url}: cannot {what} ({_one_line(error)}); run the command again to resume"
                    ) from error
                _log.info("%s: cannot %s (%s); again in %g s", self.url, what, _one_line(error), wait)
                time.sleep(wait)
        raise AssertionError  # The last attempt returns or raises.


@functools.lru_cache(maxsize=4)
def _file_system(url: str) -> tuple[Any, str]:
    """Return fsspec's file system and the path of a URL. Raises ValueError or ImportError if fsspec cannot open it."""
    protocol = url.partition("://")[0]
    if not is_url(url) or "::" in url:
        raise ValueError(f"{url}: unsupported URL; expected one like s3://bucket/folder")
    try:
        from fsspec.core import url_to_fs

        system, root = url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        extra = _EXTRAS.get(protocol, "bulk")
        raise ImportError(f"{url}: {error}; run: pip install 'selfmocap[{extra}]'") from error
    return system, str(root).rstrip("/")


def _one_line(error: object) -> str:
    return " ".join(str(error).split())[:_MAX_ERROR_CHARACTERS]
