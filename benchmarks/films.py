"""Measure a long film that workers share.

    python benchmarks/films.py [--clips FILE ...] [--length 180] [--rate 4] [--json]

A film with eight hard cuts, 180 px high, is joined from clips. It is captured in this process (the peer), then by 1
worker and by 2, which share its parts. Goal: 2 workers are faster than 1, with the results of the single capture.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bulk

CLIPS = bulk.ROOT.parent / "shared/data/clips"
NAMES = ("sam2_dog", "lab_two_men", "ibm_baseball", "sam2_coffee", "torchcodec_nasa")
PIECES = 9
KEPT = "motion,exports,observations,overlay,report"
"""What a capture without other settings writes."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=Path, nargs="+", default=[CLIPS / f"{name}.mp4" for name in NAMES])
    parser.add_argument("--length", type=float, default=180.0)
    parser.add_argument("--rate", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if absent := [str(clip) for clip in arguments.clips if not clip.is_file()]:
        print(f"{', '.join(absent)}: expected videos of people, found none; give --clips", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        result = compare(arguments, Path(folder))
    for name, value in result.items():
        print(f"{name:>20} {value}")
    if arguments.json:
        print(json.dumps(result))
    return 0


def compare(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    from tests.helpers.stub_capture import results

    os.environ["OMP_NUM_THREADS"] = "1"
    videos = folder / "videos"
    video = joined(arguments.clips, videos, arguments.length, arguments.rate)
    began = time.perf_counter()
    expected = bulk.singles([video], folder / "single")
    found: dict[str, Any] = {"single_s": round(time.perf_counter() - began, 1)}
    ((name, whole),) = expected.items()
    for workers in (1, 2):
        out = folder / f"workers-{workers}"
        code = bulk.driver(videos, out, workers, "--keep", KEPT).wait()
        found[f"{workers}_workers_s"] = bulk.capture_seconds(out)
        done = [line for line in bulk.lines(out) if line["state"] != "failed"]
        content = results(out / name)
        found[f"{workers}_workers"] = {
            "exit_code": code,
            "jobs": len(done),
            "processes": len({line["worker"] for line in done}),
            "film_job_s": done[-1]["seconds"],
            "equal_report": content["report"] == whole["report"],
            "other_files": sorted(
                file for file, digest in whole["content"].items() if content["content"].get(file) != digest
            ),
        }
    report = whole["report"]
    shots, people = len(report["shots"]), len(report["people"])
    return {"frames": report["video"]["frames"], "shots": shots, "people": people} | found


def joined(clips: list[Path], folder: Path, length: float, rate: int) -> Path:
    """Join pieces of clips, 180 px high, with hard cuts between them."""
    import numpy as np
    from PIL import Image
    from tests.helpers.videos import write_video

    from selfmocap.io.video import open_video

    count, images = round(length * rate / PIECES), []
    for piece in range(PIECES):
        video = open_video(clips[piece % len(clips)])
        rows = np.linspace(0, video.declared_frames - 1, count).round().astype(int).tolist()
        small = {
            frame.index: np.asarray(Image.fromarray(frame.image).resize((320, 180)))
            for frame in video.frames()
            if frame.index in rows
        }
        images += [small[row] for row in rows]
    folder.mkdir()
    times = [index / rate for index in range(len(images))]
    return write_video(folder / "film.mp4", images, times, codec="libx264")


if __name__ == "__main__":
    sys.exit(main())
