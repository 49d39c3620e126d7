"""Results in a bucket of an S3 server on this machine, which fails as such servers do."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from selfmocap.pipeline.distributed import bucket as bucket_module
from selfmocap.pipeline.distributed import bucket_output as output_module
from selfmocap.pipeline.distributed.bucket import Bucket, OutputError
from selfmocap.pipeline.distributed.bucket_output import bucket_output
from selfmocap.pipeline.distributed.index import BatchIndex
from selfmocap.pipeline.distributed.manifest import Manifest
from selfmocap.pipeline.distributed.schedule import Tally, run_all
from tests.helpers.bulk_jobs import Pause
from tests.helpers.object_store import FailingStore, serve
from tests.pipeline.distributed.test_jobs import Killed, LocalPool

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address() -> Iterator[tuple[FailingStore, str]]:
    store = FailingStore()
    with serve(store) as address:
        yield store, address


@pytest.fixture
def store(
    address: tuple[FailingStore, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[FailingStore]:
    """The server, with an empty bucket `clips`; clients try once, wait shortly, and find dead drivers at once."""
    variables = {
        "ENDPOINT_URL": address[1],
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "s",
        "MAX_ATTEMPTS": "1",
    }
    for name, value in {**variables, "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr(bucket_module, "_WAITS", (0.01,) * 4)
    monkeypatch.setattr(output_module, "_LOST_SECONDS", 0.2)
    monkeypatch.setattr(output_module, "_PUBLISH_SECONDS", 0.0)
    bucket_module._file_system.cache_clear()
    system, _ = bucket_module._file_system("s3://clips/run")
    if system.exists("clips"):
        system.rm("clips", recursive=True)
    system.mkdir("clips")
    yield address[0]
    address[0].fault = lambda method, path: None


def place(tmp_path: Path, url: str = "s3://clips/run") -> Bucket:
    return Bucket(url, tmp_path / "scratch")


def run(bucket: Bucket, jobs: list[Pause], retry: bool = False) -> Tally:
    with bucket_output(bucket) as output, Manifest(output.folder / "manifest.jsonl", {}) as manifest:
        output.recover(manifest)
        if retry:
            manifest.failures.clear()
        with BatchIndex(output.folder, manifest.lines()) as index:
            manifest.on_line = index.add

            def show(*_: object) -> None:
                index.flush()
                output.publish()

            tally = run_all(jobs, LocalPool(bucket, workers=2), output, manifest, show)
        output.publish(at_once=True)
    return tally


def manifest_lines(bucket: Bucket) -> list[dict]:
    parts = [bucket.read(name) for name in bucket.names("manifest")]
    return [json.loads(line) for part in parts for line in part.splitlines()][1:]


def results(bucket: Bucket) -> dict[str, str]:
    return {
        name.split("/")[0]: bucket.read(name).decode()
        for name in bucket.find("")
        if name.endswith("/result.txt")
    }


def test_jobs_are_done_once_and_go_on(store: FailingStore, tmp_path: Path) -> None:
    bucket, jobs = place(tmp_path), [Pause(f"job-{n}", broken=n == 3) for n in range(4)]
    tally = run(bucket, jobs)
    assert (tally.done, tally.failed) == (3, {"job-3"})
    parts = {name: bucket.read(name) for name in bucket.names("manifest")}
    tally = run(bucket, [*jobs, Pause("job-4")])
    assert (tally.done, tally.done_before, tally.failed) == (1, 3, {"job-3"})
    assert parts.items() < {name: bucket.read(name) for name in bucket.names("manifest")}.items()
    assert run(bucket, [Pause("job-3")], retry=True).done == 1
    assert results(bucket) == {f"job-{n}": f"job-{n}" for n in range(5)}
    done = [line["name"] for line in manifest_lines(bucket) if line["state"] == "done"]
    assert sorted(done) == [f"job-{n}" for n in range(5)]
    assert bucket.names(".work") == []
    assert b"job-4" in bucket.read("index/rows-0001.js") and b"job-4" in bucket.read("index.csv")
    assert b"index/rows-" in bucket.read("index.html")
    assert not [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]
    for name in bucket.find("job-0"):
        bucket.delete(name)
    assert run(bucket, jobs).done == 1


def test_a_failing_store_is_asked_again(store: FailingStore, tmp_path: Path) -> None:
    requests = 0

    def fault(method: str, path: str) -> str | None:
        nonlocal requests
        requests += 1
        return {0: "slow", 3: "cut"}.get(requests % 10) if method == "PUT" else None

    store.fault = fault
    bucket = place(tmp_path)
    assert run(bucket, [Pause(f"job-{n}") for n in range(3)]).done == 3
    assert store.faults["slow"] and store.faults["cut"]
    assert results(bucket) == {f"job-{n}": f"job-{n}" for n in range(3)}


def test_a_place_that_cannot_be_written_is_named(store: FailingStore, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"s3://absent/run: expected a bucket, found none.*create it"):
        run(place(tmp_path, "s3://absent/run"), [])
    store.fault = lambda method, path: "denied" if method == "PUT" and "job" in path else None
    with pytest.raises(OutputError, match=r"no rights to write job-0/result.txt .*check the credentials"):
        run(place(tmp_path), [Pause("job-0")])
    assert results(place(tmp_path)) == {}
    store.fault = lambda method, path: None
    assert run(place(tmp_path), [Pause("job-0")]).done == 1
    with pytest.raises(ValueError, match="unsupported URL"):
        run(place(tmp_path, "s3://clips::file:///etc"), [])


def test_a_second_driver_is_told(store: FailingStore, tmp_path: Path) -> None:
    bucket = place(tmp_path)
    with (
        patch.object(output_module, "_BEAT_SECONDS", 0.05),
        patch.object(output_module, "_LOST_SECONDS", 30.0),
        bucket_output(bucket),
        pytest.raises(ValueError, match=r"s3://clips/run is in use: process \d+ on .* writes to it"),
        bucket_output(bucket),
    ):
        pass
    with bucket_output(bucket) as first, Manifest(first.folder / "manifest.jsonl", {}):
        bucket.create("manifest/00000001.jsonl", b"of another driver\n")
        with pytest.raises(OutputError, match="in use: another capture-many"):
            first.publish(at_once=True)


@pytest.mark.parametrize("moment", [2, 4, 7, 9, 11, 14, 17, 19, 22, 25])
def test_a_driver_killed_at_a_request_is_resumed(store: FailingStore, tmp_path: Path, moment: int) -> None:
    """From some request on, nothing leaves the killed process; the next leaves every job done once."""
    bucket, jobs, count, request = place(tmp_path), [Pause(f"job-{n}") for n in range(3)], 0, Bucket._request
    main = threading.current_thread()

    def counted(self: Bucket, *args: object) -> object:
        nonlocal count
        count += threading.current_thread() is main
        if count > moment:
            raise Killed
        return request(self, *args)  # type: ignore[arg-type]

    with patch.object(Bucket, "_request", counted), pytest.raises(Killed):
        run(bucket, jobs)
    for name in {line["name"] for line in manifest_lines(bucket) if bucket.names("manifest")}:
        assert results(bucket)[name] == name
    run(bucket, jobs)
    assert results(bucket) == {job.name: job.name for job in jobs}
    assert sorted(line["name"] for line in manifest_lines(bucket)) == [job.name for job in jobs]
    assert bucket.names(".work") == []
