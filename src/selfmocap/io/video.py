"""Frames of a video, one at a time, each with its exact time; a folder of pictures and a GIF are videos too.

A video may come from a stranger: only known containers are opened, nothing they refer to is followed, and no frame
larger than MAX_PIXELS is ever decoded.
"""

import contextlib
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float64, UInt8
from PIL import Image, ImageOps

from selfmocap.io.files import existing_file

MAX_PIXELS = 1 << 26
"""Pixels of the largest frame that is read: 8192 x 8192."""

PICTURE_FPS = 30.0
"""Frames a second of a folder of pictures, which has no times of its own."""

_PICTURES = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_CONTAINERS = "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,asf,flv,ogg,h264,hevc,ivf,mxf,apng"
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}


class InputError(ValueError):
    """A video that cannot be read; its message is one line that says what was found and what to do."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame."""

    index: int
    """Counts the frames that can be decoded, from 0."""
    time: float
    """Presentation time, s; strictly increasing over a video."""
    image: UInt8[np.ndarray, "height width 3"]
    """RGB, upright."""
    corrupt: bool
    """Whether the decoder found this frame, or data just before it, damaged."""


@dataclass(frozen=True)
class Video:
    """A video that opens and whose first frame decodes."""

    path: Path
    size: tuple[int, int]
    """Width and height of its frames after rotation, px."""
    fps: float
    """Average frames a second, as declared; the exact times are the frames' own."""
    rotation: int
    """Degrees, counter-clockwise, that the frames are turned by to stand upright: 0, 90, 180 or 270."""
    declared_frames: int
    """What the container says, often wrong; 0 where it says nothing. For progress only."""

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The frames from index `first` on, decoded one by one. An InputError where a frame has another size."""
        still = self.path.is_dir() or _is_picture(self.path)
        frames = _pictures(_picture_paths(self.path)) if still else _stream_frames(self.path, self.fps, first)
        for frame in frames:
            if frame.index < first:
                continue
            height, width = frame.image.shape[:2]
            if (width, height) != self.size:
                raise InputError(
                    f"{self.path}: frame {frame.index} is {width} x {height}, the first {self.size[0]} x "
                    f"{self.size[1]}; convert the video to one size"
                )
            yield frame

    def windows(self, length: int, first: int = 0) -> Iterator[list[Frame]]:
        """The frames from index `first` on in lists of `length`, the last one shorter."""
        window: list[Frame] = []
        for frame in self.frames(first):
            window.append(frame)
            if len(window) == length:
                yield window
                window = []
        if window:
            yield window

    def frame_times(self) -> Float64[np.ndarray, " time"]:
        """The exact presentation time of every frame, s, by decoding (and not converting) the whole video."""
        if self.path.is_dir() or _is_picture(self.path):
            return np.arange(len(_picture_paths(self.path))) / PICTURE_FPS
        with _opened(self.path) as (container, stream):
            return np.array([time for _, time, _ in _timed(container, stream, self.fps)])


def open_video(path: Path | str) -> Video:
    """Opens a video file, a GIF, a picture, or a folder of pictures (in the order of the numbers in their names).

    Raises FileNotFoundError where there is none and InputError where it has no frame that can be decoded."""
    path = Path(path)
    if path.is_dir() or (path.is_file() and path.stat().st_size and _is_picture(path)):
        paths = _picture_paths(path)
        image = read_picture(paths[0])
        return Video(
            path, (image.shape[1], image.shape[0]), PICTURE_FPS, rotation=0, declared_frames=len(paths)
        )
    try:
        existing_file(path)
    except ValueError as error:
        raise InputError(str(error)) from error
    with _opened(path) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or PICTURE_FPS)
        frame = next(_decoded(container, stream), None)
        if frame is None:
            raise InputError(f"{path}: no frame of it can be decoded; is it cut off, or encrypted?")
        turned = _quarter_turns(frame[0])
        width, height = frame[0].width, frame[0].height
        size = (height, width) if turned % 2 else (width, height)
        return Video(path, size, fps, rotation=turned * 90, declared_frames=stream.frames)


# ---- files of the FFmpeg kind ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS)
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: not a video that can be read ({reason}); expected mp4, mkv, avi, gif, ..."
        ) from None
    with container:
        stream = _film(path, container)
        context = stream.codec_context
        if context is None or not context.width:
            raise InputError(
                f"{path}: its video stream cannot be decoded (cut off, or of an unknown kind); convert it to mp4"
            )
        if context.width * context.height > MAX_PIXELS:
            raise InputError(f"{path}: {_size(context.width, context.height)}")
        stream.thread_type = "AUTO"
        yield container, stream


def _film(path: Path, container: InputContainer) -> VideoStream:
    """The first stream of moving pictures; a cover picture inside a sound file is none."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise InputError(f"{path}: no video stream in it, only {found}")


def _size(width: int, height: int) -> str:
    return f"frames of {width} x {height} px are larger than the {MAX_PIXELS} pixels allowed; scale them down"


def _decoded(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoFrame, bool]]:
    """Every frame that decodes, and whether it or data just before it was damaged."""
    damaged = False
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            frames = packet.decode() if packet is not None else []
        except FFmpegError:
            damaged = True
            continue
        if packet is None:
            return
        for frame in frames:
            yield frame, damaged or frame.is_corrupt  # pyright: ignore[reportReturnType] (decoded from video packets)
            damaged = False


def _timed(
    container: InputContainer, stream: VideoStream, fps: float
) -> Iterator[tuple[VideoFrame, float, bool]]:
    """`_decoded` with times; a missing time, or one that does not increase, is replaced by the next at `fps`."""
    last = None
    for frame, damaged in _decoded(container, stream):
        last = _later(frame.time, last, fps)
        yield frame, last, damaged


def _later(time: float | None, last: float | None, fps: float) -> float:
    if time is None or (last is not None and time <= last):
        return 0.0 if last is None else last + 1 / fps
    return float(time)


def _stream_frames(path: Path, fps: float, first: int) -> Iterator[Frame]:
    with _opened(path) as (container, stream):
        for index, (frame, time, damaged) in enumerate(_timed(container, stream, fps)):
            if index >= first:
                yield Frame(index, time, _upright(frame), damaged)


def _upright(frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), _quarter_turns(frame)))


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4


# ---- pictures -------------------------------------------------------------------------------------------------


def _is_picture(path: Path) -> bool:
    try:
        with picture_opened(path):
            return True
    except (Image.UnidentifiedImageError, OSError):
        return False


@contextlib.contextmanager
def picture_opened(path: Path) -> Iterator[Any]:
    """A picture of a known kind and bounded size, its pixels not yet read; an InputError if it is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_PICTURES)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{path}: a picture larger than the {MAX_PIXELS} pixels allowed; scale it down"
        ) from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise InputError(f"{path}: {_size(image.width, image.height)}")
        yield image


def _picture_paths(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    paths = [p for p in path.iterdir() if p.suffix.lower() in _PICTURE_SUFFIXES and p.is_file()]
    if not paths:
        raise InputError(f"{path}: a folder without pictures; expected {', '.join(_PICTURE_SUFFIXES)}")
    return sorted(paths, key=numbered)


def numbered(path: Path) -> list[tuple[int, str]]:
    """A sort key by which `frame10` comes after `frame9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """A picture in RGB, turned upright; an InputError if it is damaged."""
    try:
        with picture_opened(path) as image:
            if image.format != "JPEG" and getattr(image, "n_frames", 1) > 1:
                raise InputError(
                    f"{path}: a picture file with {image.n_frames} frames; convert it to mp4 or gif"
                )
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"{path}: a damaged picture ({' '.join(str(error).split())})") from None


def _pictures(paths: list[Path]) -> Iterator[Frame]:
    for index, path in enumerate(paths):
        yield Frame(index, index / PICTURE_FPS, read_picture(path), corrupt=False)
