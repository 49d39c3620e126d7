"""Decoding: exact times, rotation, and a folder of broken and hostile inputs that this file makes itself."""

import json
import os
import struct
import wave
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import numpy as np
import pytest
from PIL import Image

from selfmocap.io.video import InputError, _increasing_time, open_video
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
    np.testing.assert_allclose(video.frame_times(), times, atol=1e-9)
    for frame, image in zip(frames, pictures(8), strict=True):
        assert np.abs(frame.image.astype(int) - image).mean() < 4


def test_reading_from_the_middle_and_in_windows_gives_equal_frames(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "a.mp4", pictures()))
    whole = list(video.frames())
    late = list(video.frames(first=7))
    assert [f.index for f in late] == [7, 8, 9, 10, 11]
    assert all(
        np.array_equal(a.image, b.image) and a.time == b.time for a, b in zip(whole[7:], late, strict=True)
    )
    windows = list(video.windows(5))
    assert [[f.index for f in window] for window in windows] == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]]


@pytest.mark.parametrize(
    ("turn", "corner"), [((0, 1, -1, 0), "right"), ((0, -1, 1, 0), "left"), ((-1, 0, 0, -1), "low")]
)
def test_rotation_metadata_is_applied(tmp_path: Path, turn: tuple[int, ...], corner: str) -> None:
    path = write_video(tmp_path / "turned.mp4", [pictures(1)[0]] * 3)
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    a, b, c, d = (value * 65536 for value in turn)
    data[matrix : matrix + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    video = open_video(path)
    image = next(video.frames()).image
    upright = corner == "low"
    assert video.size == ((WIDTH, HEIGHT) if upright else (HEIGHT, WIDTH))
    assert image.shape[:2] == video.size[::-1]
    bright = image.mean(axis=-1) > 150
    rows, columns = (float(np.mean(axis)) for axis in np.nonzero(bright))
    expected = {"right": (False, True), "left": (True, False), "low": (True, True)}[corner]
    assert (rows > image.shape[0] / 2, columns > image.shape[1] / 2) == expected


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
    np.testing.assert_allclose(open_video(folder).frame_times(), [frame.time for frame in frames])
    gif = tmp_path / "a.gif"
    stills = [Image.fromarray(image) for image in pictures(5)]
    stills[0].save(gif, save_all=True, append_images=stills[1:], duration=[50, 100, 50, 200, 50])
    np.testing.assert_allclose(open_video(gif).frame_times(), [0, 0.05, 0.15, 0.2, 0.4], atol=1e-9)


def test_times_that_do_not_increase_are_replaced() -> None:
    times, last = [], None
    for time in (None, 0.5, 0.5, 0.2, 3.0):
        last = _increasing_time(time, last, fps=10.0)
        times.append(last)
    np.testing.assert_allclose(times, [0.0, 0.5, 0.6, 0.7, 3.0])


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


def _pictures_of_two_sizes(path: Path) -> None:
    path.mkdir()
    for index, side in enumerate((32, 48)):
        Image.fromarray(np.zeros((side, side, 3), np.uint8)).save(path / f"{index}.png")


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
    "folder-of-two-sizes": _pictures_of_two_sizes,
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
