from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from selfmocap.io.input_options import InputOptions
from selfmocap.io.sound import sound_frames
from selfmocap.io.video import open_video
from selfmocap.io.video_writer import write_video


@pytest.mark.parametrize("constant_rate", [False, True])
def test_frames_and_times_round_trip(tmp_path: Path, constant_rate: bool) -> None:
    images = [np.full((32, 48, 3), 6 * n, np.uint8) for n in range(20)]
    times = [n / 25 + (0.01 if n % 3 else 0) for n in range(20)]
    write_video(
        tmp_path / "a.mp4", zip(times, images, strict=True), 25.0, {"crf": "10"}, constant_rate=constant_rate
    )
    video = open_video(tmp_path / "a.mp4")
    frames = list(video.frames())
    assert (video.size, video.fps) == ((48, 32), pytest.approx(25, rel=0.05))
    expected = [n / 25 for n in range(20)] if constant_rate else times
    assert [frame.time for frame in frames] == pytest.approx(expected, abs=1e-3)
    assert all(abs(float(frame.image.mean()) - 6 * frame.index) < 4 for frame in frames)
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_an_error_while_frames_are_made_leaves_no_file(tmp_path: Path) -> None:
    def frames():
        yield 0.0, np.zeros((32, 32, 3), np.uint8)
        raise RuntimeError("camera lost")

    with pytest.raises(RuntimeError, match="camera lost"):
        write_video(tmp_path / "a.mp4", frames(), 30.0)
    assert list(tmp_path.iterdir()) == []


def loudness(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the time of each frame of the sound, s, and its greatest amplitude."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
    return np.array([f.time for f in frames]), np.array([np.abs(f.to_ndarray()).max() for f in frames])


def test_the_sound_of_a_part_stays_with_its_frames(tmp_path: Path) -> None:
    """A tone begins at 1 s."""
    images = ((n / 25, np.full((32, 48, 3), 3 * n, np.uint8)) for n in range(50))

    def tone() -> Iterator[av.AudioFrame]:
        for begin in range(0, 96000, 1024):
            n = np.arange(begin, begin + 1024)
            wave = np.where(n < 48000, 0, 0.5 * np.sin(0.1 * n)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, begin, Fraction(1, 48000)
            yield frame

    write_video(tmp_path / "whole.mp4", images, 25.0, sound=tone())
    part = open_video(tmp_path / "whole.mp4", InputOptions(start=0.4, end=1.6))
    write_video(
        tmp_path / "part.mp4", ((f.time, f.image) for f in part.frames()), 25.0, sound=sound_frames(part)
    )
    times, loud = loudness(tmp_path / "part.mp4")
    assert times[loud > 0.2][0] == pytest.approx(0.6, abs=0.05)
    assert times[-1] == pytest.approx(1.2, abs=0.06)
    write_video(tmp_path / "silent.mp4", ((f.time, f.image) for f in part.frames()), 25.0)
    assert list(sound_frames(open_video(tmp_path / "silent.mp4"))) == []
