"""Read the frames of a video one at a time, each with its exact time; image folders and GIFs are videos too.

Videos are untrusted input: only known containers are opened, no reference in them is followed, and no frame larger than
MAX_PIXELS is decoded.
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
"""Maximum number of pixels of a frame: 8192 x 8192."""

IMAGE_FOLDER_FPS = 30.0
"""Frames a second of image folders, which have no times."""

_IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_CONTAINERS = "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,asf,flv,ogg,h264,hevc,ivf,mxf,apng"
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}


class InputError(ValueError):
    """A video or a related input that cannot be used; its message is one line with the cause and the remedy."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame."""

    index: int
    """Index among the frames that can be decoded, from 0."""
    time: float
    """Presentation time, s; strictly increasing over a video."""
    image: UInt8[np.ndarray, "height width 3"]
    """RGB, upright."""
    corrupt: bool
    """True if this frame, or data just before it, is damaged."""


@dataclass(frozen=True)
class Video:
    """A video that can be opened and whose first frame can be decoded."""

    path: Path
    size: tuple[int, int]
    """Width and height of the frames after rotation, px."""
    fps: float
    """Declared average rate, frames a second; each frame has its exact time."""
    rotation: int
    """Counter-clockwise rotation that makes the frames upright, degrees: 0, 90, 180 or 270."""
    declared_frames: int
    """Number of frames that the container declares, often wrong; 0 if it is unknown. For progress only."""

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """Decode the frames from index `first` on, one by one. Raises InputError if the size of frames changes."""
        still = self.path.is_dir() or _is_image(self.path)
        frames = (
            _image_frames(_image_paths(self.path)) if still else _stream_frames(self.path, self.fps, first)
        )
        for frame in frames:
            if frame.index < first:
                continue
            height, width = frame.image.shape[:2]
            if (width, height) != self.size:
                raise InputError(
                    f"{self.path}: expected frames of {self.size[0]} x {self.size[1]}, found frame {frame.index} of "
                    f"{width} x {height}; convert the video to one size"
                )
            yield frame

    def windows(self, length: int, first: int = 0) -> Iterator[list[Frame]]:
        """Decode the frames from index `first` on in lists of `length`; the last list may be shorter."""
        window: list[Frame] = []
        for frame in self.frames(first):
            window.append(frame)
            if len(window) == length:
                yield window
                window = []
        if window:
            yield window

    def frame_times(self) -> Float64[np.ndarray, " time"]:
        """Return the exact presentation time of every frame, s. Decodes the whole video without converting frames."""
        if self.path.is_dir() or _is_image(self.path):
            return np.arange(len(_image_paths(self.path))) / IMAGE_FOLDER_FPS
        with _open_stream(self.path) as (container, stream):
            return np.array([time for _, time, _ in _decode_with_times(container, stream, self.fps)])


def open_video(path: Path | str) -> Video:
    """Open a video file, a GIF, an image, or a folder of images (in the order of the numbers in their names).

    Raises FileNotFoundError if it does not exist, and InputError if no frame of it can be decoded."""
    path = Path(path)
    if path.is_dir() or (path.is_file() and path.stat().st_size and _is_image(path)):
        paths = _image_paths(path)
        image = read_image(paths[0])
        return Video(
            path, (image.shape[1], image.shape[0]), IMAGE_FOLDER_FPS, rotation=0, declared_frames=len(paths)
        )
    try:
        existing_file(path)
    except ValueError as error:
        raise InputError(str(error)) from error
    with _open_stream(path) as (container, stream):
        fps = float(stream.average_rate or stream.guessed_rate or IMAGE_FOLDER_FPS)
        frame = next(_decode(container, stream), None)
        if frame is None:
            raise InputError(
                f"{path}: expected a video, found no frame that can be decoded; "
                "it may be truncated or encrypted"
            )
        quarter_turns = _quarter_turns(frame[0])
        width, height = frame[0].width, frame[0].height
        size = (height, width) if quarter_turns % 2 else (width, height)
        return Video(path, size, fps, rotation=quarter_turns * 90, declared_frames=stream.frames)


# ---- files that FFmpeg decodes ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _open_stream(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    try:
        container = av.open(str(path.resolve()), options=_OPTIONS)
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: expected a video (mp4, mkv, avi, gif, ...), found a file that cannot be read ({reason})"
        ) from None
    with container:
        stream = _video_stream(path, container)
        context = stream.codec_context
        if context is None or not context.width:
            raise InputError(
                f"{path}: expected a video stream, found one that cannot be decoded (truncated or unknown); "
                "convert it to mp4"
            )
        if context.width * context.height > MAX_PIXELS:
            raise InputError(f"{path}: {_too_large(context.width, context.height)}")
        stream.thread_type = "AUTO"
        yield container, stream


def _video_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the first video stream that is not the cover image of a sound file."""
    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic:
            return stream
    found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    raise InputError(f"{path}: expected a video stream, found {found}; give a file with video")


def _too_large(width: int, height: int) -> str:
    return f"expected frames of at most {MAX_PIXELS} pixels, found {width} x {height}; scale them down"


def _decode(container: InputContainer, stream: VideoStream) -> Iterator[tuple[VideoFrame, bool]]:
    """Decode every possible frame, with whether it, or data just before it, is damaged."""
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


def _decode_with_times(
    container: InputContainer, stream: VideoStream, fps: float
) -> Iterator[tuple[VideoFrame, float, bool]]:
    """Decode frames with times; a missing time, or one that does not increase, is replaced by the next at `fps`."""
    last = None
    for frame, damaged in _decode(container, stream):
        last = _increasing_time(frame.time, last, fps)
        yield frame, last, damaged


def _increasing_time(time: float | None, last: float | None, fps: float) -> float:
    if time is None or (last is not None and time <= last):
        return 0.0 if last is None else last + 1 / fps
    return float(time)


def _stream_frames(path: Path, fps: float, first: int) -> Iterator[Frame]:
    with _open_stream(path) as (container, stream):
        for index, (frame, time, damaged) in enumerate(_decode_with_times(container, stream, fps)):
            if index >= first:
                yield Frame(index, time, _upright(frame), damaged)


def _upright(frame: VideoFrame) -> UInt8[np.ndarray, "height width 3"]:
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), _quarter_turns(frame)))


def _quarter_turns(frame: VideoFrame) -> int:
    return round(frame.rotation / 90) % 4


# ---- images ---------------------------------------------------------------------------------------------------


def _is_image(path: Path) -> bool:
    try:
        with open_image(path):
            return True
    except (Image.UnidentifiedImageError, OSError):
        return False


@contextlib.contextmanager
def open_image(path: Path) -> Iterator[Any]:
    """Open an image of a known format without decoding its pixels. Raises InputError if it is too large."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(path, formats=_IMAGE_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise InputError(
            f"{path}: expected an image of at most {MAX_PIXELS} pixels, found a larger one; scale it down"
        ) from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise InputError(f"{path}: {_too_large(image.width, image.height)}")
        yield image


def _image_paths(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    paths = [p for p in path.iterdir() if p.suffix.lower() in _IMAGE_SUFFIXES and p.is_file()]
    if not paths:
        raise InputError(
            f"{path}: expected a folder with images ({', '.join(_IMAGE_SUFFIXES)}), found none in it"
        )
    return sorted(paths, key=natural_sort_key)


def natural_sort_key(path: Path) -> list[tuple[int, str]]:
    """Return a sort key that puts `frame10` after `frame9`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]+)", path.name)]


def read_image(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """Read an image as RGB, upright. Raises InputError if it is damaged."""
    try:
        with open_image(path) as image:
            if image.format != "JPEG" and getattr(image, "n_frames", 1) > 1:
                raise InputError(
                    f"{path}: expected an image with one frame, found {image.n_frames}; convert it to mp4 or gif"
                )
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except InputError:
        raise
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path}: expected an image, found damaged data ({' '.join(str(error).split())}); save it again"
        ) from None


def _image_frames(paths: list[Path]) -> Iterator[Frame]:
    for index, path in enumerate(paths):
        yield Frame(index, index / IMAGE_FOLDER_FPS, read_image(path), corrupt=False)
