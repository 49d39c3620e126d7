"""Long films, captured in parts."""

import contextlib
import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from selfmocap.adaptation.fit import FitConfig
from selfmocap.io.files import read_json, write_json
from selfmocap.io.progress import ProgressCallback
from selfmocap.pipeline import solve
from selfmocap.pipeline.capture import capture
from selfmocap.pipeline.config import BatchConfig, CaptureConfig
from selfmocap.pipeline.distributed import films, many
from selfmocap.pipeline.distributed.bucket import Bucket
from selfmocap.pipeline.distributed.jobs import CaptureJob
from selfmocap.pipeline.distributed.manifest import Failure
from selfmocap.pipeline.distributed.schedule import Tally
from selfmocap.pipeline.distributed.sources import VideoSource
from selfmocap.tracking import film
from tests.helpers.stick_figures import BLUE, RED, blocks, filmed
from tests.helpers.stub_capture import little_work, results, untrained_weights
from tests.helpers.videos import write_video
from tests.pipeline.distributed.test_many import local_cluster

pytestmark = pytest.mark.slow

FPS, SHOTS = 10, (9, 8, 8)
COLOURS = (RED, BLUE, RED)
SHOT_OF = [shot for shot, frames in enumerate(SHOTS) for _ in range(frames)]
PLACES = [{COLOURS[shot]: (80.0 + 2.0 * frame, 110.0)} for frame, shot in enumerate(SHOT_OF)]


@contextlib.contextmanager
def short_parts() -> Iterator[None]:
    with (
        little_work(PLACES),
        patch.object(solve, "FitConfig", functools.partial(FitConfig, steps=2)),
        patch.object(film, "MIN_PART_SECONDS", 0.5),
        patch.object(many, "cluster", local_cluster),
    ):
        yield


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, CaptureConfig]:
    """A film of three shots, and settings."""
    images = [filmed(blocks(shot), 40, places) for shot, places in zip(SHOT_OF, PLACES, strict=True)]
    video = write_video(tmp_path / "film.mp4", images, [frame / FPS for frame in range(len(images))])
    weights = untrained_weights(tmp_path / "untrained.safetensors")
    return video, CaptureConfig(quality="fast", weights=weights, formats=("glb",))


def lines(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()][1:]


def test_a_film_in_parts_is_that_of_one_capture(made: Any, tmp_path: Path) -> None:
    video, config = made
    name, out = VideoSource(str(video)).name, tmp_path / "out"
    kept = BatchConfig(keep="motion,exports,observations,overlay,report")
    with short_parts():
        capture(video, tmp_path / "whole", config)
        whole = results(tmp_path / "whole")
        tally, failures = many.capture_many([str(video)], out, config, kept)
        assert (tally.done, tally.parts, failures) == (1, 4, [])
        assert results(out / name) == whole
        assert len(whole["report"]["shots"]) == 3
        people = [(person["shot"], person["perhaps_person"]) for person in whole["report"]["people"]]
        assert people == [(1, None), (2, None), (3, 1)]
        assert [line["state"] for line in lines(out)] == ["split", *["done"] * 4]
        assert not [*(out / ".parts").iterdir()]
        tally, _ = many.capture_many([str(video)], out, config, kept)
        assert (tally.done, tally.done_before) == (0, 1)
    rows = (out / "index" / "rows-0001.js").read_text()
    assert rows.count(name) == 1 and "-part-" not in rows


def observed_only(
    self: CaptureJob, video: Path, path: Path, out: Path, progress: ProgressCallback
) -> dict[str, Any]:
    """Stand for the capture of a film whose parts are joined."""
    write_json(path / "report.json", read_json(path / "observations.json"))
    return {}


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_a_part_that_fails_is_named_and_tried_again(made: Any, tmp_path: Path, place: str) -> None:
    video, config = made
    bucket = Bucket("memory://films/run", tmp_path / "scratch")
    out = bucket.url if place == "bucket" else str(tmp_path / "out")
    observe_part, attempts = films.observe_part, list[float]()

    def broken(video: Path, out: Path, settings: Any, *more: Any) -> None:
        attempts.append(round(settings.input.start * FPS))
        if attempts[-1] == 9:
            raise ValueError("a broken part")
        observe_part(video, out, settings, *more)

    def run(retry: bool = False) -> tuple[Tally, list[Failure], dict[str, Any]]:
        with short_parts(), patch.object(CaptureJob, "capture", observed_only):
            batch = BatchConfig(retry=retry, scratch=bucket.scratch)
            tally, failures = many.capture_many([str(video)], out, config, batch)
        path = f"{VideoSource(str(video)).name}/report.json"
        text = bucket.read(path) if place == "bucket" else (Path(out) / path).read_bytes()
        return tally, failures, json.loads(text)

    for done in (1, 0):
        with patch.object(films, "observe_part", broken):
            tally, failures, report = run()
        assert sorted(attempts) == [0, 9, 9, 17]
        assert [f"{failure.source}: {failure.error}" for failure in failures] == [
            f"{video}, 0.90 s to 1.70 s: a broken part"
        ]
        assert (tally.done, tally.done_before) == (done, 1 - done)
        assert "0.90 s to 1.70 s is missing: a broken part" in report["video"]["warnings"]
        assert report["video"]["frames"] == sum(SHOTS) and len(report["shots"]) == 3
        assert [(person["shot"], person["perhaps_person"]) for person in report["people"]] == [
            (1, None),
            (3, 1),
        ]
    tally, failures, report = run(retry=True)
    assert (tally.done, failures, len(report["people"])) == (1, [], 3)
    assert report["video"]["warnings"] == []
    assert not (bucket.find(".parts") if place == "bucket" else [*(tmp_path / "out" / ".parts").iterdir()])
