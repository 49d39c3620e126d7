"""Frames that are no file: arrays, open files, standard input."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from selfmocap.io.files import InputError
from selfmocap.io.video import open_video
from selfmocap.io.video_source import local_video, source_name
from tests.helpers.videos import write_video


def noise(count: int = 5) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (37, 53, 3), dtype=np.uint8) for _ in range(count)]


def test_arrays_and_their_times_are_kept_exactly_and_equal_arrays_give_an_equal_file(tmp_path: Path) -> None:
    times, files = [5.0, 5.1, 5.25, 5.3, 5.9], []
    for frames in (noise(), iter(noise()), np.stack(noise())):
        with local_video(None, tmp_path / "out", frames, times) as path:
            video = open_video(path)
            assert all(np.array_equal(f.image, one) for f, one in zip(video.frames(), noise(), strict=True))
            np.testing.assert_allclose(video.times, np.array(times) - 5, atol=2e-5)
            files.append(path.read_bytes())
        assert not (tmp_path / "out").exists()
    assert files[0] == files[1] == files[2]


def test_an_iterator_is_read_one_frame_at_a_time(tmp_path: Path) -> None:
    alive: list[int] = []

    def frames() -> Iterator[np.ndarray]:
        for index in range(200):
            alive.append(index)
            yield np.full((48, 64, 3), index, np.uint8)

    with local_video(None, tmp_path, frames()) as path:
        assert open_video(path).declared_frames == len(alive) == 200


BAD = {
    "other shape": ([*noise(2), noise(1)[0][:-1]], None, "shape"),
    "floating point": ([noise(1)[0] / 255.0], None, "uint8"),
    "no frames": ([], None, "found none"),
    "fewer times": (noise(3), [0.0, 0.1], "as many times"),
    "more times": (noise(3), [0.0, 0.1, 0.2, 0.3], "as many times"),
    "times fall": (noise(3), [0.0, 0.2, 0.1], "increase"),
    "no time": (noise(3), [0.0, float("nan"), 0.1], "increase"),
}


@pytest.mark.parametrize("name", BAD)
def test_impossible_frames_are_refused_and_leave_nothing(tmp_path: Path, name: str) -> None:
    frames, times, message = BAD[name]
    with pytest.raises(InputError, match=message), local_video(None, tmp_path / "out", frames, times):
        pass
    assert not list(tmp_path.iterdir())


def test_open_files_and_standard_input_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_video(tmp_path / "a.mp4", noise())
    data = source.read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with source.open("rb") as file:
        for given in (io.BytesIO(data), file, "-", Path("-")):
            with local_video(given, tmp_path / "out") as path:
                assert path.read_bytes() == data
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
            assert not (tmp_path / "out").exists()


def test_paths_are_given_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with local_video("~/a.mp4", tmp_path / "out") as path:
        assert path == tmp_path / "a.mp4"
    with pytest.raises(InputError, match="a URL; download it first"), local_video("http://a/b.mp4", tmp_path):
        pass
    with pytest.raises(InputError, match="found neither"), local_video(None, tmp_path):
        pass
    with pytest.raises(InputError, match="mode 'rb'"), local_video(io.StringIO("a"), tmp_path):  # type: ignore[arg-type]
        pass
    assert [source_name(None), source_name("a/b.mp4"), source_name(io.BytesIO())] == [
        "frames",
        "a/b.mp4",
        "file",
    ]
