"""Measure the training of frame networks: images per second, and the fraction of the time spent waiting for images.

Every preset runs the steps of `selfmocap train` in float32 and in bfloat16, in one process.

    python benchmarks/training.py [--json] [--steps 4] [--batch 64] [--workers 0] [--motions DIR] [--backgrounds DIR]
        [--networks NAME ...]

On a GPU also its utilisation (NVML, mean over the steps). Without workers images are made between the steps, and the
waiting time is the time to make them.
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
from selfmocap.training.frame_data import FrameTrainingData, load_training_data
from selfmocap.training.frame_recipe import FRAME_PRESETS, frame_source
from selfmocap.training.loop import launch_fabric
from selfmocap.training.train_frame import (
    TensorModule,
    build_optimizer,
    loss_body,
    step_batches,
    train_step,
)


def measure(
    name: str,
    precision: torch.dtype,
    data: FrameTrainingData,
    body: Body,
    options: argparse.Namespace,
    fabric: Fabric,
) -> dict[str, Any]:
    """Measure `steps` steps, after warm-up steps in which kernels are compiled and workers start."""
    warmup = 2 if fabric.device.type == "cpu" else 20
    config = replace(FRAME_PRESETS[name], steps=warmup + options.steps, batch=options.batch)
    network = FrameNetwork(config.network).to(fabric.device)
    model, optimizer = fabric.setup(TensorModule(network), build_optimizer(config, network))
    posed_body = loss_body(body, config.network.keypoint_set).to(fabric.device)
    stream = step_batches(config, frame_source(config.network, data, body), 0, options.workers, fabric)
    waiting, training, utilisation = 0.0, 0.0, []
    for step in range(config.steps):
        start = time.perf_counter()
        inputs, truth = next(stream)
        received = time.perf_counter()
        train_step(config, model, optimizer, inputs, truth, posed_body, precision, fabric)
        if step >= warmup:
            waiting += received - start
            training += time.perf_counter() - received
            if fabric.device.type == "cuda":
                utilisation.append(torch.cuda.utilization())
    images = options.steps * options.batch
    row = {
        "images_per_second": round(images / (waiting + training), 1),
        "training_images_per_second": round(images / training, 1),
        "waiting_fraction": round(waiting / (waiting + training), 3),
    }
    return row | (
        {"gpu_utilisation_percent": round(sum(utilisation) / len(utilisation))} if utilisation else {}
    )


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
    parser.add_argument("--networks", nargs="*", choices=sorted(FRAME_PRESETS), default=sorted(FRAME_PRESETS))
    options = parser.parse_args()
    body, fabric = Body.load(), launch_fabric()
    data = load_training_data(body, options.motions, options.backgrounds, ())
    rows = {}
    # Other processors emulate bfloat16, which takes minutes a step.
    has_bfloat16 = fabric.device.type == "cuda" or "AVX512" in torch.backends.cpu.get_cpu_capability()
    precisions = (torch.float32, torch.bfloat16) if has_bfloat16 else (torch.float32,)
    for name in options.networks:
        for precision in precisions:
            key = f"{name}, {str(precision).removeprefix('torch.')}"
            rows[key] = measure(name, precision, data, body, options, fabric)
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
