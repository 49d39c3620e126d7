"""Making and learning synthetic people: images a second of the whole, and the share of time that making them takes, for
the networks that there are, in float32 and in bfloat16, in one process.

    python benchmarks/training.py [--json] [--steps 4] [--motions DIR] [--backgrounds DIR]
"""

import argparse
import json
import platform
import time
from dataclasses import asdict
from pathlib import Path

import torch

from selfmocap import Body
from selfmocap.network.config import NetworkConfig
from selfmocap.network.frame import FrameNetwork
from selfmocap.network.supervision import SupervisedWeights, supervised_losses
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.train import PART
from selfmocap.training_data import SyntheticFrames, gather

NETWORKS = {
    "paper": NetworkConfig.paper(),
    "default": NetworkConfig(),
    "keypoints": NetworkConfig(trunk="none", rgb=False),
    "pictures": NetworkConfig(trunk="none", rgb=False, corrector=True),
}


def measured(
    config: NetworkConfig,
    precision: torch.dtype,
    sample: SyntheticFrames,
    body: Body,
    steps: int,
    device: str,
) -> dict[str, float]:
    """Images a second and the share of time in generation, over `steps` steps after one that is not counted."""
    network = FrameNetwork(config).to(device)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    weights = asdict(SupervisedWeights())
    making = learning = 0.0
    for step in range(steps + 1):
        begin = time.perf_counter()
        inputs, truth = sample(step)
        made = time.perf_counter()
        inputs, truth = inputs.to(device), truth.to(device)
        with torch.autocast(device, precision, enabled=precision != torch.float32):
            prediction = network(inputs)
        losses = supervised_losses(body, config.keypoint_set, prediction, inputs, truth)
        optimizer.zero_grad()
        torch.stack([weights[name] * loss.mean() for name, loss in losses.items()]).sum().backward()
        optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        if step:
            making, learning = making + made - begin, learning + time.perf_counter() - made
    return {
        "images_per_second": round(steps * PART / (making + learning), 1),
        "learning_images_per_second": round(steps * PART / learning, 1),
        "share_making": round(making / (making + learning), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--motions", type=Path)
    parser.add_argument("--backgrounds", type=Path)
    options = parser.parse_args()
    body, device = Body.load(), "cuda" if torch.cuda.is_available() else "cpu"
    material = gather(body, options.motions, options.backgrounds, ())
    small = body.restricted(body.regressors["coco-23"].vertices).to(device)
    rows = {}
    for name, config in NETWORKS.items():
        sample = SyntheticFrames(
            material.training,
            material.backgrounds,
            body,
            SyntheticConfig(clips=PART, rgb=bool(config.images)),
        )
        for precision in (torch.float32, torch.bfloat16):
            key = f"{name}, {str(precision).removeprefix('torch.')}"
            rows[key] = measured(config, precision, sample, small, options.steps, device)
            if not options.json:
                print(key, rows[key])
    result = {
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU {platform.machine()}",
        "threads": torch.get_num_threads(),
        "images_per_second": {key: row["images_per_second"] for key, row in rows.items()},
        "rows": rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
