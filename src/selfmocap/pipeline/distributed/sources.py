"""Where videos are: files, folders, globs, text lists and URLs, found one after the other, and brought here one by one.

Addresses and names come from strangers: an address can only be of a known kind, and its name never becomes a path.
"""

import contextlib
import functools
import glob
import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".wmv", ".flv", ".ogv", ".mxf",
)  # fmt: skip
PROTOCOLS = ("http", "https", "s3", "gs", "file")
MAX_DOWNLOAD_BYTES = 64 << 30
_MAX_LINE = 8192
_BLOCK = 1 << 22
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")

Bytes = Callable[[int], None]
"""Called with how much of a video has been brought."""


@dataclass(frozen=True)
class Clip:
    """One video to capture."""

    source: str
    """An absolute path or a URL."""

    @functools.cached_property
    def name(self) -> str:
        """What its results are called: some letters of the source's name, and a digest that no other source has."""
        tail = re.split(r"[?#]", self.source)[0].rstrip("/").rsplit("/", 1)[-1]
        label = re.sub(r"[^A-Za-z0-9_-]+", "_", tail.rsplit(".", 1)[0])[:40].strip("_-")
        return f"{label or 'clip'}-{hashlib.sha256(os.fsencode(self.source)).hexdigest()[:16]}"


def clips_in(sources: Sequence[str]) -> Iterator[Clip]:
    """The videos of all sources, found while they are asked for. A source is a video, a folder (searched for videos;
    one without any is a video in pictures), a glob, a `.txt` list with a source a line (relative to the list), or a
    URL that fsspec reads (`file`, `s3` and `gs` also as a folder or glob).

    Raises FileNotFoundError or ValueError at once where a source cannot be; in a list, a missing file is a clip whose
    capture will fail."""
    for source in sources:
        if _is_url(source):
            _check_url(source)
        elif not Path(source).exists() and not glob.has_magic(source):
            raise FileNotFoundError(
                f"{source} does not exist; expected a video, a folder, a glob, a list or a URL"
            )
    return _all(sources)


def _all(sources: Sequence[str]) -> Iterator[Clip]:
    for source in sources:
        if source.endswith(".txt") and Path(source).is_file():
            for line in _lines(Path(source)):
                yield from _found(line)
            continue
        found = _found(source)
        first = next(found, None)
        if first is None:
            raise FileNotFoundError(f"{source}: no videos found there")
        yield first
        yield from found


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        while line := file.readline(_MAX_LINE):
            text = os.fsdecode(line).strip()
            if len(line) == _MAX_LINE:
                raise ValueError(
                    f"{path}: a line longer than {_MAX_LINE} bytes; expected a path or URL a line"
                )
            if text and not text.startswith("#"):
                yield text if _is_url(text) else str(path.parent / text)


def _found(source: str) -> Iterator[Clip]:
    if _is_url(source):
        return map(Clip, _remote(source))
    path = Path(source).absolute()
    if path.exists() or not glob.has_magic(source):
        return _local(path)
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return (clip for match in matches for clip in _local(match))


def _local(path: Path) -> Iterator[Clip]:
    """The videos of a folder; a file, or a folder without videos, is one itself."""
    videos = _walked(path) if path.is_dir() else iter(())
    yield next(videos, Clip(str(path.resolve())))
    yield from videos


def _walked(folder: Path) -> Iterator[Clip]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Clip(str((Path(root) / name).resolve())) for name in sorted(files) if _is_video(name))


def _is_video(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")


# ---- URLs -----------------------------------------------------------------------------------------------------


def _is_url(source: str) -> bool:
    return bool(_URL.match(source))


def _check_url(url: str) -> str:
    """Its protocol. Chains (`a::b`) are refused: what they open is not what they seem."""
    protocol = url.partition("://")[0].lower()
    if protocol not in PROTOCOLS or "::" in url:
        raise ValueError(f"{url}: not a URL that is read; expected one of {', '.join(PROTOCOLS)}")
    return protocol


def _remote(url: str) -> Iterator[str]:
    if _check_url(url).startswith("http") or _is_video(url.rsplit("/", 1)[-1]) and not glob.has_magic(url):
        yield url
        return
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    if glob.has_magic(path):
        yield from (system.unstrip_protocol(str(match)) for match in system.glob(path))
    elif not system.isdir(path):
        yield url
    else:
        for root, _, files in system.walk(path):
            names = sorted(name for name in files if _is_video(name))
            yield from (system.unstrip_protocol(f"{root}/{name}") for name in names)


@contextlib.contextmanager
def brought(source: str, folder: Path, report: Bytes) -> Iterator[Path]:
    """The video as a file of this machine: itself, or a copy in `folder` for as long as it is needed.

    Raises ValueError where it is larger than MAX_DOWNLOAD_BYTES, OSError where it cannot be had."""
    if not _is_url(source):
        yield Path(source)
        return
    _check_url(source)
    import fsspec

    suffix = Path(re.split(r"[?#]", source)[0]).suffix.lower()
    with (
        tempfile.TemporaryDirectory(prefix="brought-", dir=folder) as home,
        fsspec.open(source, "rb") as remote,
    ):
        copy = Path(home) / f"video{suffix if suffix in VIDEO_SUFFIXES else ''}"
        with copy.open("wb") as file:
            while block := remote.read(_BLOCK):  # pyright: ignore[reportAttributeAccessIssue] (a file, once entered)
                file.write(block)
                if file.tell() > MAX_DOWNLOAD_BYTES:
                    raise ValueError(f"{source}: larger than the {MAX_DOWNLOAD_BYTES} bytes that are brought")
                report(file.tell())
        yield copy
