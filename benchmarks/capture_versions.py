"""Compare captures by this version with those by a former one: both capture the same clips in turn, each in a process
of its own, in the same run.

    git worktree add --detach FORMER 8d92655
    python benchmarks/capture_versions.py FORMER [CLIP ...] [--frames 90] [--quality balanced fast] [--json]

Prints for each clip and quality, former version first: frames a second (start of the program included), core seconds,
peak memory, and, as means over people, the held-out error (px of the 128 px crop) and the jitter (m/s^3). Core seconds
depend less on what else the machine does.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import fmean
from typing import Any

from frontend import CLIPS, excerpt

PROGRAM = """
import json, resource, sys, time
began = time.perf_counter()
import selfmocap
selfmocap.capture(sys.argv[1], sys.argv[2], selfmocap.CaptureConfig(quality=sys.argv[3]))
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps([time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024**2]))
"""
COLUMNS = ("frames_per_second", "core_seconds", "peak_memory_gb", "heldout_px", "jitter", "people")


def captured(source: Path, video: Path, out: Path, quality: str) -> dict[str, float]:
    """Capture a video by the version whose package lies in `source`, and return the COLUMNS."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, video, out, quality],
        env=os.environ | {"PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, core_seconds, memory = json.loads(done.stdout.splitlines()[-1])
    report: dict[str, Any] = json.loads((out / "report.json").read_text(encoding="utf-8"))
    after = [person["after"] for person in report["people"]]
    errors = [px for one in after if (px := one["heldout_reprojection_px"]) is not None]
    jitter = fmean(one["jitter"] for one in after)
    values = (
        report["video"]["frames"] / seconds, core_seconds, memory, fmean(errors or [float("nan")]), jitter, len(after)
    )  # fmt: skip
    return dict(zip(COLUMNS, (round(value, 3) for value in values), strict=True))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("former", type=Path, help="checkout of the former version")
    clips = [CLIPS / "sam2_dog.mp4", CLIPS / "lab_two_men.mp4"]
    parser.add_argument("clips", nargs="*", type=Path, default=clips)
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument(
        "--quality", nargs="+", choices=("fast", "balanced", "best"), default=["balanced", "fast"]
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    missing = [
        path for path in (arguments.former / "src" / "selfmocap", *arguments.clips) if not path.exists()
    ]
    if missing:
        print(f"{missing[0]} does not exist; give the checkout of a former version, and videos")
        return 2
    sources = {"former": arguments.former / "src", "present": Path(__file__).parents[1] / "src"}
    results = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in arguments.clips:
            video = Path(folder) / f"{clip.stem}.mp4"
            excerpt(clip, video, arguments.frames, 1)
            for quality in arguments.quality:
                measured = {
                    version: captured(
                        source.resolve(), video, Path(folder) / f"{clip.stem}-{quality}-{version}", quality
                    )
                    for version, source in sources.items()
                }
                former, present = measured.values()
                ratio = round(former["core_seconds"] / present["core_seconds"], 2)
                results.append({"clip": clip.stem, "quality": quality, **measured, "times_as_fast": ratio})
                print(f"{clip.stem}, {quality}: {ratio} times as fast in core seconds", flush=True)
                for name in COLUMNS:
                    print(f"    {name}: {former[name]} {present[name]}", flush=True)
    if arguments.json:
        print(json.dumps(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
