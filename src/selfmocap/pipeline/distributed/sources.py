"""Find videos in files, folders, globs, text lists and URLs, one after the other, and download remote ones.

Addresses and names may be hostile. Only known protocols are read, and a source's name never becomes a path.
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
    ".mp4", ".m4v", ".mov", ".qt", ".mkv", ".webm", ".avi", ".divx", ".gif", ".apng", ".mpg", ".mpeg", ".mpe", ".m2v",
    ".vob", ".ts", ".mts", ".m2ts", ".m2t", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogm", ".mxf",
    ".3gp", ".3g2", ".dv", ".rm", ".rmvb", ".nut", ".y4m", ".ivf", ".h264", ".264", ".hevc", ".h265", ".265", ".mjpeg",
)  # fmt: skip
URL_PROTOCOLS = ("http", "https", "s3", "gs", "file")
MAX_DOWNLOAD_BYTES = 64 << 30
DOWNLOAD_PREFIX = "download-"
"""Of the folders of copies of remote files."""
_MAX_LINE = 8192
"""Characters of a line of a list."""
_BLOCK_BYTES = 1 << 22
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True)
class VideoSource:
    """One video to capture."""

    source: str
    """An absolute path or a URL."""

    @functools.cached_property
    def name(self) -> str:
        """The name of its results: some letters of the source's name, and a digest that is unique to the source."""
        tail = re.split(r"[?#]", self.source)[0].rstrip("/").rsplit("/", 1)[-1]
        label = re.sub(r"[^A-Za-z0-9_-]+", "_", tail.rsplit(".", 1)[0])[:40].strip("_-")
        return f"{label or 'clip'}-{hashlib.sha256(os.fsencode(self.source)).hexdigest()[:16]}"


def find_videos(sources: Sequence[str]) -> Iterator[VideoSource]:
    """Find the videos of all sources lazily.

    A source is a video, a folder (searched for videos; one without any is a sequence of pictures), a glob, a `.txt`
    list with one source per line (relative to the list), or a URL that fsspec reads (`file`, `s3` and `gs` also as a
    folder or glob).

    Raises FileNotFoundError or ValueError at once for an invalid source. In a list, a missing file becomes a video
    whose capture will fail."""
    for source in sources:
        if is_url(source):
            _checked_protocol(source)
        elif not Path(source).expanduser().exists() and not glob.has_magic(source):
            raise FileNotFoundError(
                f"{source} does not exist; expected a video, a folder, a glob, a list or a URL"
            )
    return _find_all(sources)


def _find_all(sources: Sequence[str]) -> Iterator[VideoSource]:
    for source in sources:
        if source.endswith(".txt") and (path := Path(source).expanduser()).is_file():
            for line in _list_lines(path):
                yield from _find(line)
            continue
        videos = _find(source)
        first = next(videos, None)
        if first is None:
            raise FileNotFoundError(f"{source}: no videos found; check the path")
        yield first
        yield from videos


def _list_lines(path: Path) -> Iterator[str]:
    with path.open(encoding=_list_encoding(path), errors="surrogateescape") as file:
        while line := file.readline(_MAX_LINE):
            if len(line) == _MAX_LINE:
                raise ValueError(
                    f"{path}: a line is longer than {_MAX_LINE} characters; expected one path or URL per line"
                )
            text = line.strip("\ufeff\0 \t\r\n")
            if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
                text = text[1:-1]  # As Windows copies paths.
            if text and not text.startswith("#"):
                yield text if is_url(text) else _listed_path(path.parent, text)


def _list_encoding(path: Path) -> str:
    """Return the encoding of a list by its first bytes: UTF-16, as PowerShell writes it, or UTF-8."""
    with path.open("rb") as file:
        head = file.read(2)
    if head in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if len(head) == 2 and 0 in head:
        return "utf-16-le" if head[1] == 0 else "utf-16-be"
    return "utf-8"


def _listed_path(folder: Path, text: str) -> str:
    """Return the path on a line; a name that is in UTF-8 on the disk may be in cp1252 in the list."""
    text = os.fsdecode(text.encode(errors="surrogateescape"))
    path = folder / Path(text).expanduser()
    if not path.exists() and not text.isprintable():
        converted = folder / os.fsencode(text).decode("cp1252", errors="replace")
        path = converted if converted.exists() else path
    return str(path)


def _find(source: str) -> Iterator[VideoSource]:
    if is_url(source):
        return map(VideoSource, _find_remote(source))
    path = Path(source).expanduser().absolute()
    if path.exists() or not glob.has_magic(source):
        return _find_local(path)
    matches = Path(path.anchor).glob(str(path.relative_to(path.anchor)))
    return (video for match in matches for video in _find_local(match))


def _find_local(path: Path) -> Iterator[VideoSource]:
    """Find the videos of a folder. A file, or a folder without videos, is itself a video."""
    videos = _walk_folder(path) if path.is_dir() else iter(())
    yield next(videos, VideoSource(str(path.resolve())))
    yield from videos


def _walk_folder(folder: Path) -> Iterator[VideoSource]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        yield from (
            VideoSource(str((Path(root) / name).resolve())) for name in sorted(files) if _is_video(name)
        )


def _is_video(name: str) -> bool:
    return name.lower().endswith(VIDEO_SUFFIXES) and not name.startswith(".")


# ---- URLs -----------------------------------------------------------------------------------------------------


def is_url(source: str) -> bool:
    """Decide whether a source is a URL, and not a path."""
    return bool(_URL.match(source))


def _checked_protocol(url: str) -> str:
    """Return a URL's protocol. Chained URLs (`a::b`) are refused, because they open another address than they show."""
    protocol = url.partition("://")[0].lower()
    if protocol not in URL_PROTOCOLS or "::" in url:
        raise ValueError(f"{url}: unsupported URL; expected one of {', '.join(URL_PROTOCOLS)}")
    return protocol


def _find_remote(url: str) -> Iterator[str]:
    is_file = _is_video(url.rsplit("/", 1)[-1]) and not glob.has_magic(url)
    if _checked_protocol(url).startswith("http") or is_file:
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
def download(source: str, folder: Path, on_bytes: Callable[[int], None]) -> Iterator[Path]:
    """Give a local file of the video: a local source itself, or a copy of a remote one in `folder`, which is deleted
    afterwards. `on_bytes` is called with the bytes downloaded so far.

    Raises ValueError where the video is larger than MAX_DOWNLOAD_BYTES, OSError where it cannot be downloaded."""
    if not is_url(source):
        yield Path(source)
        return
    _checked_protocol(source)
    import fsspec

    suffix = Path(re.split(r"[?#]", source)[0]).suffix.lower()
    with (
        tempfile.TemporaryDirectory(prefix=DOWNLOAD_PREFIX, dir=folder) as temporary,
        fsspec.open(source, "rb") as remote,
    ):
        copy = Path(temporary) / f"video{suffix if suffix in VIDEO_SUFFIXES else ''}"
        with copy.open("wb") as file:
            while block := remote.read(_BLOCK_BYTES):  # pyright: ignore[reportAttributeAccessIssue] (a file, once entered)
                file.write(block)
                if file.tell() > MAX_DOWNLOAD_BYTES:
                    raise ValueError(
                        f"{source}: larger than the {MAX_DOWNLOAD_BYTES} bytes that are downloaded at most; "
                        "download it yourself"
                    )
                on_bytes(file.tell())
        yield copy
