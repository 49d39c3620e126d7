"""Benchmark tracking on a 720p clip with one person: speed of each stage and in total, peak memory for the clip and for
ten repetitions of it, and the error of the optical flow.

    python benchmarks/frontend.py [VIDEO] [--frames 120] [--json]

Goals: 12 frames/s in total on two cores; at most 1.5 GB, the same within 10 % for the longer clip; flow with a lower
photometric error than zero flow, on every clip of the folder of the default video. The peer in the same run is
MediaPipe's `solutions.pose`: whole frames, one person, keypoints only.
"""

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from selfmocap.io.video import open_video
from selfmocap.tracking.detectors.window import Window, crop_window
from selfmocap.tracking.optical_flow import WORK_SIZE, crop_flow, dis_flow

CLIPS = Path(__file__).parents[2] / "shared" / "data" / "clips"
OBSERVE = (
    "import json, sys; from selfmocap.tracking.observe import observe; observe(sys.argv[1], sys.argv[2]); "
    "print(open(sys.argv[2] + '/observations.json').read())"
)


def excerpt(source: Path, path: Path, frames: int, times: int, every: int = 1) -> None:
    """Write every `every`-th of the first frames of a video, `times` times over, at 30 / `every` frames/s."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(
            "libx264" if "libx264" in av.codecs_available else "mpeg4", rate=Fraction(30, every)
        )
        stream.width, stream.height = open_video(source).size
        stream.pix_fmt, index = "yuv420p", 0
        for _ in range(times):
            for frame in open_video(source).frames():
                if frame.index == frames:
                    break
                if frame.index % every:
                    continue
                encoded = av.VideoFrame.from_ndarray(frame.image, format="rgb24")
                encoded.pts, encoded.time_base = index, Fraction(every, 30)
                container.mux(stream.encode(encoded))
                index += 1
        container.mux(stream.encode())


def observed(path: Path, out: Path) -> tuple[dict[str, Any], float]:
    """Run in a process of its own; return the report, and frames/s without the start of the program."""
    result = subprocess.run(
        [sys.executable, "-c", OBSERVE, path, out], capture_output=True, text=True, check=True
    )
    report = json.loads(result.stdout)
    stages = {stage["name"]: stage for stage in report["stages"]}
    return report, report["video"]["frames"] / stages["total"]["seconds"]


def peer_frames_per_second(path: Path) -> float | None:
    """Measure MediaPipe's own pose solution, frames/s; None if MediaPipe is not installed."""
    if importlib.util.find_spec("mediapipe") is None:
        return None
    from mediapipe.python.solutions.pose import Pose

    with Pose(model_complexity=1) as pose:
        began = time.perf_counter()
        frames = [pose.process(frame.image) for frame in open_video(path).frames()]
    return len(frames) / (time.perf_counter() - began)


def photometric_errors(path: Path, pairs: int = 12) -> tuple[float, float]:
    """Measure the photometric errors with flow and with zero flow, grey levels, on frames spread over a clip."""
    errors, before, video = [], None, open_video(path)
    step = max((video.declared_frames or 100) // pairs, 2)
    window = Window(video.size[0] / 2, video.size[1] / 2, 0.8 * min(video.size))
    for frame in video.frames():
        crop = crop_window(frame.image, window, WORK_SIZE) if frame.index % step < 2 else None
        if frame.index % step == 1 and before is not None and crop is not None:
            found = crop_flow(before, crop, dis_flow)
            errors.append((found.error, found.zero_flow_error))
        before = crop
    return tuple(np.mean(errors, axis=0).tolist())


def end_point_errors(path: Path) -> dict[int, float]:
    """Measure the mean end-point error of flow by the length of a known motion, both in px of the 128 px crop."""
    import cv2

    video = open_video(path)
    image = crop_window(
        next(video.frames()).image,
        Window(video.size[0] / 2, video.size[1] / 2, 0.8 * min(video.size)),
        WORK_SIZE,
    )
    rng, errors = np.random.default_rng(0), {}
    grid = np.stack(np.meshgrid(np.arange(WORK_SIZE), np.arange(WORK_SIZE)), axis=-1).astype(np.float32)
    for length in (1, 4, 8, 16):
        coarse = cv2.resize(
            rng.normal(size=(4, 4, 2)).astype(np.float32),
            (WORK_SIZE, WORK_SIZE),
            interpolation=cv2.INTER_CUBIC,
        )
        truth = coarse / np.abs(np.linalg.norm(coarse, axis=-1)).mean() * length * WORK_SIZE / 128
        before = cv2.remap(
            image, grid[..., 0] + truth[..., 0], grid[..., 1] + truth[..., 1], cv2.INTER_LINEAR
        )
        found = crop_flow(before, image, dis_flow).flow
        small = cv2.resize(truth, (128, 128), interpolation=cv2.INTER_AREA) * (128 / WORK_SIZE)
        errors[length] = float(np.linalg.norm(found - small, axis=-1)[8:-8, 8:-8].mean())
    return errors


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("video", nargs="?", type=Path, default=CLIPS / "sam2_dog.mp4")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.video.is_file():
        print(f"{arguments.video} does not exist; give a video")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        short, long = Path(folder) / "once.mp4", Path(folder) / "ten.mp4"
        excerpt(arguments.video, short, arguments.frames, times=1)
        excerpt(arguments.video, long, arguments.frames, times=10)
        peer = peer_frames_per_second(short)
        report, speed = observed(short, Path(folder) / "short")
        longer, longer_speed = observed(long, Path(folder) / "long")
    clips = [arguments.video]
    if arguments.video.parent == CLIPS:
        clips = sorted(path for path in CLIPS.glob("*.*") if path.suffix in (".mp4", ".mkv", ".gif"))
    photometric = {clip.name: photometric_errors(clip) for clip in clips}
    result = {
        "frames_per_second": round(speed, 2),
        "frames_per_second_ten_times": round(longer_speed, 2),
        "peer_keypoints_only_frames_per_second": None if peer is None else round(peer, 2),
        "peak_memory_gb": round(report["peak_memory_gb"], 3),
        "peak_memory_gb_ten_times": round(longer["peak_memory_gb"], 3),
        "memory_ratio": round(longer["peak_memory_gb"] / report["peak_memory_gb"], 3),
        "stages": {stage["name"]: stage["frames_per_second"] for stage in report["stages"]},
        "photometric_error_with_and_without_flow": {
            name: [round(e, 2), round(s, 2)] for name, (e, s) in photometric.items()
        },
        "flow_end_point_error_px": {
            str(k): round(v, 3) for k, v in end_point_errors(arguments.video).items()
        },
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    if arguments.json:
        print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
