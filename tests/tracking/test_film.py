"""The parts of a long film, and how they are joined."""

import json
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from selfmocap.io.video import InputError, Video
from selfmocap.tracking import film
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.film import FilmPart, join_parts, split_film
from selfmocap.tracking.observe import observe, observe_part
from selfmocap.tracking.shots import shots_between
from tests.helpers.stick_figures import BLUE, RED, blocks, filmed
from tests.helpers.stub_capture import little_work
from tests.helpers.videos import write_video


def parts_of(starts: list[int], frames: int, fps: float = 10.0) -> list[FilmPart]:
    video = Video(Path("film.mp4"), (64, 48), fps, 0, frames, times=np.arange(frames) / fps)
    with (
        patch.object(film, "open_video", lambda *_: video),
        patch.object(film, "find_shots", lambda *_: shots_between(starts, frames)),
    ):
        return split_film(video.path, Path("out"), ObserveConfig())


def test_parts_are_whole_shots_of_ten_seconds() -> None:
    parts = parts_of([0, 30, 110, 150, 220, 290], 340)
    assert [part.shot_starts for part in parts] == [(0, 30), (110, 150), (220, 290)]
    assert [(part.start, part.end) for part in parts] == [
        (0.0, 11.0),
        (11.0, 22.0),
        (22.0, pytest.approx(34.0)),
    ]
    assert [part.shot_starts for part in parts_of([0, 110, 150, 245], 340)] == [(0,), (110, 150, 245)]


def test_a_short_film_and_one_without_cuts_are_one_part() -> None:
    for starts, frames in (([0, 90], 190), ([0], 900)):
        (part,) = parts_of(starts, frames)
        assert (part.start, part.end, part.shot_starts) == (0.0, pytest.approx(frames / 10), (0,))


def test_a_very_long_film_has_few_parts() -> None:
    assert 60 <= len(parts_of([*range(0, 72_000, 20)], 72_000)) <= film.MAX_PARTS


@pytest.mark.slow
def test_joined_parts_are_the_observations_of_the_film(tmp_path: Path) -> None:
    fps, shots = 10, (9, 8, 8)
    shot_of = [shot for shot, frames in enumerate(shots) for _ in range(frames)]
    figures = ({RED: 80.0, BLUE: 220.0}, {}, {BLUE: 100.0})
    places = [
        {colour: (x + n, 110.0) for colour, x in figures[shot].items()} for n, shot in enumerate(shot_of)
    ]
    images = [filmed(blocks(shot), 40, of_frame) for shot, of_frame in zip(shot_of, places, strict=True)]
    video = write_video(tmp_path / "film.mp4", images, [n / fps for n in range(len(images))])
    settings = ObserveConfig("all", overlay=False)
    with little_work(places), patch.object(film, "MIN_PART_SECONDS", 0.5):
        paths = observe(video, tmp_path / "whole", settings)
        parts = split_film(video, tmp_path / "split", settings)
        folders = [tmp_path / f"part-{n}" for n in range(len(parts))]
        for part, folder in zip(parts, folders, strict=True):
            observe_part(video, folder, part.settings(settings), part.shot_starts)
        join_parts(video, tmp_path / "joined", settings, parts, folders)
        assert [path.parent.name for path in observe(video, tmp_path / "joined", settings)] == [
            "person-1", "person-2", "person-3"
        ]  # fmt: skip
        with pytest.raises(InputError, match="no person was tracked"):
            join_parts(video, tmp_path / "empty", settings, parts, folders[1:2], ["the rest is missing"])
    assert len(parts) == 3
    for path in paths:
        assert (tmp_path / "joined" / path.relative_to(tmp_path / "whole")).read_bytes() == path.read_bytes()
    whole, joined = (
        json.loads((tmp_path / n / "observations.json").read_text()) for n in ("whole", "joined")
    )
    changing = {"stages", "peak_memory_gb"}
    assert {k: v for k, v in joined.items() if k not in changing} == {
        k: v for k, v in whole.items() if k not in changing
    }
    assert [person["perhaps_person"] for person in whole["people"]].count(None) == 2
