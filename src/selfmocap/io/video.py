"""Read the frames of a video one at a time, each with its exact time; pictures, folders of them and GIFs are videos.

The frames are what a player shows: upright, with square pixels, of one size.
"""

import functools
import operator
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import Float64, Int64, UInt8

from selfmocap.io.clock import DEFAULT_FPS, Clock, assumed_clock, measure_clock
from selfmocap.io.files import InputError, existing_file
from selfmocap.io.input_options import InputOptions
from selfmocap.io.orientation import Orientation
from selfmocap.io.pictures import MAX_PIXELS, is_picture, picture_paths, read_image, too_large
from selfmocap.io.stream import (
    UNTIMED_CONTAINERS,
    DecodedFrame,
    decode,
    deinterlaced,
    frame_orientation,
    open_stream,
    pixel_aspect,
    rgb_image,
    square_size,
)

_MAX_GUESSED_FPS = 240
"""A higher rate is the resolution of the container's times, not a rate."""
_MIN_FPS = 4.0
"""At a lower rate, the times between frames come near to the longest gap that is filled."""
_CUT_OFF_FRACTION = 0.05
"""Fraction of the declared length that must be missing for a video to be cut off."""
_TIME_TOLERANCE = 1e-6
"""s."""
_RUN_UP_FRAMES = 64
"""Frames that are decoded before the first one that is read, so that it is the one of a decoder that began at 0."""
_MAX_PADDING = 4096
"""Bytes of zeros that may follow the end of a GIF."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded frame."""

    index: int
    """Index among the frames that can be decoded, from 0."""
    time: float
    """Presentation time, s; 0 for the first frame, strictly increasing over a video."""
    image: UInt8[np.ndarray, "height width 3"]
    """RGB, upright."""
    corrupt: bool
    """True if this frame, or data just before it, is damaged."""


@dataclass(frozen=True, eq=False)
class Video:
    """A video whose frames have been counted and timed."""

    path: Path
    size: tuple[int, int]
    """Width and height of the frames as shown: upright, with square pixels, px."""
    fps: float
    """Rate of the frames, frames a second, measured from their times; each frame has its exact time."""
    rotation: int
    """Counter-clockwise rotation that makes the frames upright, degrees: 0, 90, 180 or 270."""
    declared_frames: int
    """Number of frames that are read."""
    first_frame: int = field(default=0, kw_only=True)
    """Index of the first frame that is read."""
    times: Float64[np.ndarray, " time"] = field(default_factory=lambda: np.zeros(0), kw_only=True)
    """Time of each frame of the file, s, from 0."""
    stamps: Int64[np.ndarray, " time"] | None = field(default=None, kw_only=True)
    """Time of each frame in ticks of the file, strictly increasing; None where the file must be read from its start."""
    mirrored: bool = field(default=False, kw_only=True)
    """True if left and right are exchanged after the rotation."""
    pixel_aspect: float = field(default=1.0, kw_only=True)
    """Width over height of the pixels in the file."""
    warnings: tuple[str, ...] = field(default=(), kw_only=True)
    """One sentence for each doubt about the file, with its remedy."""

    def frames(self, first: int = 0, every: int = 1) -> Iterator[Frame]:
        """Decode the frames that are read, from index `first` on, one by one, and yield every `every`-th of them. A
        frame of another size is scaled to that of the first, between black bars if its shape differs."""
        first = max(first, self.first_frame)
        indices = range(first, self.first_frame + self.declared_frames, every)
        images = (
            _picture_images(self, indices)
            if self.path.is_dir() or is_picture(self.path)
            else _stream_images(self, indices)
        )
        for index, (image, corrupt) in zip(indices, images, strict=False):
            yield Frame(index, float(self.times[index]), image, corrupt)

    def num_read(self, frame: Frame) -> int:
        """Return the number of frames read up to this one."""
        return frame.index + 1 - self.first_frame

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


def open_video(path: Path | str, options: InputOptions | None = None) -> Video:
    """Open a video file, a GIF, a picture, or a folder of pictures (in the order of the numbers in their names).

    Decodes the whole video once, without converting frames, to count and time them.

    Raises FileNotFoundError if it does not exist, and InputError if no frame of it can be decoded, or none lies between
    the start and the end of the options."""
    path, options = Path(path).expanduser(), options or InputOptions()
    if not path.is_dir():
        try:
            existing_file(path)
        except ValueError as error:
            raise InputError(str(error)) from error
    is_file = not path.is_dir() and not is_picture(path)
    files = (path,) if is_file else tuple(picture_paths(path))
    stamps = tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files)
    measured = (_measured_stream if is_file else _measured_pictures)(files, stamps)
    orientation = measured.orientation.then(options.rotate, options.mirror)
    clock = measured.clock.adjusted(options)
    first, end = _selected(path, clock, options)
    return Video(
        path,
        orientation.size(*measured.size),
        clock.fps,
        orientation.quarter_turns * 90,
        end - first,
        first_frame=first,
        times=clock.times,
        stamps=measured.stamps,
        mirrored=orientation.mirrored,
        pixel_aspect=measured.pixel_aspect,
        warnings=(*clock.warnings, *_rate_warnings(clock), *measured.warnings),
    )


def _rate_warnings(clock: Clock) -> list[str]:
    if clock.fps >= _MIN_FPS or len(clock.times) < 2:
        return []
    return [
        f"{clock.fps:.2g} frames a second are too few to follow a motion; expected {_MIN_FPS:g}. If its times "
        "are wrong, give the true rate by --input-fps"
    ]


def _selected(path: Path, clock: Clock, options: InputOptions) -> tuple[int, int]:
    """Return the index of the first frame between start and end, and that after the last."""
    limits = [options.start, np.inf if options.end is None else options.end]
    first, end = np.searchsorted(clock.times, np.array(limits) - _TIME_TOLERANCE).tolist()
    if first == end:
        until = "on" if options.end is None else f"to {options.end:g} s"
        raise InputError(
            f"{path}: expected frames from {options.start:g} s {until}, found frames from 0 to "
            f"{clock.times[-1]:.3f} s; choose another --start or --end"
        )
    return first, end


# ---- the first pass ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Measured:
    """What the first pass over a video finds."""

    size: tuple[int, int]
    """Width and height with square pixels, before the turn."""
    orientation: Orientation
    clock: Clock
    pixel_aspect: float = 1.0
    warnings: tuple[str, ...] = ()
    stamps: Int64[np.ndarray, " time"] | None = None
    """See `Video.stamps`."""


@functools.lru_cache(maxsize=8)
def _measured_stream(files: tuple[Path], stamps: object) -> _Measured:
    """Measure a video file; `stamps` makes the cache forget a file that has changed."""
    (path,) = files
    with open_stream(path) as (container, stream):
        times: list[float | None] = []
        ticks: list[int | None] = []
        sizes: Counter[tuple[int, int]] = Counter()
        orientation, aspect = Orientation(), Fraction(1)
        ends_damaged, is_plain = False, True
        for frame, damaged in decode(container, stream):
            if not times:
                orientation, aspect = frame_orientation(frame), pixel_aspect(stream)
            times.append(frame.time)
            ticks.append(frame.pts)
            ends_damaged = damaged
            is_plain = is_plain and not damaged and not frame.interlaced_frame
            sizes[frame.width, frame.height] += 1
        if not times:
            raise InputError(
                f"{path}: expected a video, found no frame that can be decoded; "
                "it may be truncated or encrypted"
            )
        guessed = stream.guessed_rate if (stream.guessed_rate or 0) < _MAX_GUESSED_FPS else None
        declared = float(stream.average_rate or guessed or 0) or None
        untimed = container.format.name in UNTIMED_CONTAINERS
        clock = (
            assumed_clock(len(times), declared or DEFAULT_FPS, "its frames")
            if untimed
            else measure_clock(times, declared)
        )
        cut = [] if untimed else _cut_off_warnings(stream, container, clock)
        if not cut and (ends_damaged or container.format.name == "gif" and not _has_gif_trailer(path)):
            cut = ["the file ends inside a frame: it is cut off or damaged; copy or download it again"]
    size = square_size(*next(iter(sizes)), aspect)
    if size[0] * size[1] > MAX_PIXELS:
        raise InputError(f"{path}: {too_large(*size)}")
    warnings = (*_size_warnings(sizes), *cut)
    known = [tick for tick in ticks if tick is not None]
    is_plain = (
        is_plain and not untimed and len(known) == len(ticks) and all(map(operator.lt, known, known[1:]))
    )
    return _Measured(
        size, orientation, clock, float(aspect), warnings, np.array(known, np.int64) if is_plain else None
    )


@functools.lru_cache(maxsize=8)
def _measured_pictures(files: tuple[Path, ...], stamps: object) -> _Measured:
    """Measure the pictures of a folder; those that are damaged are left out, and leave a gap in time."""
    sizes: Counter[tuple[int, int]] = Counter()
    readable, error = [], None
    for index, path in enumerate(files):
        try:
            height, width = read_image(path).shape[:2]
        except InputError as damage:
            error = error or damage
            continue
        readable.append(index)
        sizes[width, height] += 1
    if error is not None and not readable:
        raise error
    clock = assumed_clock(len(files), DEFAULT_FPS, "its pictures")
    clock = Clock(clock.times[readable] - clock.times[readable[0]], clock.fps, clock.warnings)
    warnings = _size_warnings(sizes)
    if error is not None:
        warnings.append(f"{len(files) - len(readable)} of the {len(files)} pictures are left out: {error}")
    return _Measured(next(iter(sizes)), Orientation(), clock, warnings=tuple(warnings))


def _size_warnings(sizes: "Counter[tuple[int, int]]") -> list[str]:
    (width, height), *others = sizes
    if not others:
        return []
    found = ", ".join(f"{w} x {h} ({sizes[w, h]} frames)" for w, h in others[:3])
    return [f"the size changes from {width} x {height} to {found}; all frames are scaled to the first size"]


def _cut_off_warnings(stream: Any, container: Any, clock: Clock) -> list[str]:
    """Compare the length of the video with the one that its file declares."""
    count, seconds = len(clock.times), float(clock.times[-1]) + 1 / clock.fps
    if container.format.name == "avi":  # FFmpeg shortens the duration to what is there.
        declared = float(stream.frames * stream.time_base)
    elif len(container.streams) == 1 or stream.frames:
        declared = (container.duration or 0) / 1_000_000
    else:
        declared = _seconds(stream.metadata.get("DURATION", ""))
    if "matroska" in container.format.name:  # Its durations are ends, on a clock that may begin late.
        declared -= max(container.start_time or 0, 0) / 1_000_000
    is_short = seconds < (1 - _CUT_OFF_FRACTION) * declared - 1 / clock.fps
    has_fewer = not stream.frames or count < (1 - _CUT_OFF_FRACTION) * stream.frames
    if not (is_short and has_fewer):
        return []
    return [
        f"the file declares {declared:.1f} s of video, and {seconds:.1f} s can be decoded: it is cut off or damaged; "
        "copy or download it again"
    ]


def _has_gif_trailer(path: Path) -> bool:
    """Decide whether a GIF ends as the format requires; a file that is cut off does not."""
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, _MAX_PADDING), os.SEEK_END)
        return file.read().rstrip(b"\0").endswith(b";")


def _seconds(text: str) -> float:
    """Convert a duration like 00:01:30.25 to s; 0 for any other text."""
    try:
        hours, minutes, seconds = map(float, text.split(":"))
    except ValueError:
        return 0.0
    return 3600 * hours + 60 * minutes + seconds


# ---- the images -------------------------------------------------------------------------------------------------

_Image = UInt8[np.ndarray, "height width 3"]


def _orientation(video: Video) -> Orientation:
    return Orientation(video.rotation // 90, video.mirrored)


def _stream_images(video: Video, indices: range) -> Iterator[tuple[_Image, bool]]:
    orientation = _orientation(video)
    size = orientation.size(*video.size)
    for index, (frame, damaged) in _decoded(video, indices.start):
        if index in indices:
            # A stream of other pixels that changes its size keeps the shape on the screen.
            image = rgb_image(frame, *size, keep_shape=video.pixel_aspect == 1)
            yield orientation.apply(image), damaged


def _decoded(video: Video, first: int) -> Iterator[tuple[int, DecodedFrame]]:
    """Decode the frames from an index of at most `first` on: from a little before it, if the file can be sought."""
    begin = first - _RUN_UP_FRAMES
    if video.stamps is not None and begin > 0:
        with open_stream(video.path) as (container, stream):
            frames = _sought(container, stream, int(video.stamps[begin]))
            found = next(frames, None)
            if found is not None and found.frame.pts == video.stamps[begin] and not found.damaged:
                yield from enumerate(chain([found], frames), start=begin)
                return
    with open_stream(video.path) as (container, stream):
        yield from enumerate(deinterlaced(decode(container, stream)))


def _sought(container: InputContainer, stream: VideoStream, stamp: int) -> Iterator[DecodedFrame]:
    try:
        container.seek(stamp, stream=stream)
    except FFmpegError:
        return
    yield from (one for one in decode(container, stream) if (one.frame.pts or 0) >= stamp)


def _picture_images(video: Video, indices: range) -> Iterator[tuple[_Image, bool]]:
    orientation = _orientation(video)
    size = orientation.size(*video.size)
    index = 0
    for path in picture_paths(video.path):
        try:
            image = read_image(path)
        except InputError:
            continue  # Reported when the video was opened.
        if index in indices:
            yield orientation.apply(_scaled(image, *size)), False
        index += 1


def _scaled(image: UInt8[np.ndarray, "rows columns 3"], width: int, height: int) -> _Image:
    if image.shape[:2] == (height, width):
        return image
    return rgb_image(VideoFrame.from_ndarray(image, format="rgb24"), width, height, keep_shape=True)
