"""Give any source of frames, such as standard input or arrays, as a local file that can be read several times."""

import contextlib
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from selfmocap.io.clock import DEFAULT_FPS
from selfmocap.io.files import InputError, printable_path
from selfmocap.io.video_writer import write_lossless_video


@runtime_checkable
class BinaryReader(Protocol):
    """An open binary file."""

    def read(self, size: int = -1, /) -> bytes:
        """Read some bytes, or all."""
        ...


VideoInput = Path | str | BinaryReader
"""A path (`~` is expanded), `-` for standard input, or an open binary file."""

INPUT_FOLDER = ".input"
"""Folder, in the output folder, of the copy of a source that can be read only once; it is deleted at the end."""


@contextlib.contextmanager
def local_video(
    source: VideoInput | None,
    out: Path,
    frames: Iterable[np.ndarray] | None = None,
    times: Sequence[float] | None = None,
) -> Iterator[Path]:
    """Give the path of a source, or of `frames` (RGB) with their times (s; 30 frames a second without).

    Open files, standard input and frames are copied into `out` for as long as the context lasts, one block or frame at
    a time, since a capture reads a video several times. Raises InputError where the source cannot be used."""
    if (source is None) == (frames is None):
        raise InputError(
            "expected either a video or frames=..., found " + ("neither" if frames is None else "both")
        )
    if frames is None and times is not None:
        raise InputError("expected times together with frames; a video has its own times, or give input_fps")
    if isinstance(source, str | Path) and str(source) != "-":
        if "://" in str(source):
            raise InputError(
                f"{source}: expected a file, found a URL; download it first, or use capture-many"
            )
        yield Path(source).expanduser()
        return
    stream = _binary_stream(source) if frames is None else None
    folder = out / INPUT_FOLDER
    existed = out.exists()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        if stream is None:
            path = folder / "frames.nut"
            write_lossless_video(path, _timed_frames(() if frames is None else frames, times))
        else:
            path = folder / "video"
            with path.open("wb") as file:
                shutil.copyfileobj(stream, file)
        yield path
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not existed and not any(out.iterdir()):
            out.rmdir()


def source_name(source: VideoInput | None) -> str:
    """Name a source in reports."""
    if source is None:
        return "frames"
    if not isinstance(source, str | Path):
        source = name if isinstance(name := getattr(source, "name", None), str) else "file"
    return printable_path(source)


def _binary_stream(source: Any) -> BinaryReader:
    if isinstance(source, str | Path):
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError("-: expected a video on standard input, found none; pipe a file into it")
        return sys.stdin.buffer
    if not hasattr(source, "read"):
        raise InputError(
            f"expected a path, an open binary file or '-', found {type(source).__name__}; "
            "give arrays as frames=..., with times=... in seconds"
        )
    if not isinstance(source.read(0), bytes):
        raise InputError("expected a file opened in binary mode, found text; open it with mode 'rb'")
    return source


def _timed_frames(
    frames: Iterable[Any], times: Sequence[float] | None
) -> Iterator[tuple[float, UInt8[np.ndarray, "height width 3"]]]:
    """Check frames and times one by one."""
    size, last, count = None, -np.inf, 0
    for count, frame in enumerate(frames, start=1):
        image = np.asarray(frame)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise InputError(
                f"frame {count - 1}: expected an array (height, width, 3) of uint8, RGB, found {image.shape} of "
                f"{image.dtype}; convert it"
            )
        if image.shape != (size := size or image.shape):
            raise InputError(
                f"frame {count - 1}: expected the shape {size} of the first, found {image.shape}; scale it"
            )
        if times is not None and count > len(times):
            raise InputError(
                f"expected as many times as frames, found {len(times)} for more frames; give one each"
            )
        time = (count - 1) / DEFAULT_FPS if times is None else float(times[count - 1])
        if not (np.isfinite(time) and time > last):
            raise InputError(
                f"frame {count - 1}: expected times that increase, found {time} s after {last} s"
            )
        last = time
        yield time - (0.0 if times is None else float(times[0])), image
    if not count:
        raise InputError("expected frames, found none; give at least one array")
    if times is not None and len(times) != count:
        raise InputError(f"expected as many times as frames, found {len(times)} times and {count} frames")
