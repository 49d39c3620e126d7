"""Ablate the inputs of the frame network.

Prints the errors of `selfmocap validate` on the same frames without the crop, the mask, both, or the estimated depths,
and with true instead of detected keypoints; and the errors of keypoints before and after the network's correction, and
of depths.

    python benchmarks/input_ablation.py --motions DIR [--backgrounds DIR] --held-out cmu02 cmu60/61 [--frames 2000]
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
from selfmocap.training.frame_data import load_training_data
from selfmocap.training.frame_recipe import validation_frames
from selfmocap.training.train_frame import validate_frame_network

Frames = list[tuple[FrameInputs, BodyParameters]]


def corrected(network: FrameNetwork, frames: Frames) -> Frames:
    """Return the frames with keypoints that the network corrected."""
    with torch.no_grad():
        return [(inputs.with_refined(network.refine_keypoints(inputs)), truth) for inputs, truth in frames]


def without(frames: Frames, *parts: str) -> Frames:
    """Return the frames without some fields of their inputs."""
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
    data = load_training_data(body, options.motions, options.backgrounds, options.held_out)
    frames = validation_frames(data, body, rgb=True, frames=options.frames)
    points = [body.keypoints(body.pose(truth).vertices, network.config.keypoint_set) for _, truth in frames]
    pixels = [project(p, i.focal, i.center) for p, (i, _) in zip(points, frames, strict=True)]
    exact = [
        (replace(inputs, keypoints=true_px, confidence=torch.ones_like(inputs.confidence)), truth)
        for (inputs, truth), true_px in zip(frames, pixels, strict=True)
    ]
    refined = corrected(network, frames)
    variants = {
        "all": frames,
        "no depths": without(refined, "depths", "depth_confidence"),
        "no crop": without(frames, "crops"),
        "no mask": without(frames, "masks"),
        "keypoints only": without(frames, "crops", "masks"),
        "true keypoints, crop and mask": exact,
        "true keypoints only": without(exact, "crops", "masks"),
    }

    def keypoint_errors_px(some: Frames) -> Tensor:
        return torch.cat([
            (inputs.keypoints - true_px).norm(dim=-1) * (CROP_SIZE / 2) / inputs.boxes[:, None, 2]
            for (inputs, _), true_px in zip(some, pixels, strict=True)
        ])  # fmt: skip

    def depth_errors_mm() -> Tensor:
        rows = []
        for (inputs, truth), point in zip(refined, points, strict=True):
            metres_per_pixel = truth.p_world_root[:, 2:] / inputs.focal.mean(-1, keepdim=True)
            assert inputs.depths is not None
            depths = inputs.depths * metres_per_pixel
            rows.append(1000 * (depths - point[..., 2] + truth.p_world_root[:, None, 2]).abs())
        return torch.cat(rows)

    detected = torch.cat([inputs.confidence for inputs, _ in frames]) > 0
    errors_px = {
        "keypoints, detected": keypoint_errors_px(frames)[detected],
        "keypoints, corrected": keypoint_errors_px(refined)[detected],
        "keypoints, missed by the detector": keypoint_errors_px(refined)[~detected],
        "true keypoints, corrected": keypoint_errors_px(corrected(network, exact)),
    }
    result = {
        "errors": {name: validate_frame_network(network, body, some) for name, some in variants.items()},
        "keypoint_errors_px": {name: [float(x.mean()), float(x.median())] for name, x in errors_px.items()},
        "depth_errors_mm": [float(depth_errors_mm().mean()), float(depth_errors_mm().median())],
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
