"""Measure the training images per second that the generator makes on two cores, everything included (sampling,
posing, dressing, rendering at 128 x 128 px with 2 x 2 samples, truth, corruption), and how pyrender draws the
same bodies in the same run.

    python benchmarks/synthetic.py [--json] [--seconds 20] [--workers 2] [--motions DIR] [--backgrounds DIR]

pyrender (OSMesa) only draws: one colour, one light, smooth normals, no background; its bodies are posed before the
measurement starts. Processor time is given beside the rates, for machines with other load.
pyrender is optional: pip install pyrender "PyOpenGL>=3.1.9" (--no-deps keeps numpy as it is) and, on Debian, apt
install libosmesa6.

"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("PYOPENGL_PLATFORM", "osmesa")

import torch
from lightning_fabric import Fabric

from selfmocap import Body
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.synthetic import batches, corrupt
from selfmocap.synthetic.backgrounds import load_backgrounds, procedural_backgrounds
from selfmocap.synthetic.batches import SyntheticConfig, sample_batch
from selfmocap.synthetic.motions import from_recording, procedural_motions
from selfmocap.tracking.optical_flow import crop_flow, dis_flow
from selfmocap.training.loop import micro_batches
from selfmocap.training.train_frame import FrameTrainConfig

BATCH = 64


def generation_rate(batches_made: Iterator[batches.TrainingBatch], seconds: float) -> float:
    """Return the images per second, without the start of the workers."""
    next(batches_made)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        count += len(next(batches_made))
    return count / (time.perf_counter() - start)


def stage_times_ms(config: SyntheticConfig, material) -> dict[str, float]:
    """Return the processor time (ms) per image in one process, by stage."""
    spent: dict[str, float] = {}

    def timed(module, name: str) -> None:
        function = getattr(module, name)

        def measured(*arguments, **named):
            start = time.process_time()
            result = function(*arguments, **named)
            spent[name] = spent.get(name, 0.0) + time.process_time() - start
            return result

        setattr(module, name, measured)

    for module, name in ((batches, "sample_scene"), (batches, "render_figures"), (batches, "render_images"),
                         (corrupt, "sample_errors"), (corrupt, "corrupt_masks")):  # fmt: skip
        timed(module, name)
    start = time.process_time()
    for seed in range(8):
        sample_batch(seed, config, *material)
    spent["all"] = time.process_time() - start
    return {name: round(1e3 * seconds / (8 * config.clips), 3) for name, seconds in spent.items()}


def rendered_by_pyrender(body: Body, batch: batches.TrainingBatch) -> Iterator[None]:
    """Render the bodies of a batch one after the other, without end."""
    import pyrender
    import trimesh

    pose = type(body.rest_parameters())(batch.betas, batch.R_parent_joint[:, 0], batch.p_cam_root[:, 0])
    with torch.no_grad():
        vertices = body.pose(pose).vertices.numpy() * np.array([1, -1, -1], np.float32)
    faces, scale = body.faces.numpy(), CROP_SIZE / (2 * batch.boxes[:, 0, 2].numpy())
    renderer = pyrender.OffscreenRenderer(CROP_SIZE, CROP_SIZE)
    index = 0
    while True:
        fx, fy = batch.focal[index].numpy() * scale[index]
        cx, cy = (batch.center[index] - batch.boxes[index, 0, :2]).numpy() * scale[index] + CROP_SIZE / 2
        scene = pyrender.Scene(ambient_light=[0.4] * 3)
        scene.add(pyrender.Mesh.from_trimesh(trimesh.Trimesh(vertices[index], faces, process=False)))
        scene.add(pyrender.IntrinsicsCamera(float(fx), float(fy), float(cx), float(cy)))
        scene.add(pyrender.DirectionalLight(intensity=3.0))
        renderer.render(scene)
        index = (index + 1) % len(vertices)
        yield


def pyrender_rate(body: Body, batch: batches.TrainingBatch, seconds: float) -> tuple[float, float]:
    """Return images per second, and processor time (ms) per image."""
    images = rendered_by_pyrender(body, batch)
    next(images)
    count, start, processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        next(images)
        count += 1
    return count / (time.perf_counter() - start), (time.process_time() - processor) / count * 1e3


def dis_flow_ms(batch: batches.TrainingBatch) -> float:
    """Return the time (ms) of DIS flow in both directions between two crops."""
    pairs = batch.rgb[:16].numpy()
    start = time.perf_counter()
    for first, second in pairs:
        crop_flow(first, second, dis_flow)
    return (time.perf_counter() - start) / len(pairs) * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--motions", type=Path)
    parser.add_argument("--backgrounds", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    body = Body.load()
    motions = procedural_motions(body)
    if options.motions:
        motions = [from_recording(clip, body) for clip in load_motions(options.motions, body)]
    backgrounds = load_backgrounds(options.backgrounds) if options.backgrounds else procedural_backgrounds()
    material = (motions, backgrounds, body)
    config = SyntheticConfig(clips=BATCH)
    sample_batch(0, config, *material)
    try:
        import pyrender  # noqa: F401
    except (ImportError, AttributeError) as error:
        print(
            f"pyrender is skipped ({error}); the docstring of this file says how to install it",
            file=sys.stderr,
        )
        peer = False
    else:
        peer = True
    loop, fabric = FrameTrainConfig(steps=10**5, batch=BATCH), Fabric(accelerator="cpu", devices=1)
    batch = sample_batch(1, SyntheticConfig(clips=32, frames=2), *material)
    rates: list[float] = []
    pyrender_rates: list[tuple[float, float]] = []
    for _ in range(3):
        made = micro_batches(
            lambda seed: sample_batch(seed, config, *material), loop, BATCH, 0, options.workers, fabric
        )
        rates.append(generation_rate(made, options.seconds / 3))
        del made
        if peer:
            pyrender_rates.append(pyrender_rate(body, batch, options.seconds / 6))
    milliseconds = stage_times_ms(config, material)
    result = {
        "images_per_second": round(float(np.median(rates))),
        "runs": [round(value) for value in rates],
        "workers": options.workers,
        "cpu_milliseconds": milliseconds,
        "load_average": os.getloadavg()[0],
        "milliseconds_dis_flow_extra": round(dis_flow_ms(batch), 2),
    }
    if not options.json:
        print(f"{result['images_per_second']} images/s with {options.workers} workers")
    if peer:
        peer_rate, peer_cpu = np.median(np.array(pyrender_rates), axis=0).tolist()
        ratio = round(float(np.median(np.array(rates) / np.array(pyrender_rates)[:, 0])), 1)
        result |= {
            "pyrender_images_per_second": round(peer_rate, 1),
            "ratio_vs_pyrender": ratio,
            "pyrender_cpu_milliseconds": round(peer_cpu, 2),
            "cpu_ratio_vs_pyrender": round(peer_cpu / milliseconds["all"], 1),
        }
        if not options.json:
            print(f"pyrender: {round(peer_rate, 1)} images/s, {ratio} times fewer")
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
