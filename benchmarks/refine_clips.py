"""Measure `selfmocap refine` on videos without truth: the shipped frame network's own answer, before and after it.

python benchmarks/refine_clips.py VIDEO... [--seconds 2.5] [--out out/refine]
"""

import argparse
import json
from pathlib import Path

from selfmocap.io.input_options import InputOptions
from selfmocap.pipeline.config import RefineConfig
from selfmocap.pipeline.infer_folder import infer_folder
from selfmocap.pipeline.refine import refine_result
from selfmocap.tracking.config import ObserveConfig
from selfmocap.tracking.observe import observe

SCORES = {
    "heldout_reprojection_px": "held out, px", "keypoint_px": "keypoints, px", "jitter": "jitter, m/s^3",
    "foot_slide_mm": "foot slide, mm a frame",
}  # fmt: skip


def scores_of(video: Path, seconds: float, out: Path) -> dict[str, tuple[float | None, float | None]]:
    """Refine the network's answer for the most visible person at the beginning of a video; return the scores before
    and after."""
    read = InputOptions(end=seconds)
    seen = observe(video, out / "observed", ObserveConfig("all", quality="fast", input=read))
    (motion,) = infer_folder(seen[0], out / "network")
    refine_result(motion, video, out, RefineConfig(quality="fast", input=read))
    (person,) = json.loads((out / "report.json").read_text())["people"]
    return {name: (person["before"][name], person["after"][name]) for name in SCORES}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", type=Path, nargs="+")
    parser.add_argument("--seconds", type=float, default=2.5)
    parser.add_argument("--out", type=Path, default=Path("out/refine"))
    options = parser.parse_args()
    print("| video |", " | ".join(SCORES.values()), "|\n|---" + "|---" * len(SCORES) + "|")
    for video in options.videos:
        person = scores_of(video, options.seconds, options.out / video.stem)
        cells = [", ".join("-" if x is None else f"{x:.3g}" for x in pair) for pair in person.values()]
        print(f"| {video.stem} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
