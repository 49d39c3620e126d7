from pathlib import Path

import numpy as np
import pytest

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
