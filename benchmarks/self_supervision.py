"""One step of self-supervision without the network: body, camera, visibility, all three losses, and backward to shape,
rotations, place and focal length; with the share of each stage.

    python benchmarks/self_supervision.py [--json] [--rounds 15] [--batch 32] [--device cpu]
"""

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import torch
from posed_bodies import CAMERA, boxes_around, interleaved, random_bodies
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.geometry.camera import Camera, from_crop
from selfmocap.geometry.visibility import visible_vertices
from selfmocap.losses.projection import Projection
from selfmocap.losses.reprojection import body_mask, reproject
from selfmocap.losses.self_supervised import (
    compare,
    halve_mask,
    halve_points,
    motion_loss,
    robust_keypoint_loss,
    segmentation_loss,
)
from selfmocap.tracking.observations import Observations


def observations(body: Body, truth: BodyParameters, boxes: Tensor) -> Observations:
    """What a detector would give of the truth; the flow is noise."""
    count = len(boxes)
    masks = body_mask(body, truth, CAMERA, boxes)
    keypoints = reproject(body, truth, CAMERA, boxes).keypoints
    return Observations(
        frame_index=torch.arange(count),
        frame_times=torch.arange(count).double(),
        image_size=(640, 480),
        boxes=boxes,
        keypoint_set="coco-23",
        keypoints=from_crop(keypoints, boxes),
        keypoint_confidence=torch.rand(keypoints.shape[:-1]),
        masks=masks,
        mask_certain=torch.ones_like(masks),
        flow=torch.randn(*masks.shape, 2),
        flow_confidence=torch.rand(masks.shape),
    )


def stages(
    body: Body, guess: BodyParameters, camera: Camera, seen: Observations
) -> dict[str, Callable[[], Any]]:
    """The whole step, and its parts on their own."""
    inputs = [
        x.requires_grad_() for x in (guess.betas, guess.R_parent_joint, guess.p_world_root, camera.focal)
    ]

    def forward() -> Tensor:
        difference = compare(reproject(body, guess, camera, seen.boxes), seen)
        return sum((getattr(difference, field.name).mean() for field in fields(difference)), torch.zeros(()))

    with torch.no_grad():
        p_cam = camera.to_camera(body.pose(guess).vertices)
        projection: Projection = reproject(body, guess, camera, seen.boxes)
        masks = halve_mask(seen.masks)
        points, certain = halve_points(projection.vertices), torch.ones_like(masks)

    @torch.no_grad()
    def quietly(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    return {
        "whole": lambda: torch.autograd.grad(forward(), inputs),
        "forward": forward,
        "body and projection": lambda: quietly(lambda: camera.project(body.pose(guess).vertices)),
        "visibility": lambda: visible_vertices(p_cam, body.faces),
        "keypoints": lambda: quietly(
            robust_keypoint_loss, projection.keypoints, projection.keypoints, seen.keypoint_confidence
        ),
        "motion": lambda: quietly(
            motion_loss,
            projection.vertices,
            projection.flow,
            projection.visible,
            seen.flow,
            seen.flow_confidence,
        ),
        "segmentation": lambda: quietly(segmentation_loss, points, projection.visible, masks, certain),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.manual_seed(0)
    body = Body.load()
    truth = random_bodies(body, options.batch)
    boxes = boxes_around(CAMERA.project(body.pose(truth).vertices))
    seen = observations(body, truth, boxes).to(options.device)
    guess = replace(truth, p_world_root=truth.p_world_root + torch.tensor([0.08, -0.05, 0.1])).to(
        options.device
    )
    steps = stages(body.to(options.device), guess, CAMERA.to(options.device), seen)
    if options.device != "cpu":
        steps = {name: lambda step=step: (step(), torch.cuda.synchronize()) for name, step in steps.items()}
    times = interleaved(steps, options.rounds)
    per_frame = {name: statistics.median(values) * 1e3 / options.batch for name, values in times.items()}
    result = {
        "batch": options.batch,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "ms_per_frame": round(per_frame["whole"], 3),
        "ms_per_frame_best_round": round(min(times["whole"]) * 1e3 / options.batch, 3),
        "milliseconds_per_frame": {name: round(value, 3) for name, value in per_frame.items()}
        | {"backward": round(per_frame["whole"] - per_frame["forward"], 3)},
        "shares": {
            name: round(per_frame[name] / per_frame["whole"], 3)
            for name in steps
            if name not in ("whole", "forward")
        }
        | {"backward": round(1 - per_frame["forward"] / per_frame["whole"], 3)},
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
