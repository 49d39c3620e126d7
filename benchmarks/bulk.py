"""Measure batches of videos: the overhead of scheduler and manifest, and the results of runs that are killed.

    python benchmarks/bulk.py simulated [--workers 200] [--jobs 2000] [--seconds 10] [--json]
    python benchmarks/bulk.py captures [--video FILE] [--clips 12] [--frames 12] [--json]
    python benchmarks/bulk.py throughput [--video FILE] [--clips 200] [--frames 12] [--json]
    python benchmarks/bulk.py clip [--video FILE] [--quality fast] [--json]

`simulated`: Ray workers that only wait (50 in a process), scheduled by capture-many with its manifest on disk. The peer
is Ray's `ActorPool`, which keeps no record. All clips take the same time, so that all workers end at once: the worst
case. Goal: less than 1 s of worker time per clip (2 % of a clip of ten seconds), and a driver whose memory does not
grow with the number of clips.

`captures`: clips cut from a video, and one broken video in ten. They are captured in this process, then by 1 worker, by
2, and by 2 of which one is killed (signal 9), and then the driver, before it is run again. Goal: each clip once, byte
by byte equal to the single capture, and exit code 1 for the broken ones.

`throughput`: clips cut from a video, captured by 2 workers into a folder, and into a bucket of an S3 server on this
machine: clips a minute, the peak of the scratch space, and the bytes of a clip for each value of --keep.

`clip`: one video, captured in this process after a short one has loaded the program: processor time, bytes for each
value of --keep, pseudo-labels.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)  # For Ray's workers.
PER_PROCESS = 50


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benchmarks = {f.__name__: f for f in (simulated, captures, throughput, clip)}
    parser.add_argument("what", choices=benchmarks)
    parser.add_argument("--workers", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--video", type=Path, default=ROOT.parent / "shared/data/clips/sam2_dog.mp4")
    parser.add_argument("--clips", type=int)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--quality", default="fast")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    arguments.clips = arguments.clips or (200 if arguments.what == "throughput" else 12)
    try:
        import ray  # noqa: F401
    except ImportError:
        print("Ray is not installed: pip install 'selfmocap[bulk]'", file=sys.stderr)
        return 2
    if arguments.what != "simulated" and not arguments.video.is_file():
        print(f"{arguments.video} does not exist: give a --video with a person in it", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        result = benchmarks[arguments.what](arguments, Path(folder))
    for name, value in result.items():
        print(f"{name:>40} {value}")
    if arguments.json:
        print(json.dumps(result))
    return 0


# ---- simulated workers ----------------------------------------------------------------------------------------


class Waiter:
    def wait(self, seconds: float) -> None:
        time.sleep(seconds)


def simulated(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import ray
    from ray.util import ActorPool
    from tests.helpers.bulk_jobs import Pause, run

    from selfmocap.pipeline.distributed import cluster

    def workers(kind: type) -> list[Any]:
        groups = {cluster._STATUS: PER_PROCESS}
        actor = ray.remote(num_cpus=0, max_concurrency=PER_PROCESS, concurrency_groups=groups)(kind)
        processes = [actor.remote() for _ in range(-(-arguments.workers // PER_PROCESS))]
        return [processes[number % len(processes)] for number in range(arguments.workers)]

    def jobs() -> Iterator[Pause]:
        for number in range(arguments.jobs):
            if number % (arguments.jobs // 10) == 0:
                memory.append(rss_mb())
            yield Pause(f"clip-{number}", arguments.seconds)

    ray.init("local", num_cpus=1, include_dashboard=False, object_store_memory=128 << 20, log_to_driver=False)
    ray_workers, waiters = workers(cluster._Worker), workers(Waiter)
    ray.get(
        [
            *(worker.identity.remote() for worker in ray_workers),
            *(waiter.wait.remote(0.0) for waiter in waiters),
        ]
    )
    memory: list[float] = []
    began, cpu = time.perf_counter(), time.process_time()
    pool = cluster.RayPool(ray, iter(ray_workers).__next__, arguments.workers, folder)
    tally = run(jobs(), pool, folder)
    wall, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert tally.done == arguments.jobs
    began = time.perf_counter()
    waits = [arguments.seconds] * arguments.jobs
    for _ in ActorPool(waiters).map_unordered(lambda waiter, seconds: waiter.wait.remote(seconds), waits):
        pass
    peer_wall = time.perf_counter() - began
    ray.shutdown()
    ideal = arguments.jobs * arguments.seconds / arguments.workers
    return {
        "workers": arguments.workers,
        "clips": arguments.jobs,
        "seconds_a_clip": arguments.seconds,
        "wall_s": round(wall, 2),
        "actor_pool_wall_s": round(peer_wall, 2),
        "ideal_wall_s": ideal,
        "ratio_to_actor_pool": round(wall / peer_wall, 4),
        "overhead_a_clip_worker_s": round((wall - ideal) * arguments.workers / arguments.jobs, 4),
        "driver_cpu_a_clip_ms": round(1000 * cpu / arguments.jobs, 3),
        "driver_rss_mb_each_tenth": memory,
    }


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


# ---- real captures --------------------------------------------------------------------------------------------


def captures(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    os.environ["OMP_NUM_THREADS"] = "1"  # As Ray's workers: the last bits of a sum depend on it.
    videos = folder / "videos"
    good = cut(arguments.video, videos, arguments.clips, arguments.frames)
    broken = [videos / f"broken-{number}.mp4" for number in range(-(-arguments.clips // 10))]
    for path in broken:
        path.write_bytes(good[0].read_bytes()[:400])
    began = time.perf_counter()
    expected = singles(good, folder / "single")
    seconds = {"one_after_the_other_s": round(time.perf_counter() - began, 1)}
    found: dict[str, Any] = {}
    for workers in (1, 2):
        out = folder / f"workers-{workers}"
        code = driver(videos, out, workers).wait()
        seconds[f"{workers}_workers_s"] = capture_seconds(out)
        found[f"{workers}_workers"] = batch_scores(out, expected, broken, code)
    out = folder / "killed"
    killed(videos, out)
    found["killed_and_run_again"] = batch_scores(out, expected, broken, driver(videos, out, 2).wait())
    return {"clips": len(good), "broken": len(broken), "load": os.getloadavg()[0], **seconds, **found}


def cut(video: Path, folder: Path, clips: int, frames: int) -> list[Path]:
    """Cut clips, 160 px high, each four frames after the one before."""
    import numpy as np
    from PIL import Image
    from tests.helpers.videos import write_video

    from selfmocap.io.video import open_video

    folder.mkdir()
    opened = open_video(video)
    starts = [4 * n for n in range(clips)]
    small: dict[int, np.ndarray] = {}
    size = (opened.size[0] * 160 // opened.size[1] // 2 * 2, 160)
    for frame in islice(opened.frames(), starts[-1] + frames):
        small[frame.index] = np.asarray(Image.fromarray(frame.image).resize(size))
    return [
        write_video(
            folder / f"clip-{n}.mp4", [small[i] for i in range(start, start + frames)], codec="libx264"
        )
        for n, start in enumerate(starts)
    ]


def singles(videos: list[Path], folder: Path) -> dict[str, Any]:
    """Capture each video; return the results by their names in capture-many."""
    import torch
    from tests.helpers.stub_capture import results

    from selfmocap import CaptureConfig, capture
    from selfmocap.pipeline.distributed.sources import VideoSource

    torch.set_num_threads(1)
    found = {}
    for video in videos:
        out = folder / video.stem
        capture(video.resolve(), out, CaptureConfig(quality="fast", formats=("bvh",)))
        found[VideoSource(str(video.resolve())).name] = results(out)
    return found


def driver(videos: Path, out: Path | str, workers: int, *more: str) -> subprocess.Popen:
    program = "from selfmocap.cli.main import main; main()"
    command = [sys.executable, "-c", program, "capture-many", str(videos), "--out", str(out)]
    options = ["--workers", str(workers), "--quality", "fast", "--formats", "bvh"]
    return subprocess.Popen([*command, *options, *more], cwd=ROOT)


def killed(videos: Path, out: Path) -> None:
    """Start a run, kill a worker in the middle of a clip, and after some more clips the driver."""
    running = driver(videos, out, 2)
    done = wait_for(running, out, 2)
    worker = int(done[-1]["worker"].rpartition(":")[2])
    os.kill(worker, signal.SIGKILL)
    wait_for(running, out, 5)
    running.kill()
    running.wait()


def wait_for(running: subprocess.Popen, out: Path, count: int) -> list[dict[str, Any]]:
    while len(done := [line for line in lines(out) if line["state"] == "done"]) < count:
        if running.poll() is not None:
            raise RuntimeError(f"the run ended after {len(done)} clips: give more --clips")
        time.sleep(0.1)
    return done


def lines(out: Path) -> list[dict[str, Any]]:
    path = out / "manifest.jsonl"
    whole = path.read_text().rpartition("\n")[0].splitlines() if path.is_file() else []
    return [json.loads(line) for line in whole[1:]]


def capture_seconds(out: Path) -> float:
    """Return the seconds from the start of the first capture to the end of the last."""
    done = [line for line in lines(out) if line["state"] != "failed"]
    return round(max(d["ended"] for d in done) - min(d["ended"] - d["seconds"] for d in done), 1)


def batch_scores(out: Path, expected: dict[str, Any], broken: list[Path], code: int) -> dict[str, Any]:
    from tests.helpers.stub_capture import results

    done = [line["name"] for line in lines(out) if line["state"] == "done"]
    failed = {line["source"]: line["error"] for line in lines(out) if line["state"] == "failed"}
    return {
        "done_once": sorted(done) == sorted(expected),
        "equal_to_single": sum(
            results(out / name) == expected_result for name, expected_result in expected.items()
        ),
        "broken_named": sorted(Path(source).name for source in failed if Path(source) in broken),
        "worker_deaths": sum("worker crashed" in error for error in failed.values()),
        "exit_code": code,
    }


# ---- throughput -----------------------------------------------------------------------------------------------


def throughput(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from tests.helpers.object_store import FailingStore, serve

    videos, out, scratch = folder / "videos", folder / "out", folder / "scratch"
    cut(arguments.video, videos, arguments.clips, arguments.frames)
    found: dict[str, Any] = {"clips": arguments.clips, "frames": arguments.frames}
    peak = peak_bytes(driver(videos, out, 2), out / ".work")
    found |= {"folder_clips_a_minute": clips_a_minute(lines(out)), "folder_peak_scratch_mb": peak}
    found["kept_kb_a_clip"] = kept_kb(out, arguments.clips)
    with serve(FailingStore()) as address:
        values = {"ENDPOINT_URL": address, "ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s"}
        os.environ |= {f"AWS_{name}": value for name, value in values.items()}
        os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
        import s3fs

        system = s3fs.S3FileSystem()
        system.mkdir("clips")
        scratch.mkdir()
        peak = peak_bytes(driver(videos, "s3://clips/run", 2, "--scratch", str(scratch)), scratch)
        parts = [system.cat_file(name) for name in sorted(system.ls("clips/run/manifest", detail=False))]
    done = [json.loads(line) for part in parts for line in part.splitlines()][1:]
    return found | {"bucket_clips_a_minute": clips_a_minute(done), "bucket_peak_scratch_mb": peak}


def clip(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    import torch

    from selfmocap import CaptureConfig, capture
    from selfmocap.datasets.pseudo_labels import write_shard

    torch.set_num_threads(1)
    config, out = CaptureConfig(quality=arguments.quality, overlay="all"), folder / "clip-0"
    capture(cut(arguments.video, folder / "short", 1, 12)[0], folder / "short", config)
    began = time.process_time()
    capture(arguments.video, out, config)
    cpu = round(time.process_time() - began, 1)
    stages = {
        stage["name"]: stage["seconds"] for stage in json.loads((out / "report.json").read_text())["stages"]
    }
    shutil.rmtree(out / ".capture")
    samples = write_shard(folder / "shard.tar", [out], lambda *_: None)
    labels = {"samples": samples, "mb": round((folder / "shard.tar").stat().st_size / 1e6, 2)}
    return {"cpu_s": cpu, "wall_s_of_stages": stages, "kept_kb": kept_kb(folder, 1), "pseudo_labels": labels}


def peak_bytes(running: subprocess.Popen, folder: Path) -> float:
    """Wait for a run; return the most that a folder held, MB."""
    peak = 0
    while running.poll() is None:
        peak = max(peak, size(folder))
        time.sleep(0.2)
    return round(peak / 1e6, 1)


def size(folder: Path) -> int:
    total = 0
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += (Path(root) / name).stat().st_size
    return total


def clips_a_minute(found: list[dict[str, Any]]) -> float:
    done = [line for line in found if line["state"] == "done"]
    seconds = max(d["ended"] for d in done) - min(d["ended"] - d["seconds"] for d in done)
    return round(60 * len(done) / seconds, 1)


def kept_kb(out: Path, clips: int) -> dict[str, float]:
    """Return for each kind of files what a clip with that kind alone takes, and all together, kB."""
    from selfmocap.pipeline.distributed.jobs import _KIND_OF_FILE

    kinds: Counter[str] = Counter()
    for path in (path for folder in out.glob("clip-*") for path in folder.rglob("*")):
        if path.is_file():
            kinds[_KIND_OF_FILE.get(path.name, "exports")] += path.stat().st_size
    alone = {kind: count + kinds["record"] for kind, count in kinds.items() if kind != "record"}
    return {kind: round(count / clips / 1e3, 1) for kind, count in (alone | {"all": kinds.total()}).items()}


if __name__ == "__main__":
    sys.exit(main())
