"""Decoding: exact times, rotation, and a folder of broken and hostile inputs that this file makes itself."""

import json
import os
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from time import monotonic
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from PIL import Image

from selfmocap.io.files import InputError
from selfmocap.io.input_options import InputOptions
from selfmocap.io.tone_mapping import HLG, PQ
from selfmocap.io.video import open_video
from selfmocap.tracking.observe import observe
from tests.helpers.videos import write_video

WIDTH, HEIGHT = 96, 64


def pictures(count: int = 12) -> list[np.ndarray]:
    """Make images of a bright bar in the upper left that moves to the right."""
    images = []
    for index in range(count):
        image = np.full((HEIGHT, WIDTH, 3), 40, np.uint8)
        image[:16, 4 * index : 4 * index + 16] = 230
        images.append(image)
    return images


def test_every_frame_has_its_exact_time(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.1, 0.11, 0.2, 0.5, 0.501, 0.9]
    video = open_video(write_video(tmp_path / "vfr.mkv", pictures(8), times))
    frames = list(video.frames())
    assert video.size == (WIDTH, HEIGHT)
    assert [frame.index for frame in frames] == list(range(8))
    np.testing.assert_allclose([frame.time for frame in frames], times, atol=1e-9)
    np.testing.assert_allclose(video.times, times, atol=1e-9)
    for frame, image in zip(frames, pictures(8), strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4


def test_reading_from_the_middle_and_in_windows_gives_equal_frames(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "a.mp4", pictures()))
    whole = list(video.frames())
    late = list(video.frames(first=7))
    for one, other in zip(video.frames(1, every=3), whole[1::3], strict=True):
        assert one.index == other.index and np.array_equal(one.image, other.image)
    assert [f.index for f in late] == [7, 8, 9, 10, 11]
    assert all(
        np.array_equal(a.image, b.image) and a.time == b.time for a, b in zip(whole[7:], late, strict=True)
    )
    windows = list(video.windows(5))
    assert [[f.index for f in window] for window in windows] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


def corner(image: np.ndarray) -> tuple[str, str]:
    """Say where the bright bar lies."""
    rows, columns = np.nonzero(image.mean(axis=-1) > 150)
    low, right = rows.mean() > image.shape[0] / 2, columns.mean() > image.shape[1] / 2
    return "low" if low else "high", "right" if right else "left"


MATRICES = {
    (1, 0, 0, 1): ("high", "left"),
    (-1, 0, 0, 1): ("high", "right"),
    (1, 0, 0, -1): ("low", "left"),
    (-1, 0, 0, -1): ("low", "right"),
    (0, 1, -1, 0): ("high", "right"),
    (0, -1, 1, 0): ("low", "left"),
    (0, 1, 1, 0): ("high", "left"),
    (0, -1, -1, 0): ("low", "right"),
}
"""The place of the upper left corner, by the display matrix a, b, c, d: x' = a x + c y, y' = b x + d y."""


def with_matrix(path: Path, matrix: tuple[int, ...]) -> Path:
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("matrix", MATRICES)
def test_the_whole_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, ...]) -> None:
    video = open_video(with_matrix(write_video(tmp_path / "a.mp4", [pictures(1)[0]] * 3), matrix))
    image = next(video.frames()).image
    assert video.size == ((WIDTH, HEIGHT) if matrix[0] else (HEIGHT, WIDTH))
    assert image.shape[:2] == video.size[::-1]
    assert corner(image) == MATRICES[matrix]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"rotate": 90}, ("high", "right")),
        ({"rotate": 180}, ("low", "right")),
        ({"rotate": 270}, ("low", "left")),
        ({"mirror": True}, ("high", "right")),
        ({"rotate": 90, "mirror": True}, ("high", "left")),
    ],
)
def test_users_rotate_and_mirror_videos_and_pictures(
    tmp_path: Path, options: dict[str, Any], expected: tuple[str, str]
) -> None:
    image = pictures(1)[0]
    Image.fromarray(image).save(tmp_path / "a.png")
    write_video(tmp_path / "a.mp4", [image] * 3)
    write_video(tmp_path / "mirrored.mp4", [np.ascontiguousarray(image[:, ::-1])] * 3)
    with_matrix(tmp_path / "mirrored.mp4", (-1, 0, 0, 1))
    for name in ("a.png", "a.mp4", "mirrored.mp4"):
        video = open_video(tmp_path / name, InputOptions(**options))
        seen = next(video.frames()).image
        assert corner(seen) == expected, name
        assert seen.shape[:2] == video.size[::-1]


@pytest.mark.parametrize(
    "options",
    [
        {"input_fps": 0.0},
        {"slow_motion": -1.0},
        {"input_fps": 9.0, "slow_motion": 2.0},
        {"start": -1.0},
        {"start": 2.0, "end": 2.0},
        {"end": float("nan")},
    ],
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        InputOptions(**options)


def test_the_true_rate_replaces_the_files_and_slow_motion_scales_it(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures())
    fast = open_video(path, InputOptions(input_fps=120.0))
    np.testing.assert_allclose(fast.times, np.arange(12) / 120)
    assert fast.fps == 120 and fast.warnings == ()
    slow = open_video(path, InputOptions(slow_motion=4.0))
    np.testing.assert_allclose(slow.times, np.arange(12) / 120, atol=2e-4)
    assert slow.fps == pytest.approx(120, rel=0.005)  # The file has whole milliseconds.
    assert [frame.time for frame in slow.frames()] == slow.times.tolist()


def test_a_part_of_a_video_keeps_its_frames_and_times(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", pictures())
    whole = list(open_video(path).frames())
    part = open_video(path, InputOptions(start=whole[3].time, end=whole[7].time))
    assert (part.first_frame, part.declared_frames) == (3, 4)
    for one, other in zip(part.frames(), whole[3:7], strict=True):
        assert (one.index, one.time) == (other.index, other.time)
        np.testing.assert_array_equal(one.image, other.image)
    assert [frame.index for frame in part.frames(6)] == [6]
    with pytest.raises(InputError, match=r"from 9 s on, found frames from 0 to 0\.3"):
        open_video(path, InputOptions(start=9.0))


def test_pixels_that_are_not_square_give_the_shape_that_players_show(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    for aspect, size in (
        (Fraction(3, 2), (144, 64)),
        (Fraction(2, 3), (96, 96)),
        (Fraction(1001, 1000), (96, 64)),
    ):
        write_video(path, pictures(3), aspect=aspect)
        video = open_video(path)
        assert video.size == size
        image = next(video.frames()).image
        assert image.shape[:2] == size[::-1]
        rows, columns = np.nonzero(image.mean(axis=-1) > 150)
        assert np.ptp(columns) / np.ptp(rows) == pytest.approx(size[0] / WIDTH / (size[1] / HEIGHT), rel=0.2)


@pytest.mark.skipif("libx264" not in av.codecs_available, reason="this PyAV has no encoder of H.264")
def test_frames_of_other_sizes_are_scaled_to_the_first_and_reported(tmp_path: Path) -> None:
    """MPEG-TS files may be joined by their bytes."""
    large, small = tmp_path / "1.ts", tmp_path / "2.ts"
    write_video(large, pictures(10), codec="libx264", options={"bf": "0"})
    half = [np.ascontiguousarray(image[::2, ::2]) for image in pictures(10)]
    write_video(small, half, times=[(10 + n) / 30 for n in range(10)], codec="libx264", options={"bf": "0"})
    joined = tmp_path / "joined.ts"
    joined.write_bytes(large.read_bytes() + small.read_bytes())
    video = open_video(joined)
    frames = list(video.frames())
    assert len(frames) == 20
    assert {frame.image.shape for frame in frames} == {(HEIGHT, WIDTH, 3)}
    assert "from 96 x 64 to 48 x 32" in " ".join(video.warnings)
    for before, after in zip(frames[:10], frames[10:], strict=True):
        assert np.abs(before.image.astype(int) - after.image).mean() < 6


def test_pictures_of_another_shape_lie_between_black_bars(tmp_path: Path) -> None:
    for index, (width, height) in enumerate(((80, 40), (40, 40), (160, 80))):
        Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(tmp_path / f"{index}.png")
    first, square, large = (frame.image for frame in open_video(tmp_path).frames())
    assert first.shape == square.shape == large.shape == (40, 80, 3)
    assert (square[:, :20] == 0).all() and (square[:, 60:] == 0).all() and (square[:, 20:60] >= 198).all()
    assert (large >= 198).all()


def test_the_default_stream_is_read(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("ffv1", rate=30) for _ in range(2)]
        for stream, side in zip(streams, (32, 64), strict=True):
            stream.width = stream.height = side
            stream.pix_fmt = "bgr0"
        streams[0].disposition = Disposition(0)
        streams[1].disposition = Disposition.default
        for index in range(4):
            for stream in streams:
                image = np.zeros((stream.height, stream.width, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts, frame.time_base = index, Fraction(1, 30)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode())
    assert open_video(path).size == (64, 64)


def test_interlaced_lines_are_interpolated(tmp_path: Path) -> None:
    """Half of the lines show a bar where it was 16 px before."""
    images = []
    for index in range(10):
        now, before = (np.full((HEIGHT, WIDTH, 3), 40, np.uint8) for _ in range(2))
        now[:, 8 * index + 8 : 8 * index + 24] = 230
        before[:, max(8 * index - 8, 0) : 8 * index + 8] = 230
        now[0::2] = before[0::2]
        images.append(now)
    path = tmp_path / "a.mkv"
    write_video(path, images, codec="mpeg2video", options={"flags": "+ilme+ildct", "b": "8M"})
    frames = list(open_video(path).frames())
    assert len(frames) == 10

    def combing(image: np.ndarray) -> float:
        grey = image.mean(axis=-1)
        return float(np.abs(grey[2:-2] - (grey[1:-3] + grey[3:-1]) / 2).mean())

    for image, frame in list(zip(images, frames, strict=True))[2:8]:
        assert combing(frame.image) < combing(image) / 2


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_high_dynamic_range_is_tone_mapped(tmp_path: Path, transfer: int) -> None:
    """Diffuse white is nearly white, grey of 18 % is in the middle, and 1000 cd/m2 are not clipped to it."""
    signals = {PQ: (0.5807, 0.4025, 0.7518), HLG: (0.75, 0.4293, 1.0)}[transfer]
    seen = []
    for signal in signals:
        image = np.full((32, 32, 3), round(65535 * signal), np.uint16)
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=30)
            stream.width = stream.height = 32
            stream.pix_fmt = "yuv420p10le"
            stream.codec_context.color_trc, stream.codec_context.colorspace = transfer, 9
            stream.codec_context.color_primaries = 9
            frame = av.VideoFrame.from_ndarray(image, format="rgb48le").reformat(
                format="yuv420p10le", dst_colorspace=9
            )
            frame.color_trc = transfer
            frame.pts, frame.time_base = 0, Fraction(1, 30)
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        seen.append(float(next(open_video(path).frames()).image.mean()))
    white, grey, highlight = seen
    assert white == pytest.approx(237, abs=6) and grey == pytest.approx(118, abs=10)
    assert 244 < highlight <= 255


def test_transparent_pixels_are_black(tmp_path: Path) -> None:
    rgba = np.full((48, 48, 4), 200, np.uint8)
    rgba[..., 3] = 0
    rgba[12:36, 12:36, 3] = 255
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("qtrle", rate=30)
        stream.width, stream.height, stream.pix_fmt = 48, 48, "argb"
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format="argb")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    image = next(open_video(tmp_path / "a.mov").frames()).image
    assert (image[24, 24] == 200).all() and (image[2, 2] == 0).all()


def test_titles_and_names_in_latin_1_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.avi")
    write_video(path, pictures())
    data = path.read_bytes()
    title = "Übung Café".encode("latin-1")
    info = b"INFOINAM" + struct.pack("<I", len(title)) + title
    place = data.index(b"LIST", data.index(b"hdrl") + 4 + struct.unpack("<I", data[16:20])[0] - 8)
    chunk = b"LIST" + struct.pack("<I", len(info)) + info
    path.write_bytes(data[:place] + chunk + data[place:])
    with pytest.raises(UnicodeDecodeError), av.open(str(path)):
        pass
    assert len(list(open_video(path).frames())) == 12


def test_a_video_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.avi", pictures() * 10, codec="mjpeg")
    assert open_video(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = open_video(path)
    assert 40 < video.declared_frames < 80
    assert any("declares 4.0 s" in warning and "cut off" in warning for warning in video.warnings)


@pytest.mark.parametrize(("name", "first"), [("late.mkv", 100.0), ("empty-frames.avi", 0.0)])
def test_a_clock_that_begins_late_or_ticks_fast_is_not_taken_for_a_cut_off_video(
    tmp_path: Path, name: str, first: float
) -> None:
    images = pictures() * 4
    video = open_video(write_video(tmp_path / name, images, [first + k / 30 for k in range(len(images))]))
    assert video.declared_frames == len(images) and video.times[-1] == pytest.approx(
        (len(images) - 1) / 30, abs=0.01
    )
    assert video.warnings == ()


def test_a_rate_that_is_too_low_is_reported_until_the_true_one_is_given(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", pictures(), [10.0 * k for k in range(len(pictures()))])
    assert "0.1 frames a second are too few" in " ".join(open_video(path).warnings)
    assert open_video(path, InputOptions(input_fps=30.0)).warnings == ()


@pytest.mark.parametrize(
    ("name", "codec"), [("a.ts", "mpeg2video"), ("a.mpg", "mpeg2video"), ("a.gif", "gif")]
)
def test_a_video_without_a_declared_length_that_ends_inside_a_frame_is_reported(
    tmp_path: Path, name: str, codec: str
) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(20)]
    if codec == "gif":
        path = tmp_path / name
        first, *others = map(Image.fromarray, images)
        first.save(path, save_all=True, append_images=others, duration=40)
    else:
        path = write_video(tmp_path / name, images, codec=codec)
    assert open_video(path).warnings == ()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = open_video(path)
    assert video.declared_frames < 20
    assert any("ends inside a frame" in warning for warning in video.warnings)


def test_damaged_data_is_flagged_and_the_rest_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(30)]
    path = write_video(tmp_path / "noise.mkv", images)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = rng.integers(0, 255, 400, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    frames = list(open_video(path).frames())
    assert 15 <= len(frames) <= 30
    assert any(frame.corrupt for frame in frames)
    assert not frames[0].corrupt
    assert all(np.diff([frame.time for frame in frames]) > 0)


def test_images_and_gifs_are_videos(tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, image in enumerate(pictures(11)):
        Image.fromarray(image).save(folder / f"frame{index}.png")
    (folder / "notes.txt").write_text("not a picture")
    frames = list(open_video(folder).frames())
    assert len(frames) == 11
    assert all(np.array_equal(frame.image, image) for frame, image in zip(frames, pictures(11), strict=True))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(11) / 30)
    gif = tmp_path / "a.gif"
    stills = [Image.fromarray(image) for image in pictures(5)]
    stills[0].save(gif, save_all=True, append_images=stills[1:], duration=[50, 100, 50, 200, 50])
    np.testing.assert_allclose(open_video(gif).times, [0, 0.05, 0.15, 0.2, 0.4], atol=1e-9)


# ---- broken and hostile inputs --------------------------------------------------------------------------------


def _png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _truncated_mp4(path: Path) -> None:
    write_video(path, pictures())
    path.write_bytes(path.read_bytes()[:-600])


def _headless_mp4(path: Path) -> None:
    write_video(path, pictures())
    path.write_bytes(path.read_bytes().replace(b"moov", b"gone"))


def _sound(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(8000))


def _archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.mp4", b"0" * 100)


def _playlist(path: Path) -> None:
    real = write_video(path.parent / "real.mp4", pictures())
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{real}\n#EXT-X-ENDLIST\n")


def _concat(path: Path) -> None:
    write_video(path.parent / "real.mp4", pictures())
    path.write_text("ffconcat version 1.0\nfile real.mp4\n")


def _folder(path: Path, **files: bytes) -> None:
    path.mkdir()
    for name, data in files.items():
        (path / name.replace("_", ".")).write_bytes(data)


def _jpeg(path: Path, keep: float = 1.0) -> None:
    rng = np.random.default_rng(1)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path, format="JPEG")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])


def _animated_webp(path: Path) -> None:
    stills = [Image.fromarray(image) for image in pictures(3)]
    stills[0].save(path, format="WEBP", save_all=True, append_images=stills[1:])


def _scrambled_mkv(path: Path) -> None:
    write_video(path, pictures())
    data = bytearray(path.read_bytes())
    data[40:] = bytes(len(data) - 40)
    path.write_bytes(data)


def _gif_of(path: Path, width: int, height: int) -> None:
    path.write_bytes(b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6) + b",")


def _huge_y4m(path: Path) -> None:
    path.write_bytes(b"YUV4MPEG2 W60000 H60000 F30:1 Ip A1:1 C420jpeg\nFRAME\n" + bytes(1000))


HOSTILE: dict[str, Callable[[Path], object]] = {
    "missing.mp4": lambda path: None,
    "empty.mp4": lambda path: path.write_bytes(b""),
    "text.mp4": lambda path: path.write_text("this is not a video\n" * 50),
    "noise.mp4": lambda path: path.write_bytes(np.random.default_rng(0).bytes(50_000)),
    "zeros.mp4": lambda path: path.write_bytes(bytes(50_000)),
    "one-byte.mp4": lambda path: path.write_bytes(b"\0"),
    "truncated.mp4": _truncated_mp4,
    "headless.mp4": _headless_mp4,
    "scrambled.mkv": _scrambled_mkv,
    "sound.wav": _sound,
    "sound-named-video.mp4": _sound,
    "archive.mp4": _archive,
    "page.mp4": lambda path: path.write_text("<!DOCTYPE html><html><body>404</body></html>"),
    "list.json": lambda path: path.write_text(json.dumps({"people": []})),
    "drawing.svg": lambda path: path.write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>'
    ),
    "playlist.m3u8": _playlist,
    "playlist-named-video.mp4": _playlist,
    "concat.ffconcat": _concat,
    "session.sdp": lambda path: path.write_text("v=0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
    "absurd.png": lambda path: path.write_bytes(_png_of(60_000, 60_000)),
    "absurd-named-video.mp4": lambda path: path.write_bytes(_png_of(60_000, 60_000)),
    "large.png": lambda path: path.write_bytes(_png_of(9000, 9000)),
    "absurd.gif": lambda path: _gif_of(path, 65_535, 65_535),
    "headless.gif": lambda path: _gif_of(path, 32, 32),
    "absurd.y4m": _huge_y4m,
    "cut.jpg": lambda path: _jpeg(path, keep=0.4),
    "cut-png.png": lambda path: path.write_bytes(_png_of(64, 64)[:60]),
    "animated.webp": _animated_webp,
    "empty-folder": lambda path: _folder(path),
    "folder-of-text": lambda path: _folder(path, a_txt=b"a", b_md=b"b"),
    "folder-of-false-pictures": lambda path: _folder(path, a_png=b"not a picture", b_jpg=b"nor this"),
    "folder-of-empty-pictures": lambda path: _folder(path, a_png=b""),
    "folder-of-an-absurd-picture": lambda path: _folder(path, a_png=_png_of(60_000, 60_000)),
    "loop.mp4": lambda path: path.symlink_to(path),
    "nowhere.mp4": lambda path: path.symlink_to(path.parent / "gone"),
    "pipe.mp4": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_ends_in_one_clear_line_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    path, out = tmp_path / name, tmp_path / "out"
    HOSTILE[name](path)
    began = monotonic()
    expected = (
        FileNotFoundError if name in ("missing.mp4", "loop.mp4", "nowhere.mp4", "pipe.mp4") else InputError
    )
    with pytest.raises(expected) as caught:
        for _ in open_video(path).frames():
            pass
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)
    with pytest.raises(expected):
        observe(path, out)
    assert monotonic() - began < 10
    assert not list(out.rglob("*"))


def test_a_reference_to_another_file_is_not_followed(tmp_path: Path) -> None:
    """The referenced file itself can be opened, so the reference is what is refused."""
    _concat(tmp_path / "list.ffconcat")
    assert open_video(tmp_path / "real.mp4").size == (WIDTH, HEIGHT)
    with pytest.raises(InputError):
        open_video(tmp_path / "list.ffconcat")


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_frames_in_the_middle_are_those_of_a_video_read_from_its_start(tmp_path: Path, codec: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (180, 6, 8, 3), np.uint8)
    images = [image.repeat(8, axis=0).repeat(8, axis=1) for image in noise]
    options = {"g": "30", "bf": "2"} | ({"x264-params": "open-gop=1"} if codec == "libx264" else {})
    video = open_video(write_video(tmp_path / "noise.mp4", images, codec=codec, options=options))
    assert video.stamps is not None
    for sought, read in zip(video.frames(141), replace(video, stamps=None).frames(141), strict=True):
        assert (sought.index, sought.time) == (read.index, read.time)
        assert (sought.image == read.image).all()
