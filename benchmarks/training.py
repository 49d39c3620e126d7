"""Making and learning synthetic people: images a second of the steps that `selfmocap train` takes, and the share of the
time in which the network waits for images, for the networks that there are, in float32 and in bfloat16, in one process.

    python benchmarks/training.py [--json] [--steps 4] [--batch 64] [--workers 0] [--motions DIR] [--backgrounds DIR]
        [--networks NAME ...]

On a GPU also its utilisation (NVML, the mean over the steps). Without workers images are made in turn with learning:
the share is that of making them.
"""

import argparse
import json
import platform
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from selfmocap import Body
from selfmocap.models.frame import FrameNetwork
from selfmocap.training.frame_data import Material, gather
from selfmocap.training.frame_recipe import PRESETS, people
from selfmocap.training.train_frame import (
    ByName,
    batches,
    fabric_here,
    optimizer_of,
    supervised_body,
    train_step,
)


def measured(
    name: str,
    precision: torch.dtype,
    material: Material,
    body: Body,
    options: argparse.Namespace,
    fabric: Fabric,
) -> dict[str, Any]:
    """Over `steps` steps, after some that are not counted: in them kernels are compiled and workers start."""
    begins = 2 if fabric.device.type == "cpu" else 20
    config = replace(PRESETS[name], steps=begins + options.steps, batch=options.batch)
    network = FrameNetwork(config.network).to(fabric.device)
    model, optimizer = fabric.setup(ByName(network), optimizer_of(config, network))
    surface = supervised_body(body, config.network.keypoint_set).to(fabric.device)
    stream = batches(config, people(config.network, material, body), 0, options.workers, fabric)
    waited, learned, busy = 0.0, 0.0, []
    for step in range(config.steps):
        begin = time.perf_counter()
        inputs, truth = next(stream)
        made = time.perf_counter()
        train_step(config, model, optimizer, inputs, truth, surface, precision, fabric)
        if step >= begins:
            waited, learned = waited + made - begin, learned + time.perf_counter() - made
            if fabric.device.type == "cuda":
                busy.append(torch.cuda.utilization())
    images = options.steps * options.batch
    row = {
        "images_per_second": round(images / (waited + learned), 1),
        "learning_images_per_second": round(images / learned, 1),
        "share_waiting": round(waited / (waited + learned), 3),
    }
    return row | ({"gpu_utilisation_percent": round(sum(busy) / len(busy))} if busy else {})


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--motions", type=Path)
    parser.add_argument("--backgrounds", type=Path)
    parser.add_argument("--networks", nargs="*", choices=sorted(PRESETS), default=sorted(PRESETS))
    options = parser.parse_args()
    body, fabric = Body.load(), fabric_here()
    material = gather(body, options.motions, options.backgrounds, ())
    rows = {}
    for name in options.networks:
        for precision in (torch.float32, torch.bfloat16):
            key = f"{name}, {str(precision).removeprefix('torch.')}"
            rows[key] = measured(name, precision, material, body, options, fabric)
            if not options.json:
                print(key, rows[key])
    gpu = fabric.device.type == "cuda"
    result = {
        "device": torch.cuda.get_device_name() if gpu else f"CPU {platform.machine()}",
        "threads": torch.get_num_threads(),
        "workers": options.workers,
        "images_per_second": {key: row["images_per_second"] for key, row in rows.items()},
        "rows": rows,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
