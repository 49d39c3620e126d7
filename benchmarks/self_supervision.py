"""Measure one step of self-supervision without the network, and the fraction of each stage.

A step is body, camera, visibility, all three losses, and backward to shape, rotations, translation and focal length.

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
    """Return the observations of a perfect detector, with noise as flow."""
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
    body: Body, guess: BodyParameters, camera: Camera, observed: Observations
) -> dict[str, Callable[[], Any]]:
    """Return the step, and each of its stages, as functions."""
    inputs = [
        x.requires_grad_() for x in (guess.betas, guess.R_parent_joint, guess.p_world_root, camera.focal)
    ]

    def forward() -> Tensor:
        losses = compare(reproject(body, guess, camera, observed.boxes), observed)
        return sum((getattr(losses, field.name).mean() for field in fields(losses)), torch.zeros(()))

    with torch.no_grad():
        p_cam = camera.to_camera(body.pose(guess).vertices)
        projection: Projection = reproject(body, guess, camera, observed.boxes)
        masks = halve_mask(observed.masks)
        points, certain = halve_points(projection.vertices), torch.ones_like(masks)

    @torch.no_grad()
    def without_gradient(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    return {
        "total": lambda: torch.autograd.grad(forward(), inputs),
        "forward": forward,
        "body and projection": lambda: without_gradient(lambda: camera.project(body.pose(guess).vertices)),
        "visibility": lambda: visible_vertices(p_cam, body.faces),
        "keypoints": lambda: without_gradient(
            robust_keypoint_loss, projection.keypoints, projection.keypoints, observed.keypoint_confidence
        ),
        "motion": lambda: without_gradient(
            motion_loss,
            projection.vertices,
            projection.flow,
            projection.visible,
            observed.flow,
            observed.flow_confidence,
        ),
        "segmentation": lambda: without_gradient(
            segmentation_loss, points, projection.visible, masks, certain
        ),
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
    observed = observations(body, truth, boxes).to(options.device)
    guess = replace(truth, p_world_root=truth.p_world_root + torch.tensor([0.08, -0.05, 0.1])).to(
        options.device
    )
    steps = stages(body.to(options.device), guess, CAMERA.to(options.device), observed)
    if options.device != "cpu":
        steps = {name: lambda step=step: (step(), torch.cuda.synchronize()) for name, step in steps.items()}
    times = interleaved(steps, options.rounds)
    per_frame = {name: statistics.median(values) * 1e3 / options.batch for name, values in times.items()}
    result = {
        "batch": options.batch,
        "device": options.device,
        "threads": torch.get_num_threads(),
        "ms_per_frame": round(per_frame["total"], 3),
        "ms_per_frame_best_round": round(min(times["total"]) * 1e3 / options.batch, 3),
        "milliseconds_per_frame": {name: round(value, 3) for name, value in per_frame.items()}
        | {"backward": round(per_frame["total"] - per_frame["forward"], 3)},
        "fractions": {
            name: round(per_frame[name] / per_frame["total"], 3)
            for name in steps
            if name not in ("total", "forward")
        }
        | {"backward": round(1 - per_frame["forward"] / per_frame["total"], 3)},
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
