import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from selfmocap.cli.main import main
from selfmocap.datasets.pseudo_labels import PseudoLabels
from selfmocap.pipeline.capture import capture
from selfmocap.pipeline.config import BatchConfig, CaptureConfig
from selfmocap.pipeline.distributed import many
from selfmocap.pipeline.distributed.bucket import Bucket
from selfmocap.pipeline.distributed.cluster import cluster
from selfmocap.pipeline.distributed.sources import VideoSource
from tests.helpers.stub_capture import drawn_video, little_work, results, untrained_weights
from tests.pipeline.distributed.test_jobs import LocalPool


class LocalCpuPool(LocalPool):
    on_gpus = False


@contextlib.contextmanager
def local_cluster(out: Path | Bucket, address: str | None, workers: int | None) -> Iterator[LocalPool]:
    yield LocalCpuPool(out)


@pytest.mark.slow
def test_a_folder_of_videos_gives_the_same_as_single_captures(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    good = [drawn_video(videos / f"{name}.mp4", frames) for name, frames in (("two", 8), ("short", 6))]
    (videos / "broken.mp4").write_bytes(good[0].read_bytes()[:300])
    weights = untrained_weights(tmp_path / "untrained.safetensors")
    command = [
        "capture-many", str(videos), "--out", str(out), "--weights", str(weights), "--formats", "bvh",
        "--pseudo-labels",
    ]  # fmt: skip

    def run() -> int:
        with (
            little_work(),
            patch.object(many, "cluster", local_cluster),
            patch.object(many, "CLIPS_PER_SHARD", 1),
            pytest.raises(SystemExit) as ended,
        ):
            main(command)
        assert isinstance(ended.value.code, int)
        return ended.value.code

    assert run() == 1
    printed = capsys.readouterr()
    assert "2 videos captured, 0 were captured before, 1 failed" in printed.out.replace("\n", " ")
    assert f"{videos / 'broken.mp4'}: failed 2 times: " in printed.err
    for video in good:
        with little_work():
            config = CaptureConfig(weights=weights, formats=("bvh",), overlay="all")
            capture(video, tmp_path / video.stem, config)
        assert results(out / VideoSource(str(video)).name) == results(tmp_path / video.stem)
    names = {VideoSource(str(video)).name for video in good}
    assert {path.stem for path in (out / "index").glob("*.jpg")} == names
    rows = (out / "index" / "rows-0001.js").read_text()
    assert all(name in rows for name in names) and "broken" in rows
    assert len(list((out / "pseudo-labels").glob("*.tar"))) == 2
    labels = PseudoLabels(out / "pseudo-labels")
    assert len(labels) == 4
    assert {labels[number].key.rpartition("-person")[0] for number in range(4)} == {
        VideoSource(str(video)).name for video in good
    }

    before = {path: path.stat().st_mtime_ns for path in out.glob("*-*/**/*")}
    drawn_video(videos / "more.mp4", 6)
    assert run() == 1
    assert "1 videos captured, 2 were captured before, 1 failed" in capsys.readouterr().out.replace("\n", " ")
    assert {path: path.stat().st_mtime_ns for path in before if path.name != "shards.jsonl"} == {
        path: time for path, time in before.items() if path.name != "shards.jsonl"
    }
    assert len(PseudoLabels(out / "pseudo-labels")) == 6
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    assert [line["people"] for line in lines[1:] if line.get("people")] == [2, 2, 2]


@pytest.mark.slow
def test_what_is_kept_is_the_same_in_a_folder_and_in_a_bucket(tmp_path: Path) -> None:
    video, weights = (
        drawn_video(tmp_path / "short.mp4", 6),
        untrained_weights(tmp_path / "untrained.safetensors"),
    )
    config = CaptureConfig(weights=weights, formats=("bvh",))
    bucket, name = Bucket("memory://captures/run", tmp_path / "scratch"), VideoSource(str(video)).name
    with little_work(), patch.object(many, "cluster", local_cluster):
        kept = BatchConfig(keep="motion,observations", pseudo_labels=True, scratch=bucket.scratch)
        for out in (tmp_path / "out", bucket.url):
            many.capture_many([str(video)], out, config, kept)
        with pytest.raises(ValueError, match="other settings"):
            many.capture_many([str(video)], bucket.url, config, BatchConfig(keep="motion"))
    files = sorted(path for path in (tmp_path / "out").rglob("*") if path.is_file())
    found = {str(path.relative_to(tmp_path / "out")): path.read_bytes() for path in files}
    people = [f"{name}/person-{n}/{kind}.npz" for n in (1, 2) for kind in ("motion", "observations")]
    assert {path for path in found if path.startswith(name)} == {
        *people, f"{name}/report.json", f"{name}/observations.json"
    }  # fmt: skip
    same = [*people, f"index/{name}.jpg", *(path for path in found if path.startswith("pseudo-labels/"))]
    assert len(same) == 7
    assert {path: found[path] for path in same} == {path: bucket.read(path) for path in same}
    assert bucket.names(name) == sorted(
        {f"{name}/{path.split('/')[1]}" for path in found if name + "/" in path}
    )
    assert b"report.json" in bucket.read("index.html")


@pytest.mark.parametrize("keep", ["", "motions", "motion, report"])
def test_unknown_kinds_of_files_are_refused(keep: str) -> None:
    with pytest.raises(ValueError, match="expected some of motion,exports"):
        BatchConfig(keep=keep)


def test_without_ray_one_line_names_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    with patch.dict(sys.modules, ray=None), pytest.raises(SystemExit) as ended:
        main(["capture-many", str(tmp_path), "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "pip install 'selfmocap[bulk]'" in error
    assert error.strip().count("\n") == 0


def test_zero_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 workers"):
        many.capture_many([], tmp_path, batch=BatchConfig(workers=0))
    with patch.dict(sys.modules, ray=None), pytest.raises(ImportError), cluster(tmp_path, None, 1):
        pass
