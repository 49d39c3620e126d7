import errno
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from selfmocap.io.progress import ProgressCallback
from selfmocap.pipeline.distributed import scratch, sources
from selfmocap.pipeline.distributed.bucket import Bucket, OutputError
from selfmocap.pipeline.distributed.jobs import WORK, run_job
from selfmocap.pipeline.distributed.manifest import Manifest
from selfmocap.pipeline.distributed.output import FolderOutput
from selfmocap.pipeline.distributed.schedule import MAX_ATTEMPTS, JobProgress, Outcome, Tally, run_all
from selfmocap.pipeline.distributed.sources import VideoSource, download, find_videos
from tests.helpers.bulk_jobs import Pause, results, run


class LocalPool:
    """A pool in this process, which does a job when it is waited for."""

    def __init__(self, out: Path | Bucket, workers: int = 3) -> None:
        self.out, self.workers, self.given = out, workers, list[Pause]()
        self.begun = Counter[str]()

    def num_free(self) -> int:
        return self.workers - len(self.given)

    def start(self, job: Pause) -> None:
        self.begun[job.name] += 1
        self.given.append(job)

    def wait(self, seconds: float) -> list[Outcome]:
        job = self.given.pop()
        try:
            run_job(job, self.out, lambda *_: None)
        except ValueError as error:
            return [Outcome(job, str(error))]
        return [Outcome(job, None)]

    def job_progress(self) -> JobProgress:
        return {job.name: ("pause", 0, 1) for job in self.given}


def lines(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()][1:]


# ---- sources --------------------------------------------------------------------------------------------------


def files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"video")


def test_files_folders_globs_and_lists_are_found(tmp_path: Path) -> None:
    files(
        tmp_path,
        "a.mp4",
        "in/b.MOV",
        "in/deep/c.mkv",
        "in/notes.md",
        "in/.hidden.mp4",
        "pictures/1.png",
        "g[1].mp4",
    )
    (tmp_path / "list.txt").write_text(
        f"# some\n\nin/b.MOV\n{tmp_path}/absent.mp4\nin/deep/*.mkv\nhttps://host/d.mp4\n"
    )

    def found(*names: str) -> list[str]:
        clips = find_videos([str(tmp_path / name) for name in names])
        return [clip.source.removeprefix(f"{tmp_path.resolve()}/") for clip in clips]

    assert found("a.mp4", "in") == ["a.mp4", "in/b.MOV", "in/deep/c.mkv"]
    assert found("pictures") == ["pictures"]
    assert sorted(found("**/*.m*")) == ["a.mp4", "g[1].mp4", "in/.hidden.mp4", "in/deep/c.mkv", "in/notes.md"]
    assert found("g[1].mp4") == ["g[1].mp4"]
    assert found("list.txt") == ["in/b.MOV", "absent.mp4", "in/deep/c.mkv", "https://host/d.mp4"]


def test_sources_are_found_lazily(tmp_path: Path) -> None:
    files(tmp_path, "0.mp4", "1.mp4")
    clips = find_videos([str(tmp_path)])
    next(clips)
    (tmp_path / "1.mp4").unlink()
    (tmp_path / "list.txt").write_text("x.mp4\n")
    assert len(list(find_videos([str(tmp_path / "list.txt")] * 3))) == 3


@pytest.mark.parametrize(
    ("source", "match"),
    [
        ("absent.mp4", "absent.mp4 does not exist"),
        ("absent*.mp4", "no videos found"),
        ("ssh://host/a.mp4", "unsupported URL"),
        ("zip://a.mp4::http://host/a.zip", "unsupported URL"),
        ("http://host/a.mp4::file:///etc/passwd", "unsupported URL"),
        ("memory://a.mp4", "unsupported URL"),
    ],
)
def test_invalid_sources_are_refused(source: str, match: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=match):
        list(find_videos([source]))


@pytest.mark.parametrize(
    "source",
    [
        "/videos/../../etc/passwd", "https://host/..", "https://host/a/%2e%2e/b.mp4?x=/../../c", "s3://b/" + "x" * 3000,
        "/videos/\udcff\x00\n.mp4", "/videos/...", "https://host/", "/v/.work.mp4", "/v/con:a*?.mp4", "/v/日本.mp4",
    ],
)  # fmt: skip
def test_a_name_is_one_harmless_word(source: str) -> None:
    name = VideoSource(source).name
    assert name.isascii()
    assert name.replace("-", "").replace("_", "").isalnum()
    assert 18 <= len(name) <= 60
    assert name != VideoSource(source + "x").name


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def test_a_url_is_downloaded_and_its_copy_removed(tmp_path: Path, server: str) -> None:
    (tmp_path / "run.mp4").write_bytes(bytes(range(256)) * 1000)
    received: list[int] = []
    with download(f"{server}/run.mp4?token=a/b", tmp_path, received.append) as path:
        assert path.read_bytes() == bytes(range(256)) * 1000
        assert path.suffix == ".mp4"
    assert not path.exists()
    assert received[-1] == 256_000
    with pytest.raises(OSError), download(f"{server}/absent.mp4", tmp_path, received.append):
        pass
    with (
        patch.object(sources, "MAX_DOWNLOAD_BYTES", 1000),
        pytest.raises(ValueError, match="larger than the 1000"),
    ):
        download(f"{server}/run.mp4", tmp_path, received.append).__enter__()


def test_a_folder_given_as_a_url_is_searched(tmp_path: Path) -> None:
    files(tmp_path, "a.mp4", "in/b.mov", "in/c.txt")
    found = [clip.source for clip in find_videos([f"file://{tmp_path}", f"file://{tmp_path}/*.mp4"])]
    assert found == [f"file://{tmp_path}/{name}" for name in ("a.mp4", "in/b.mov", "a.mp4")]
    with download(found[0], tmp_path, lambda done: None) as path:
        assert path.read_bytes() == b"video"


# ---- the manifest ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("torn", [b'{"name": "c", "state": "do', b'{"name": "' + b"x" * 10_000])
def test_an_incomplete_line_is_cut_off(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(path, {"a": 1}) as manifest:
        manifest.add({"name": "a", "state": "failed", "source": "a.mp4", "error": "torn"})
        manifest.add({"name": "b", "state": "done"})
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with Manifest(path, {"a": 1}) as manifest:
        assert path.read_bytes() == whole
        assert manifest.failures["a"].attempts == 1
        manifest.add({"name": "a", "state": "done"})
        assert not manifest.failures
    assert [line["name"] for line in lines(tmp_path)] == ["a", "b", "a"]


def test_a_manifest_with_other_settings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(path, {"quality": "fast"}), pytest.raises(ValueError, match="another capture-many writes"):
        Manifest(path, {"quality": "fast"})
    with pytest.raises(ValueError, match=r'other settings \(\{"quality": "fast"\}\)'):
        Manifest(path, {"quality": "best"})
    for damaged in (b"\x00\xff\n", b"[]\n", b'{"name": "a"}\n'):
        path.write_bytes(path.read_bytes().splitlines(keepends=True)[0] + damaged)
        with pytest.raises(ValueError, match="line 2 is damaged"):
            Manifest(path, {"quality": "fast"})


def test_a_manifest_of_version_1_is_continued(tmp_path: Path) -> None:
    path = tmp_path / "manifest.jsonl"
    former = [
        {"format": "selfmocap-manifest", "version": 1, "settings": {"a": 1, "export": ["bvh"]}},
        {"name": "a", "state": "done", "stages": {"observe": 1.0, "clean": 2.0, "whole": 3.0}},
        {"name": "b", "state": "failed", "source": "b.mp4", "error": "damaged"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in former))
    with Manifest(path, {"a": 1, "formats": ["bvh"]}) as manifest:
        assert manifest.failures["b"].attempts == 1
        manifest.add({"name": "b", "state": "done"})
        _, done, *_ = manifest.lines()
    assert done["stages"] == {"observe": 1.0, "postprocess": 2.0, "total": 3.0}
    assert [line["name"] for line in lines(tmp_path)] == ["a", "b", "b"]
    with pytest.raises(ValueError, match="other settings"):
        Manifest(path, {"a": 2})
    path.write_text(json.dumps(former[0] | {"version": 99}) + "\n")
    with pytest.raises(ValueError, match="version 1 or 2"):
        Manifest(path, {"a": 1})


# ---- the schedule ---------------------------------------------------------------------------------------------


def test_broken_jobs_are_given_up_and_the_others_done(tmp_path: Path) -> None:
    clips = [Pause(f"clip-{number}", broken=number % 10 == 3) for number in range(40)]
    pool = LocalPool(tmp_path)
    tally = run(clips, pool, tmp_path)
    assert tally.done == 36
    assert tally.failed == {f"clip-{number}" for number in (3, 13, 23, 33)}
    assert results(tmp_path).keys() == {clip.name for clip in clips} - tally.failed
    assert {pool.begun[name] for name in tally.failed} == {MAX_ATTEMPTS}
    failed = [line for line in lines(tmp_path) if line["state"] == "failed"]
    assert all(line["error"] == f"/videos/{line['name']}.mp4: a damaged video" for line in failed)

    again = LocalPool(tmp_path)
    tally = run(clips, again, tmp_path)
    assert (tally.done, tally.done_before, len(tally.failed)) == (0, 36, 4)
    assert not again.begun

    mended = [Pause(clip.name) for clip in clips]
    with Manifest(tmp_path / "manifest.jsonl", {}) as manifest:
        manifest.failures.clear()
        assert (
            run_all(mended, LocalPool(tmp_path), FolderOutput(tmp_path), manifest, lambda *_: None).done == 4
        )
    with Manifest(tmp_path / "manifest.jsonl", {}) as manifest:
        assert not manifest.failures


def test_jobs_are_found_only_when_a_worker_is_free(tmp_path: Path) -> None:
    found, pool = Counter[str](), LocalPool(tmp_path, workers=4)

    def jobs_found() -> Iterator[Pause]:
        for number in range(100):
            found[f"clip-{number}"] += 1
            assert len(pool.given) < 4
            assert found.total() - pool.begun.total() == 1
            yield Pause(f"clip-{number}")

    run(jobs_found(), pool, tmp_path)
    assert found == pool.begun
    assert len(results(tmp_path)) == 100


def test_a_video_in_two_sources_is_captured_once(tmp_path: Path) -> None:
    pool = LocalPool(tmp_path)
    clips = [Pause(f"clip-{number % 10}") for number in range(30)] + [Pause("clip-0")] * 5
    assert run(clips, pool, tmp_path).done == 10
    assert set(pool.begun.values()) == {1}


class Killed(BaseException):
    """Ends a driver in the middle."""


@pytest.mark.parametrize("step", range(14))
def test_a_driver_killed_between_any_two_steps_is_resumed(tmp_path: Path, step: int) -> None:
    """Kill a driver at its n-th change of a file; the next driver leaves every job done once."""
    clips = [Pause(f"clip-{number}") for number in range(3)]
    done = 0

    def counted(change):  # noqa: ANN001, ANN202
        def changed(*args, **kwargs):  # noqa: ANN002, ANN003, ANN202
            nonlocal done
            done += 1
            if done > step:
                raise Killed
            return change(*args, **kwargs)

        return changed

    with (
        patch.object(Path, "replace", counted(Path.replace)),
        patch.object(Path, "unlink", counted(Path.unlink)),
        patch.object(Manifest, "_write", counted(Manifest._write)),
        patch.object(os, "fsync", lambda file: None),
        pytest.raises(Killed),
    ):
        run(clips, LocalPool(tmp_path), tmp_path)
    run(clips, LocalPool(tmp_path), tmp_path)
    assert results(tmp_path).keys() == {clip.name for clip in clips}
    states = Counter((line["name"], line["state"]) for line in lines(tmp_path))
    assert states == {(clip.name, "done"): 1 for clip in clips}
    assert not [path for path in (tmp_path / WORK).iterdir() if path.suffix in (".done", "")]


def test_one_process_at_a_time_works_on_a_job(tmp_path: Path) -> None:
    (tmp_path / WORK).mkdir()
    with (
        patch.object(scratch, "_LOCK_TIMEOUT", 0.3),
        scratch.locked(tmp_path / WORK / "clip.lock"),
        pytest.raises(OSError, match="clip is locked by another process"),
    ):
        run_job(Pause("clip"), tmp_path, lambda *_: None)
    run_job(Pause("clip"), tmp_path, lambda *_: None)
    assert (tmp_path / WORK / "clip.done").is_file()


def test_what_a_killed_worker_downloaded_is_deleted(tmp_path: Path) -> None:
    files(tmp_path, ".work/download-x1/video.mp4")
    run([Pause("clip")], LocalPool(tmp_path), tmp_path)
    assert not [*(tmp_path / WORK).iterdir()]
    assert (tmp_path / "clip").is_dir()


def test_recovery_of_an_empty_folder_does_nothing(tmp_path: Path) -> None:
    (tmp_path / WORK).mkdir()
    with Manifest(tmp_path / "manifest.jsonl", {}) as manifest:
        output = FolderOutput(tmp_path)
        output.recover(manifest)
        assert run_all([], LocalPool(tmp_path), output, manifest, lambda *_: None) == Tally(all_found=True)


class FullDisk(Pause):
    """A job on a machine whose disk is full."""

    def make(self, path: Path, out: Path, progress: ProgressCallback) -> dict[str, Any]:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_ends_the_batch_and_is_no_failure_of_a_clip(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="no space is left in .*run the command again to resume"):
        run([FullDisk("clip")], LocalPool(tmp_path), tmp_path)
    assert lines(tmp_path) == []
    assert run([Pause("clip")], LocalPool(tmp_path), tmp_path).done == 1
