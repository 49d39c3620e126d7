"""Clips drawn at random from shards of pseudo-labels, in any order: what it costs, and that memory does not grow.

    python benchmarks/shards.py [--shards 100] [--clips 32] [--draws 400] [--json]

Shards of captures of 300 frames are written; from a tenth of them and from all of them, clips of 30 frames are read,
each time in a process of its own, after where they are has been looked up and kept (index). Times are of its processor.
The peer is webdataset (`pip install webdataset`), which reads the same shards from end to end, a clip a sample: it
cannot go on in the middle, nor draw in any order. Goals: a clip in less than 10 ms (a step of 8 clips takes more than a
second), and the memory that a tenth needs.
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
from selfmocap.datasets.pseudo_labels import FRAMES, write_shard
from selfmocap.geometry.camera import Camera
from selfmocap.tracking.observations import Observations
from selfmocap.training.temporal_data import tracks_at

LONG, CLIP = 300, 30


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
        result = measured(arguments, Path(folder))
    for name, value in result.items():
        print(f"{name:>30} {value}")
    if arguments.json:
        print(json.dumps(result))
    return 0


def measured(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    capture(folder / "captures" / "clip")
    one = folder / "one.tar"
    write_shard(one, [folder / "captures" / "clip"], lambda *_: None)
    result: dict[str, Any] = {"shards": arguments.shards, "clips_a_shard": arguments.clips}
    for name, count in (("tenth", arguments.shards // 10), ("all", arguments.shards)):
        shards = folder / name
        shards.mkdir()
        for number in range(count):
            repeated(one, shards / f"{number:04d}.tar", arguments.clips)
        result |= {f"{name}_{key}": value for key, value in alone(drawn, shards, arguments.draws).items()}
    result["mb_a_clip_of_ten_seconds"] = round(one.stat().st_size / 1e6, 3)
    result["webdataset_ms_a_clip"] = alone(in_order, folder / "all", arguments.draws)
    result["ratio_to_webdataset"] = round(result["all_ms_a_clip"] / result["webdataset_ms_a_clip"], 2)
    result["memory_ratio"] = round(result["all_peak_mb"] / result["tenth_peak_mb"], 3)
    return result


def alone(measure: Any, *arguments: Any) -> Any:
    """What a function gives in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as one:
        return one.submit(measure, *arguments).result()


def drawn(shards: Path, draws: int) -> dict[str, float]:
    torch.set_num_threads(1)
    began = time.process_time()
    tracks_at(shards, CLIP, 1.0, shards / "index", lambda *_: None)
    indexed = time.process_time()
    tracks = tracks_at(shards, CLIP, 1.0, shards / "index", lambda *_: None)
    again = time.process_time()
    for frame in np.random.default_rng(0).integers(tracks.frames, size=draws).tolist():
        track = tracks.holding(frame)
        begin = frame % (len(track) - CLIP)
        assert len(track[begin : begin + CLIP]) == CLIP
    end = time.process_time()
    return {
        "ms_a_clip": round(1000 * (end - again) / draws, 3),
        "index_ms_a_sample": round(1000 * (indexed - began) / (tracks.frames / FRAMES), 3),
        "begin_again_ms_a_shard": round(1000 * (again - indexed) / len(tracks.piles), 3),
        "peak_mb": peak_mb(),
    }


def in_order(shards: Path, draws: int) -> float:
    """Milliseconds a clip."""
    from webdataset.compat import WebDataset

    urls = [str(path) for path in sorted(shards.glob("*.tar"))]
    samples = iter(WebDataset(urls, shardshuffle=False))
    next(samples)
    began = time.process_time()
    for sample in itertools.islice(samples, draws):
        with np.load(io.BytesIO(sample["observations.npz"]), allow_pickle=False) as arrays:
            names = ("frame_index", "frame_times", "boxes", "keypoints", "keypoint_confidence")
            [torch.from_numpy(arrays[name][:CLIP]) for name in names]
    return round(1000 * (time.process_time() - began) / draws, 3)


def peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024, 1)


# ---- shards ---------------------------------------------------------------------------------------------------


def capture(folder: Path) -> None:
    """Somebody who turns before a camera, as a capture leaves it."""
    (folder / "person-1").mkdir(parents=True)
    random = torch.Generator().manual_seed(0)
    index = torch.arange(LONG)
    across = (torch.arange(128) - 64)[None, None, :] / (20 + 10 * torch.rand(LONG, 1, 1, generator=random))
    masks = (across**2 + ((torch.arange(128) - 64)[None, :, None] / 55) ** 2) < 1
    Observations(
        index, index.double() / 30, (1280, 720), torch.tensor([640.0, 360.0, 300.0]).repeat(LONG, 1), "coco-23",
        torch.rand(LONG, 23, 2, generator=random) * 500 + 100, 0.5 + 0.5 * torch.rand(LONG, 23, generator=random),
        masks=masks, mask_certain=~masks,
    ).save(folder / "person-1" / "observations.npz")  # fmt: skip
    turning = torch.eye(3).repeat(LONG, 24, 1, 1)
    parameters = BodyParameters(torch.zeros(16), turning, torch.rand(LONG, 3, generator=random))
    camera = Camera.looking_along_z(1000.0, 1280, 720)
    motion = Motion.from_parameters(Body.load(), parameters, camera, (1280, 720), index.double() / 30)
    motion.save(folder / "person-1" / "motion.npz")


def repeated(shard: Path, path: Path, times: int) -> None:
    """A shard with the samples of another one so many times, as of other captures."""
    with tarfile.open(shard) as source, tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for number, member in itertools.product(range(times), source.getmembers()):
            data = source.extractfile(member)
            renamed = tarfile.TarInfo(member.name.replace("clip", f"clip{number}"))
            renamed.size = member.size
            tar.addfile(renamed, data)


if __name__ == "__main__":
    sys.exit(main())
