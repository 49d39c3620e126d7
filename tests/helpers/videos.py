"""Write videos for tests."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path,
    images: list[np.ndarray],
    times: list[float] | None = None,
    codec: str = "mpeg4",
    aspect: Fraction = Fraction(1),
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=30)
        stream.height, stream.width, stream.pix_fmt = (
            *images[0].shape[:2],
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
        )
        stream.codec_context.time_base = Fraction(
            1, 30 if codec in ("mpeg2video", "mjpeg", "libx264") else 1000
        )
        stream.codec_context.sample_aspect_ratio = aspect
        stream.options = options or {}
        for index, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            seconds = times[index] if times else index / 30
            frame.pts, frame.time_base = round(seconds * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
