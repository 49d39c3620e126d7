"""Benchmark training frames that are not rendered: their speed, and whether transferred errors act like real ones.

    python benchmarks/lifting.py --motions DIR [--backgrounds DIR] --held-out SUBJECT ... [--frames 640]
        [--examples 8192] [--weights FILE] [--cache FILE]

Prints frames a second of one thread, rendered and refined by the corrector, and with transferred errors. Then the
errors (mm) of the network on the same held-out people: refined from their images, and with errors transferred from
rendered people of the other subjects.
"""

import argparse
import itertools
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameInputs
from selfmocap.training.frame_data import PooledFrames, load_training_data
from selfmocap.training.frame_recipe import frame_source, validation_frames
from selfmocap.training.lifting_data import LiftingFrames
from selfmocap.training.posed_people import sample_sequences
from selfmocap.training.refined_examples import ErrorTransfer, RefinedExamples, refine_examples
from selfmocap.training.train_frame import validate_frame_network

BATCH, STEPS = 512, 12
AUGMENTED = 100
"""Motions made from the recordings."""

Frames = list[tuple[FrameInputs, BodyParameters]]


def frames_a_second(draw: Callable[[], object], count: int) -> float:
    """Measure the CPU time of drawing `count` frames."""
    start = time.process_time()
    draw()
    return count / (time.process_time() - start)


def transferred(frames: Frames, examples: RefinedExamples, body: Body, keypoint_set: str) -> Frames:
    """Replace the keypoints and depths of frames by true ones with the errors of examples."""
    rng, transfer = np.random.default_rng(0), ErrorTransfer.of(examples, body, keypoint_set)
    result = []
    for inputs, truth in frames:
        points = body.keypoints(body.pose(truth).vertices, keypoint_set)
        seen = transfer(rng, points, truth.p_world_root, inputs.boxes, inputs.focal, inputs.center)
        result.append((seen, truth))
    return result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("motions", "backgrounds", "weights", "cache"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--held-out", nargs="*", default=())
    parser.add_argument("--frames", type=int, default=640)
    parser.add_argument("--examples", type=int, default=8192)
    options = parser.parse_args()
    torch.set_num_threads(1)
    body, (network, _) = Body.load(), load_network(options.weights)
    data = load_training_data(
        body, options.motions, options.backgrounds, options.held_out, AUGMENTED, options.cache
    )
    rendered = frame_source(network.config, data, body)
    assert isinstance(rendered, PooledFrames), "the network has no corrector"
    device, parts = torch.device("cpu"), options.examples // rendered.config.clips
    found: list[RefinedExamples] = []
    slow = frames_a_second(
        lambda: found.append(refine_examples(network, rendered.distinct(parts, 0))),
        parts * rendered.config.clips,
    )
    poses = sample_sequences(data.training, body, 4096, 1, 0)
    batches = LiftingFrames(poses, found[0], body, rendered.config).batches(
        range(STEPS + 1), BATCH, 0, 0, device
    )
    next(batches)
    fast = frames_a_second(lambda: list(itertools.islice(batches, STEPS)), STEPS * BATCH)
    frames = validation_frames(data, body, rgb=True, frames=options.frames)
    with torch.no_grad():
        refined = [(x.with_refined(network.refine_keypoints(x)), truth) for x, truth in frames]
    proxy = body.keypoint_proxy(network.config.keypoint_set)
    seen = transferred(refined, found[0], proxy, network.config.keypoint_set)
    result = {
        "frames_a_second": {"rendered and refined": round(slow), "transferred": round(fast)},
        "errors": {
            "refined": validate_frame_network(network, body, refined),
            "transferred": validate_frame_network(network, body, seen),
        },
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
