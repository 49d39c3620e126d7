"""Decode video files with FFmpeg: the right stream, every frame that can be decoded, and its RGB image.

Videos are untrusted input: only known containers are opened, no reference in them is followed, and no frame larger than
MAX_PIXELS is decoded.
"""

import contextlib
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from selfmocap.io.files import InputError
from selfmocap.io.orientation import Orientation
from selfmocap.io.pictures import MAX_PIXELS, over_black, too_large
from selfmocap.io.tone_mapping import HLG, PQ, tone_mapped

UNTIMED_CONTAINERS = {"h264", "hevc", "mpegvideo", "m4v", "mjpeg", "obu"}
"""FFmpeg's names of containers without times: the ones that it gives come from a header, or are invented."""

_CONTAINERS = (
    "mov,mp4,matroska,webm,avi,gif,mpegts,mpeg,asf,flv,ogg,mxf,ivf,apng,dv,rm,nut,yuv4mpegpipe,"
    "h264,hevc,mpegvideo,m4v,mjpeg,obu"
)
_OPTIONS = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file", "max_pixels": str(MAX_PIXELS)}
_MIN_ASPECT, _MAX_ASPECT = Fraction(1, 8), Fraction(8)
"""Shapes of pixels beyond these are taken for damage."""
_ASPECT_TOLERANCE = 0.005
"""Pixels this near to square are square."""


class DecodedFrame(NamedTuple):
    """One frame as FFmpeg decodes it."""

    frame: VideoFrame
    damaged: bool
    """True if this frame, or data just before it, is damaged."""


@contextlib.contextmanager
def open_stream(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a video file and its default video stream. Raises InputError if there is none that can be decoded."""
    try:
        # Titles in other encodings than UTF-8 are common, and nothing is done with them.
        container = av.open(str(path.resolve()), options=_OPTIONS, metadata_errors="replace")
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: expected a video (mp4, mkv, avi, gif, ...), found a file that cannot be read ({reason})"
        ) from None
    with container:
        stream = _default_stream(path, container)
        context = stream.codec_context
        if context is None or not context.width:
            raise InputError(
                f"{path}: expected a video stream, found one that cannot be decoded (truncated or unknown); "
                "convert it to mp4"
            )
        if context.width * context.height > MAX_PIXELS:
            raise InputError(f"{path}: {too_large(context.width, context.height)}")
        stream.thread_type = "AUTO"
        yield container, stream


def _default_stream(path: Path, container: InputContainer) -> VideoStream:
    """Return the video stream that players choose; never the cover image of a sound file."""
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        found = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(f"{path}: expected a video stream, found {found}; give a file with video")
    decodable = [s for s in streams if s.codec_context is not None and s.codec_context.width] or streams
    return next((s for s in decodable if s.disposition & Disposition.default), decodable[0])


def decode(container: InputContainer, stream: VideoStream) -> Iterator[DecodedFrame]:
    """Decode every possible frame."""
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
            yield DecodedFrame(frame, damaged or frame.is_corrupt)  # pyright: ignore[reportArgumentType] (video packets)
            damaged = False


# ---- interlaced video -----------------------------------------------------------------------------------------


def deinterlaced(frames: Iterator[DecodedFrame]) -> Iterator[DecodedFrame]:
    """Interpolate the missing lines of interlaced frames with FFmpeg's bwdif; the number of frames stays.

    Progressive frames before the first interlaced one are given unchanged."""
    graph: Graph | None = None
    waiting: deque[bool] = deque()
    shape: tuple[int, int, str] | None = None
    for frame, damaged in frames:
        found = (frame.width, frame.height, frame.format.name)
        if graph is not None and found != shape:
            yield from _flushed(graph, waiting)
            graph = None
        if graph is None and not frame.interlaced_frame:
            yield DecodedFrame(frame, damaged)
            continue
        if graph is None:
            graph, shape = _bwdif(frame), found
        waiting.append(damaged)
        graph.push(frame)
        yield from _pulled(graph, waiting)
    if graph is not None:
        yield from _flushed(graph, waiting)


def _bwdif(frame: VideoFrame) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width,
        height=frame.height,
        format=frame.format,
        time_base=frame.time_base or Fraction(1, 1000),
    )
    filters = [source, graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")]
    for before, after in zip(filters, filters[1:], strict=False):
        before.link_to(after)
    graph.configure()
    return graph


def _pulled(graph: Graph, waiting: "deque[bool]") -> Iterator[DecodedFrame]:
    while waiting:
        try:
            frame: Any = graph.pull()
        except (BlockingIOError, EOFError):  # FFmpeg needs the next frame, or has given the last.
            return
        yield DecodedFrame(frame, waiting.popleft())


def _flushed(graph: Graph, waiting: "deque[bool]") -> Iterator[DecodedFrame]:
    graph.push(None)
    yield from _pulled(graph, waiting)
    assert not waiting, f"{len(waiting)} frames were not deinterlaced"


# ---- images of frames -----------------------------------------------------------------------------------------


def frame_orientation(frame: VideoFrame) -> Orientation:
    """Return the orientation that the file's display matrix gives to a frame."""
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    return Orientation.from_display_matrix(np.frombuffer(bytes(data), np.int32, 9).reshape(3, 3))


def pixel_aspect(stream: VideoStream) -> Fraction:
    """Return width over height of the stream's pixels; 1 where it is unknown or absurd."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not _MIN_ASPECT <= aspect <= _MAX_ASPECT or abs(aspect - 1) < _ASPECT_TOLERANCE:
        return Fraction(1)
    return aspect


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Return the size of a picture of the same shape with square pixels, which loses no pixels."""
    return (round(width * aspect), height) if aspect >= 1 else (width, round(height / aspect))


def rgb_image(
    frame: VideoFrame, width: int, height: int, keep_shape: bool
) -> UInt8[np.ndarray, "height width 3"]:
    """Convert a frame to RGB and scale it, between black bars with `keep_shape`.

    High dynamic range is tone-mapped; transparent pixels are black."""
    scale = min(width / frame.width, height / frame.height)
    inner = (width, height)
    if keep_shape:
        inner = (max(round(frame.width * scale), 1), max(round(frame.height * scale), 1))
    image = _converted(frame, *inner)
    if inner == (width, height):
        return image
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner[1]) // 2, (width - inner[0]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = image
    return canvas


def _converted(frame: VideoFrame, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    def array(name: str) -> np.ndarray:
        return frame.to_ndarray(format=name, width=width, height=height)

    if frame.color_trc in (PQ, HLG):
        return tone_mapped(array("rgb48le"), int(frame.color_trc))
    if frame.format.has_palette or any(part.is_alpha for part in frame.format.components):
        return over_black(array("rgba"))
    return array("rgb24")
