"""Videos of many containers, codecs, rates and sizes, made here: each is read right."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest

from selfmocap.io.video import open_video

FRAMES = 9


class Odd(NamedTuple):
    """How a video is written."""

    codec: str
    rate: Fraction = Fraction(25)
    size: tuple[int, int] = (160, 96)
    pix_fmt: str = "yuv420p"
    options: dict[str, str] = {}  # noqa: RUF012
    format: str | None = None


FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)
ODD = {
    "phone.mp4": Odd("libx264", NTSC, options={"bf": "2"}),
    "hevc-10-bit.mov": Odd(
        "libx265", Fraction(60), pix_fmt="yuv420p10le", options={"x265-params": "log-level=none"}
    ),
    "prores.mov": Odd("prores_ks", FILM, pix_fmt="yuv422p10le"),
    "animation.mov": Odd("qtrle", Fraction(12), (98, 62), "rgb24"),
    "slow.mkv": Odd("ffv1", Fraction(5, 2), (161, 97), "bgr0"),
    "high-rate.mkv": Odd("libx264", Fraction(240), pix_fmt="yuv444p"),
    "grey.mkv": Odd("ffv1", pix_fmt="gray16le"),
    "vp8.webm": Odd("libvpx", Fraction(30)),
    "vp9-odd-sides.webm": Odd("libvpx-vp9", Fraction(50), (175, 97)),
    "av1.mp4": Odd("libsvtav1", Fraction(30), (160, 96), options={"preset": "12"}),
    "old.avi": Odd("msmpeg4", Fraction(15)),
    "motion-jpeg.avi": Odd("mjpeg", Fraction(10), pix_fmt="yuvj420p"),
    "raw.avi": Odd("rawvideo", Fraction(20), pix_fmt="bgr24"),
    "television.mpg": Odd("mpeg2video", Fraction(25), (352, 288)),
    "disc.vob": Odd("mpeg2video", NTSC, (352, 240)),
    "camcorder.mts": Odd("libx264", Fraction(50), format="mpegts"),
    "bluray.m2ts": Odd("libx264", FILM, format="mpegts"),
    "windows.wmv": Odd("wmv2", Fraction(30), format="asf"),
    "flash.flv": Odd("flv", Fraction(24)),
    "feature-phone.3gp": Odd("h263", Fraction(15), (176, 144)),
    "tape.dv": Odd("dvvideo", Fraction(25), (720, 576)),
    "broadcast.mxf": Odd("mpeg2video", Fraction(25), (352, 288)),
    "stream.ivf": Odd("libvpx", Fraction(30)),
    "uncompressed.y4m": Odd("rawvideo", Fraction(25), format="yuv4mpegpipe"),
    "picture.apng": Odd("apng", Fraction(10), pix_fmt="rgb24"),
    "picture.gif": Odd("gif", Fraction(10), pix_fmt="rgb8"),
}


def pictures(width: int, height: int) -> list[np.ndarray]:
    """Make images of a bright square that moves from the upper left to the right."""
    images = []
    for index in range(FRAMES):
        image = np.full((height, width, 3), 40, np.uint8)
        left = 4 + index * (width // 2) // FRAMES
        image[4 : height // 3, left : left + width // 5] = 220
        images.append(image)
    return images


def centre(image: np.ndarray) -> np.ndarray:
    """Return the centre of the bright square, as fractions of height and width."""
    return np.argwhere(image[..., 1] > 130).mean(axis=0) / image.shape[:2]


def write_odd(path: Path, odd: Odd) -> None:
    with av.open(str(path), "w", format=odd.format) as container:
        stream = container.add_stream(odd.codec, rate=odd.rate)
        (stream.width, stream.height), stream.pix_fmt = odd.size, odd.pix_fmt
        stream.options = odd.options
        for index, image in enumerate(pictures(*odd.size)):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = index, 1 / odd.rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.mark.parametrize("name", ODD)
def test_a_video_of_any_kind_is_read_right(tmp_path: Path, name: str) -> None:
    odd = ODD[name]
    if odd.codec not in av.codecs_available:
        pytest.skip(f"this PyAV has no encoder {odd.codec}")
    write_odd(tmp_path / name, odd)
    video = open_video(tmp_path / name)
    frames = list(video.frames())
    width, height = odd.size
    shape = (
        4 / 3 if name in ("tape.dv", "feature-phone.3gp") else width / height
    )  # Pixels are not square there.
    assert video.size[0] / video.size[1] == pytest.approx(shape, abs=0.02)
    assert len(video.warnings) == (odd.rate < 4)  # Too few to follow a motion.
    assert video.fps == pytest.approx(float(odd.rate), rel=0.02)
    assert len(frames) == video.declared_frames == FRAMES
    np.testing.assert_allclose(video.times, np.arange(FRAMES) / float(odd.rate), atol=0.0006)
    for frame, image in zip(frames, pictures(width, height), strict=True):
        assert frame.image.shape[:2] == video.size[::-1]
        np.testing.assert_allclose(centre(frame.image), centre(image), atol=0.03)
        assert np.median(frame.image) == pytest.approx(40, abs=6)
