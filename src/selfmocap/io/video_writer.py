"""Write mp4 videos."""

import contextlib
from collections import deque
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.audio.frame import AudioFrame
from jaxtyping import UInt8

from selfmocap.io.atomic import atomic_write
from selfmocap.io.prefetch import prefetched
from selfmocap.io.sound import SOUND_RATE

FAST_ENCODING = {"preset": "ultrafast", "crf": "23"}
"""x264 options for pictures that people look at once."""

_TIME_BASE = Fraction(1, 90000)
"""Seconds of a tick of frame times in the file."""


def write_video(
    path: Path,
    frames: Iterable[tuple[float | None, UInt8[np.ndarray, "height width 3"]]],
    fps: float,
    options: Mapping[str, str] = FAST_ENCODING,
    constant_rate: bool = False,
    sound: Iterable[AudioFrame] = (),
) -> None:
    """Write RGB images of one size with even sides as an mp4, atomically.

    Each frame has its time, s, and the first one begins the file; with `constant_rate` the times are ignored and the
    frames follow each other at `fps`.
    `sound` are frames of stereo sound at SOUND_RATE, whose times count from the first image; it becomes AAC.
    A thread makes the next frames while one is encoded. The codec is H.264 with the x264 `options`, or MPEG-4 where
    PyAV has no H.264 encoder."""
    with (
        atomic_write(path) as temporary,
        av.open(str(temporary), "w", format="mp4") as container,
        contextlib.closing(prefetched(frames)) as made,
    ):
        stream: Any = None
        tick, start, track = -1, None, None
        heard = deque(islice(sounds := iter(sound), 1))
        for time, image in made:
            if stream is None:
                stream = _stream(container, image, fps, options)
                if not constant_rate:
                    stream.codec_context.time_base = _TIME_BASE
                if heard:
                    track = container.add_stream("aac", rate=SOUND_RATE, layout="stereo")
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            if not constant_rate:
                start = (time or 0.0) if start is None else start
                tick = max(tick + 1, round(((time or 0.0) - start) / _TIME_BASE))
                frame.pts, frame.time_base = tick, _TIME_BASE
            container.mux(stream.encode(frame))
            while track is not None and heard and (heard[0].time or 0.0) <= (frame.time or 0.0):
                container.mux(track.encode(heard.popleft()))
                heard.extend(islice(sounds, 1))
        if stream is not None:
            container.mux(stream.encode())
        if track is not None:
            for part in chain(heard, sounds, [None]):
                container.mux(track.encode(part))


def write_lossless_video(
    path: Path, frames: Iterable[tuple[float, UInt8[np.ndarray, "height width 3"]]]
) -> None:
    """Write RGB images with their times, s, as FFV1 in a NUT file; equal images give an equal file."""
    with av.open(str(path), "w", format="nut", options={"fflags": "+bitexact"}) as container:
        stream: Any = None
        for time, image in frames:
            if stream is None:
                stream = container.add_stream("ffv1")
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt, stream.codec_context.time_base = "bgr0", _TIME_BASE
                stream.options = {"flags": "+bitexact"}
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = round(time / _TIME_BASE), _TIME_BASE
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _stream(container: Any, image: np.ndarray, fps: float, options: Mapping[str, str]) -> Any:
    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "yuv420p"
    stream.options = dict(options) if codec == "libx264" else {"qscale": "4"}
    return stream
