"""Measure drawing random clips from shards of pseudo-labels: time per clip, and memory against the number of shards.

    python benchmarks/shards.py [--shards 100] [--clips 32] [--draws 400] [--json]

Shards of captures of 300 frames are written and indexed. Clips of 30 frames are read from a tenth of them and from all,
each in its own process; times are processor times. The peer is webdataset (`pip install webdataset`), which reads the
same shards from end to end, one clip a sample: it cannot resume in the middle, nor draw in random order. Goals: less
than 10 ms a clip (a step of 8 clips takes more than a second), and no more memory than for a tenth.
"""

import argparse
import io
import itertools
import json
import multiprocessing
import sys
import tarfile
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.pseudo_labels import write_shard
from selfmocap.datasets.shards import FRAMES_PER_SAMPLE
from selfmocap.geometry.camera import Camera
from selfmocap.tracking.observations import Observations
from selfmocap.training.video_tracks import load_tracks

CAPTURE_FRAMES, CLIP_FRAMES = 300, 30


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shards", type=int, default=100)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--draws", type=int, default=400)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        import webdataset  # noqa: F401
    except ImportError:
        print("webdataset is not installed: pip install webdataset", file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(arguments, Path(folder))
    for name, value in result.items():
        print(f"{name:>30} {value}")
    if arguments.json:
        print(json.dumps(result))
    return 0


def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    capture(folder / "captures" / "clip")
    shard = folder / "one.tar"
    write_shard(shard, [folder / "captures" / "clip"], lambda *_: None)
    result: dict[str, Any] = {"shards": arguments.shards, "clips_a_shard": arguments.clips}
    for name, count in (("tenth", arguments.shards // 10), ("all", arguments.shards)):
        shards = folder / name
        shards.mkdir()
        for number in range(count):
            repeated(shard, shards / f"{number:04d}.tar", arguments.clips)
        result |= {
            f"{name}_{key}": value
            for key, value in in_own_process(random_clips, shards, arguments.draws).items()
        }
    result["mb_a_clip_of_ten_seconds"] = round(shard.stat().st_size / 1e6, 3)
    result["webdataset_ms_a_clip"] = in_own_process(sequential_clips, folder / "all", arguments.draws)
    result["ratio_to_webdataset"] = round(result["all_ms_a_clip"] / result["webdataset_ms_a_clip"], 2)
    result["memory_ratio"] = round(result["all_peak_mb"] / result["tenth_peak_mb"], 3)
    return result


def in_own_process(function: Any, *arguments: Any) -> Any:
    """Call a function in its own process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        return executor.submit(function, *arguments).result()


def random_clips(shards: Path, draws: int) -> dict[str, float]:
    torch.set_num_threads(1)
    began = time.process_time()
    load_tracks(shards, CLIP_FRAMES, 1.0, shards / "index", lambda *_: None)
    indexed = time.process_time()
    tracks = load_tracks(shards, CLIP_FRAMES, 1.0, shards / "index", lambda *_: None)
    again = time.process_time()
    for frame in np.random.default_rng(0).integers(tracks.num_frames, size=draws).tolist():
        track = tracks.track_at(frame)
        begin = frame % (len(track) - CLIP_FRAMES)
        assert len(track[begin : begin + CLIP_FRAMES]) == CLIP_FRAMES
    end = time.process_time()
    return {
        "ms_a_clip": round(1000 * (end - again) / draws, 3),
        "index_ms_a_sample": round(1000 * (indexed - began) / (tracks.num_frames / FRAMES_PER_SAMPLE), 3),
        "reopen_ms_a_shard": round(1000 * (again - indexed) / len(tracks.groups), 3),
        "peak_mb": peak_mb(),
    }


def sequential_clips(shards: Path, draws: int) -> float:
    """Return milliseconds per clip."""
    from webdataset.compat import WebDataset

    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = iter(WebDataset(urls, shardshuffle=False))
    next(samples)
    began = time.process_time()
    for sample in itertools.islice(samples, draws):
        with np.load(io.BytesIO(sample["observations.npz"]), allow_pickle=False) as arrays:
            names = ("frame_index", "frame_times", "boxes", "keypoints", "keypoint_confidence")
            [torch.from_numpy(arrays[name][:CLIP_FRAMES]) for name in names]
    return round(1000 * (time.process_time() - began) / draws, 3)


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)


# ---- shards ---------------------------------------------------------------------------------------------------


def capture(folder: Path) -> None:
    """Write a capture of a person who turns in front of a camera."""
    (folder / "person-1").mkdir(parents=True)
    random = torch.Generator().manual_seed(0)
    index = torch.arange(CAPTURE_FRAMES)
    across = (torch.arange(128) - 64)[None, None, :] / (
        20 + 10 * torch.rand(CAPTURE_FRAMES, 1, 1, generator=random)
    )
    masks = (across**2 + ((torch.arange(128) - 64)[None, :, None] / 55) ** 2) < 1
    Observations(
        frame_index=index,
        frame_times=index.double() / 30,
        image_size=(1280, 720),
        boxes=torch.tensor([640.0, 360.0, 300.0]).repeat(CAPTURE_FRAMES, 1),
        keypoint_set="coco-23",
        keypoints=torch.rand(CAPTURE_FRAMES, 23, 2, generator=random) * 500 + 100,
        keypoint_confidence=0.5 + 0.5 * torch.rand(CAPTURE_FRAMES, 23, generator=random),
        masks=masks,
        mask_certain=~masks,
    ).save(folder / "person-1" / "observations.npz")
    turning = torch.eye(3).repeat(CAPTURE_FRAMES, 24, 1, 1)
    parameters = BodyParameters(torch.zeros(16), turning, torch.rand(CAPTURE_FRAMES, 3, generator=random))
    camera = Camera.looking_along_z(1000.0, 1280, 720)
    motion = Motion.from_parameters(Body.load(), parameters, camera, (1280, 720), index.double() / 30)
    motion.save(folder / "person-1" / "motion.npz")


def repeated(shard: Path, path: Path, times: int) -> None:
    """Write a shard with the samples of another one, repeated under other names of captures."""
    with tarfile.open(shard) as source, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, member in itertools.product(range(times), source.getmembers()):
            data = source.extractfile(member)
            renamed = tarfile.TarInfo(member.name.replace("clip", f"clip{number}"))
            renamed.size = member.size
            tar.addfile(renamed, data)


if __name__ == "__main__":
    sys.exit(main())
