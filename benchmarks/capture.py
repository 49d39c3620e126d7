"""Measure a capture: frames a second at `balanced` and `fast` and of each stage, peak memory for a clip and for the
same clip ten times over, and jitter beside MediaPipe's own world landmarks on the same clip.

    python benchmarks/capture.py [VIDEO] [--seconds 60] [--times 10] [--every 1] [--quality balanced|fast] [--json]

Goals, on two cores and a 720p clip of one person: 3 frames a second at `balanced`, 10 at `fast`; the same peak memory
within 10 % for the longer clip (whose first part is at least as long as the sample for adaptation). `--every 3`
takes every third frame of the clip, at a third of its frames a second: minutes of video in less time.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from frontend import CLIPS, excerpt

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.io.video import open_video

CAPTURE = (
    "import json, sys, time; from pathlib import Path; import selfmocap; "
    "from selfmocap.io.memory import peak_memory_gb; began = time.perf_counter(); "
    "selfmocap.capture(sys.argv[1], sys.argv[2], selfmocap.CaptureConfig(people='largest', quality=sys.argv[3])); "
    "print(json.dumps([time.perf_counter() - began, peak_memory_gb()]))"
)
SHARED = ("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip",
          "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle")  # fmt: skip


def captured(video: Path, out: Path, quality: str) -> dict[str, Any]:
    """Capture in a new process; return the report with frames a second (start included) and the peak memory."""
    done = subprocess.run(
        [sys.executable, "-c", CAPTURE, video, out, quality], capture_output=True, text=True, check=True
    )
    seconds, memory = json.loads(done.stdout.splitlines()[-1])
    report = json.loads((out / "report.json").read_text())
    return report | {"frames_per_second": report["video"]["frames"] / seconds, "peak_memory_gb": memory}


def stages(report: dict[str, Any]) -> dict[str, float]:
    """Return the frames a second of each stage."""
    return {stage["name"]: stage["frames_per_second"] for stage in report["stages"]}


def world_landmarks(video: Path) -> tuple[np.ndarray, float] | None:
    """Return MediaPipe's 3D points of SHARED in each frame, metres from the hips, and the frame rate; None if MediaPipe
    is not installed."""
    if importlib.util.find_spec("mediapipe") is None:
        return None
    from mediapipe.python.solutions.pose import Pose, PoseLandmark

    points, opened = [], open_video(video)
    with Pose(model_complexity=1) as pose:
        for frame in opened.frames():
            found = pose.process(frame.image).pose_world_landmarks
            places = None if found is None else found.landmark
            points.append([[np.nan] * 3 if places is None else
                           [getattr(places[PoseLandmark[name.upper()]], axis) for axis in "xyz"]
                           for name in SHARED])  # fmt: skip
    return np.array(points), opened.fps


def jitter(points: np.ndarray, fps: float) -> float:
    """Compute the mean length of the third derivative, m/s^3, relative to the middle of the hips."""
    hips = [SHARED.index("left_hip"), SHARED.index("right_hip")]
    relative = points - points[:, hips].mean(1, keepdims=True)
    return float(np.nanmean(np.linalg.norm(np.diff(relative, n=3, axis=0), axis=-1)) * fps**3)


def steadiness(video: Path, report: dict[str, Any], motion: Motion) -> dict[str, float]:
    """Compare the motion before and after post-processing with MediaPipe's points, which are relative to the hips and
    have no ground on which feet could slide."""
    (person,) = report["people"]
    own = motion.keypoints_cam[:, [DEFAULT_KEYPOINTS.index(name) for name in SHARED]].numpy()
    peer = world_landmarks(video)
    return {
        "jitter_before": person["before"]["jitter"],
        "jitter_after": person["after"]["jitter"],
        "jitter_after_from_hips": round(jitter(own, motion.fps), 2),
        "jitter_mediapipe_from_hips": None if peer is None else round(jitter(*peer), 2),
        "foot_slide_mm_before": person["before"]["foot_slide_mm"],
        "foot_slide_mm_after": person["after"]["foot_slide_mm"],
    }


def measured(
    video: Path, folder: Path, frames: int, times: int, every: int, long_quality: str
) -> dict[str, Any]:
    """Measure the short clip at both qualities, the long one at one."""
    short, long = folder / "once.mp4", folder / "long.mp4"
    length = open_video(video).declared_frames or frames
    repeats = max(round(frames / length), 1)
    excerpt(video, short, min(frames, length), repeats, every)
    excerpt(video, long, min(frames, length), repeats * times, every)
    balanced = captured(short, folder / "balanced", "balanced")
    fast = captured(short, folder / "fast", "fast")
    same = balanced if long_quality == "balanced" else fast
    longer = captured(long, folder / "longer", long_quality)
    motion = Motion.load(folder / "balanced" / "person-1" / "motion.npz")
    return {
        "balanced_frames_per_second": round(balanced["frames_per_second"], 2),
        "fast_frames_per_second": round(fast["frames_per_second"], 2),
        "peak_memory_gb": round(same["peak_memory_gb"], 3),
        "peak_memory_gb_longer": round(longer["peak_memory_gb"], 3),
        "memory_ratio": round(longer["peak_memory_gb"] / same["peak_memory_gb"], 3),
        "frames": same["video"]["frames"],
        "frames_longer": longer["video"]["frames"],
        "frames_per_second_longer": round(longer["frames_per_second"], 2),
        "balanced_stages": stages(balanced),
        "fast_stages": stages(fast),
        **steadiness(short, balanced, motion),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, default=CLIPS / "sam2_dog.mp4")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument(
        "--quality", choices=("balanced", "fast"), default="balanced", help="of the long clip"
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.video.is_file():
        print(f"{arguments.video} does not exist; give the path of a video")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        frames = round(arguments.seconds * open_video(arguments.video).fps)
        result = measured(
            arguments.video, Path(folder), frames, arguments.times, arguments.every, arguments.quality
        )
    for name, value in result.items():
        print(f"{name}: {value}")
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
