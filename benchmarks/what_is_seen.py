"""What the frame network makes of the parts of what it sees: the errors of `selfmocap validate`, on the same frames,
with the crop, the mask, both, or what it told of depth taken away, and with true keypoints in place of a detector's;
how far keypoints are off before and after it has corrected them, and depths.

    python benchmarks/what_is_seen.py --motions DIR [--backgrounds DIR] --held-out cmu02 cmu60/61 [--frames 2000]
        [--weights FILE]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from selfmocap import Body
from selfmocap.body_model.body import BodyParameters
from selfmocap.geometry.camera import CROP_SIZE, project
from selfmocap.models.checkpoints import load_network
from selfmocap.models.frame import FrameInputs, FrameNetwork
from selfmocap.training.frame_recipe import MaterialChoice, validation_frames
from selfmocap.training.train_frame import validate

Frames = list[tuple[FrameInputs, BodyParameters]]


def corrected(network: FrameNetwork, frames: Frames) -> Frames:
    with torch.no_grad():
        return [(inputs.corrected(network.located(inputs)), truth) for inputs, truth in frames]


def without(frames: Frames, *parts: str) -> Frames:
    return [(replace(inputs, **dict.fromkeys(parts)), truth) for inputs, truth in frames]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name in ("motions", "backgrounds", "weights"):
        parser.add_argument(f"--{name}", type=Path)
    parser.add_argument("--held-out", nargs="*", default=())
    parser.add_argument("--frames", type=int, default=2000)
    options = parser.parse_args()
    body, (network, _) = Body.load(), load_network(options.weights)
    choice = MaterialChoice(options.motions, options.backgrounds, tuple(options.held_out), options.frames)
    found = choice.gathered(body, None, 0, lambda *_: None)
    frames = validation_frames(found, body, rgb=True, frames=options.frames)
    points = [body.keypoints(body.pose(truth).vertices, network.config.keypoint_set) for _, truth in frames]
    pixels = [project(p, i.focal, i.center) for p, (i, _) in zip(points, frames, strict=True)]
    exact = [
        (replace(inputs, keypoints=place, confidence=torch.ones_like(inputs.confidence)), truth)
        for (inputs, truth), place in zip(frames, pixels, strict=True)
    ]
    seen = corrected(network, frames)
    ways = {
        "all": frames,
        "nothing told of depth": without(seen, "depths", "depth_confidence"),
        "no crop": without(frames, "crops"),
        "no mask": without(frames, "masks"),
        "keypoints alone": without(frames, "crops", "masks"),
        "true keypoints, crop and mask": exact,
        "true keypoints alone": without(exact, "crops", "masks"),
    }

    def off_px(some: Frames) -> Tensor:
        return torch.cat([
            (inputs.keypoints - place).norm(dim=-1) * (CROP_SIZE / 2) / inputs.boxes[:, None, 2]
            for (inputs, _), place in zip(some, pixels, strict=True)
        ])  # fmt: skip

    def off_mm() -> Tensor:
        rows = []
        for (inputs, truth), place in zip(seen, points, strict=True):
            metres_a_pixel = truth.p_world_root[:, 2:] / inputs.focal.mean(-1, keepdim=True)
            assert inputs.depths is not None
            told = inputs.depths * metres_a_pixel
            rows.append(1000 * (told - place[..., 2] + truth.p_world_root[:, None, 2]).abs())
        return torch.cat(rows)

    found_at_all = torch.cat([inputs.confidence for inputs, _ in frames]) > 0
    lengths = {
        "keypoints, detected": off_px(frames)[found_at_all],
        "keypoints, corrected": off_px(seen)[found_at_all],
        "keypoints, missed by the detector": off_px(seen)[~found_at_all],
        "true keypoints, corrected": off_px(corrected(network, exact)),
    }
    result = {
        "errors": {name: validate(network, body, some) for name, some in ways.items()},
        "off_px": {name: [float(x.mean()), float(x.median())] for name, x in lengths.items()},
        "depths_off_mm": [float(off_mm().mean()), float(off_mm().median())],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
