"""Measure the cost of the temporal network: frames a second of its temporal part (features to motion, windows included)
beside those of the frame networks that it can be built on, interleaved in one process.

    python benchmarks/dynamics.py [--json] [--frames 600] [--rounds 5] [--weights TEMPORAL]
"""

import argparse
import json
import platform
import time
from collections.abc import Callable

import torch

from selfmocap.models.checkpoints import load_network
from selfmocap.models.config import NetworkConfig
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.models.temporal import TemporalConfig, TemporalNetwork
from selfmocap.models.temporal_inference import extract_features, load_temporal, predict_from_features


def inputs_of(frames: int, rgb: bool) -> FrameInputs:
    """Return inputs of a person with random keypoints near the middle of an image."""
    return FrameInputs(
        crops=torch.randint(0, 256, (frames, 128, 128, 3), dtype=torch.uint8) if rgb else None,
        keypoints=torch.rand(frames, 23, 2) * 200 + 100,
        confidence=torch.rand(frames, 23),
        boxes=torch.tensor([[200.0, 210.0, 110.0]]).expand(frames, 3),
        focal=torch.full((frames, 2), 600.0),
        center=torch.tensor([[319.5, 239.5]]).expand(frames, 2),
    )


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights")
    options = parser.parse_args()
    frame = load_network()[0]
    temporal = (
        load_temporal(options.weights)[0]
        if options.weights
        else TemporalNetwork(frame.config, TemporalConfig()).eval()
    )
    with_images = FrameNetwork(NetworkConfig()).eval()
    without_images, with_crops = inputs_of(options.frames, False), inputs_of(options.frames, True)
    features = extract_features(temporal, without_images)
    follows = torch.ones(options.frames - 1, dtype=torch.bool)

    def by_frame(network: FrameNetwork, inputs: FrameInputs) -> Callable[[], object]:
        return lambda: [network(inputs[i : i + 256]) for i in range(0, options.frames, 256)]

    runs: dict[str, Callable[[], object]] = {
        "temporal_part": lambda: predict_from_features(temporal, features, follows),
        "frame_network_keypoints": by_frame(temporal.frame, without_images),
        "frame_network_with_images": by_frame(with_images, with_crops),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(options.rounds + 1):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            if number:
                seconds[name].append(time.perf_counter() - begin)
    best = {name: min(taken) for name, taken in seconds.items()}
    result = {
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "frames_per_second": {name: round(options.frames / taken) for name, taken in best.items()},
        "cost_beside_keypoints": round(best["temporal_part"] / best["frame_network_keypoints"], 3),
        "cost_beside_images": round(best["temporal_part"] / best["frame_network_with_images"], 3),
    }
    if not options.json:
        for name, rate in result["frames_per_second"].items():
            print(f"{name:28} {rate} frames/s")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
