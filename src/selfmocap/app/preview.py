"""Single frames of a video, without decoding the later ones."""

from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from jaxtyping import UInt8

from selfmocap.io.files import InputError, existing_file
from selfmocap.io.pictures import is_picture, read_image
from selfmocap.io.stream import decode, frame_orientation, open_stream, pixel_aspect, rgb_image, square_size

_TIME_TOLERANCE = 1e-3
"""s."""


def first_frame(path: Path) -> tuple[UInt8[np.ndarray, "height width 3"], float | None]:
    """Return the first frame of a video or picture as RGB, upright, and the length that its file declares, s.

    Raises FileNotFoundError or InputError where there is none."""
    if is_picture(existing_file(path)):
        return read_image(path), None
    with open_stream(path) as (container, stream):
        for frame, _ in decode(container, stream):
            return _upright(frame, stream), container.duration / 1e6 if container.duration else None
    raise _without_frames(path)


def frame_at(path: Path, time: float) -> UInt8[np.ndarray, "height width 3"]:
    """Return the frame of a video at a time, s from its first frame, or its last one. Raises as `first_frame`."""
    with open_stream(path) as (container, stream):
        first, frame = None, None
        for frame, _ in decode(container, stream):
            first = frame.time if first is None else first
            if (frame.time or 0.0) - (first or 0.0) > time - _TIME_TOLERANCE:
                break
        if frame is not None:
            return _upright(frame, stream)
    raise _without_frames(path)


def _upright(frame: VideoFrame, stream: VideoStream) -> UInt8[np.ndarray, "height width 3"]:
    size = square_size(frame.width, frame.height, pixel_aspect(stream))
    return frame_orientation(frame).apply(rgb_image(frame, *size, keep_shape=False))


def _without_frames(path: Path) -> InputError:
    return InputError(
        f"{path}: expected a video, found no frame that can be decoded; it may be truncated or encrypted"
    )
