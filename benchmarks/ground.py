"""Measure the error of the estimated vertical, and the distance of feet in contact from the ground. Peers for the
vertical: a camera assumed level, and the direction from feet to head. Synthetic people who move like recordings that no
network was trained on, a corrupted detector, a static camera of unknown focal length.

    python benchmarks/ground.py MOTIONS --held-out cmu60/61 [--clips 24] [--frames 150] [--pitch 0.25] [--json]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.adaptation.adapt import predict_bodies, with_shared_shape
from selfmocap.adaptation.fit import fit
from selfmocap.adaptation.objective import gather_fitting_data
from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.evaluation.paper.clips import with_swaps_undone
from selfmocap.models.inference import default_camera, mean_confidence, network_inputs, to_world
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts, rest_heights
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body, keypoints_world
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.keypoint_scene import sample_detections, sample_keypoint_scene
from selfmocap.synthetic.motions import MotionClip
from selfmocap.synthetic.scene import sample_scene
from selfmocap.tracking.observations import Observations
from selfmocap.training.config import TemporalDataConfig
from selfmocap.training.temporal_data import CLIP_FPS, clip_boxes
from selfmocap.training.temporal_recipe import read_motions

SEED = 70_000
SPREAD = 0.2
"""Standard deviation of the cameras' pitch, radians."""


def filmed(
    seed: int, frames: int, pitch: float, motions: list[MotionClip], body: Body
) -> tuple[Observations, Float[Tensor, "3"]]:
    """Return the corrupted observations of one person, and the true vertical in the camera frame."""
    cameras = CameraConfig(pitch=(pitch, SPREAD), panning=0.0, hand_held=0.0)
    config = SyntheticConfig(clips=1, frames=frames, fps=CLIP_FPS, cameras=cameras)
    views = sample_scene(
        np.random.SeedSequence(seed),
        cameras,
        config.appearance,
        (1, frames),
        CLIP_FPS,
        motions,
        body,
        variety=None,
    ).views
    seen = sample_detections(seed, KeypointErrors(), sample_keypoint_scene(seed, config, motions, body))
    width, height = views.size[0].tolist()
    observations = Observations(
        frame_index=torch.arange(frames),
        frame_times=torch.arange(frames).double() / CLIP_FPS,
        image_size=(width, height),
        boxes=clip_boxes(seen.keypoints, seen.confidence)[0],
        keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=seen.keypoints[0],
        keypoint_confidence=seen.confidence[0],
    )
    return with_swaps_undone(observations), views.camera.R_cam_world[0, 0, :, 1].float()


def captured(seen: Observations, network: TemporalNetwork, body: Body) -> Motion:
    """Estimate the motion as `capture --quality fast` does, before post-processing."""
    camera = default_camera(seen, None)
    data = gather_fitting_data([(seen, network_inputs(seen, camera, network.frame), seen.fps)])
    estimate = fit(body, with_shared_shape(predict_bodies(network, data), data), data)
    estimate = replace(estimate, betas=estimate.betas[0])
    confidence = mean_confidence(seen.keypoint_confidence)
    world, small = to_world(estimate, camera), keypoint_body(body)
    return Motion.from_parameters(
        small, world, camera, seen.image_size, seen.frame_times, seen.frame_index, confidence
    )


def angle_deg(a: Float[Tensor, "3"], b: Float[Tensor, "3"]) -> float:
    """Compute the angle between two unit vectors."""
    return float(torch.rad2deg((a * b).sum().clamp(-1, 1).arccos()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--held-out", nargs="+", required=True)
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--pitch", type=float, default=0.25, help="mean, radians downwards")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    body, (network, _) = Body.load(), load_temporal()
    choice = TemporalDataConfig(options.motions, held_out=tuple(options.held_out))
    motions = list(read_motions(choice, 0, body, None, lambda *_: None).validation)
    errors: dict[str, list[float]] = {}
    for number in range(options.clips):
        seen, up = filmed(SEED + number, options.frames, options.pitch, motions, body)
        raw = captured(seen, network, body)
        ankles = raw.joints_cam[:, [JOINT["left_ankle"], JOINT["right_ankle"]]].mean(1)
        tall = torch.nn.functional.normalize(raw.joints_cam[:, JOINT["head"]] - ankles, dim=-1).mean(0)
        processed = postprocess(raw, body)
        above = keypoints_world(processed, FOOT_POINTS)[..., 1] - rest_heights(
            body, processed.parameters.betas
        )
        standing = above[find_contacts(processed)].abs()
        found = {
            "up_error_deg": angle_deg(processed.camera.R_cam_world[:, 1], up),
            "up_error_deg_level_camera": angle_deg(torch.tensor([0.0, -1.0, 0.0]), up),
            "up_error_deg_feet_to_head": angle_deg(tall / tall.norm(), up),
            "feet_off_ground_mm": 1000 * float(standing.mean()),
        }
        for name, value in found.items():
            errors.setdefault(name, []).append(value)
    result = {
        name: {
            "mean": round(float(np.nanmean(values)), 2),
            "90 %": round(float(np.nanquantile(values, 0.9)), 2),
        }
        for name, values in errors.items()
    }
    for name, value in result.items():
        print(f"{name}: {value}")
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
