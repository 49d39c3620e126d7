"""Measure what the focal length is worth, and the estimate from planted feet beside the old default (1.2 times the long
side), the new one and the true one. Synthetic people walk `--travel` metres or more in depth before a static camera of
0.6 to 2.5 times the longer side; a corrupted detector gives their keypoints. A second table has a lens of k1 = -0.3,
with and without its calibration.

    python benchmarks/lens.py MOTIONS [--held-out SUBJECT ...] [--clips 24] [--frames 120] [--no-fit] [--json]

MOTIONS is a folder of recordings that no network was trained on.
"""

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.adaptation.adapt import predict_bodies, with_shared_shape
from selfmocap.adaptation.fit import FitConfig
from selfmocap.adaptation.fit import fit as refine
from selfmocap.adaptation.objective import gather_fitting_data
from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.body_model.skinning import forward_kinematics
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.evaluation.paper.clips import with_swaps_undone
from selfmocap.geometry.camera import project
from selfmocap.geometry.focal_prior import LogNormal, focal_prior
from selfmocap.geometry.lens import Lens
from selfmocap.losses.metrics import absolute_error, procrustes_error
from selfmocap.models.inference import network_inputs
from selfmocap.models.temporal import TemporalNetwork
from selfmocap.models.temporal_inference import load_temporal
from selfmocap.pipeline.lens_choice import LensChoice, with_estimates
from selfmocap.pipeline.planted_feet import depth_changes, estimate_focal
from selfmocap.synthetic import corrupt
from selfmocap.synthetic.batches import inside_image, person_sizes
from selfmocap.synthetic.cameras import CameraConfig, sample_views
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.motions import MotionClip, from_recording, sample_poses, scale_root_path
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.undistortion import undistort_observations
from selfmocap.training.temporal_data import clip_boxes

FPS, SIZE = 30.0, (1280, 720)
SEED = 90_000
OLD_DEFAULT = 1.2
FOCALS, DISTORTED_FOCALS = (0.6, 2.5), (0.6, 0.9)
K1 = -0.3
_MIN_INSIDE, _MIN_DEPTH = 0.9, 1.5
_ATTEMPTS = 60


@dataclass(frozen=True, eq=False)
class Walk:
    """One person before one static camera."""

    observations: Observations
    focal: float
    """px."""
    joints_cam: Float[Tensor, "time 24 3"]
    """The truth, metres."""


def film(
    seed: int,
    focals: tuple[float, float],
    frames: int,
    travel: float,
    motions: Sequence[MotionClip],
    body: Body,
) -> Walk:
    """Film one person: the longer the lens, the farther the camera. Raises ValueError where no recording walks so far
    within the image."""
    rng = np.random.default_rng(seed)
    focal = float(np.exp(rng.uniform(*np.log(focals))))
    far = max(focal, 0.9)
    config = CameraConfig(
        panning=0.0, hand_held=0.0, focal=(focal, focal), size=SIZE, distance=(3.5 * far, 8.0 * far)
    )
    for _ in range(_ATTEMPTS):
        poses = sample_poses(rng, motions, 1, frames, FPS)
        betas = torch.from_numpy(rng.normal(size=(1, body.num_betas)).clip(-3, 3)).float()
        p_world_root = scale_root_path(body, betas, poses.p_world_root)
        camera = sample_views(rng, config, p_world_root, FPS).camera
        R = poses.R_parent_joint.clone()
        R[:, :, 0] = camera.R_cam_world @ R[:, :, 0]
        p_cam_root = camera.to_camera(p_world_root[:, :, None]).squeeze(-2)
        depth = p_cam_root[0, :, 2]
        if depth.min() < _MIN_DEPTH or depth.max() - depth.min() < travel:
            continue
        with torch.no_grad():
            posed = body.shape(betas[:, None]).pose(R, p_cam_root)
            points = body.keypoints(posed.vertices, DEFAULT_KEYPOINTS.name)
        pixels = project(points, camera.focal, camera.center).double().numpy()
        if inside_image(pixels, np.array(SIZE).reshape(1, 1, 1, 2)).mean() >= _MIN_INSIDE:
            return Walk(_detected(rng, pixels), focal * SIZE[0], posed.joints[0])
    raise ValueError(
        f"no piece of {frames} frames walks {travel} m in depth; use other recordings, or a smaller --travel"
    )


def _detected(rng: np.random.Generator, pixels: np.ndarray) -> Observations:
    """Corrupt the keypoints of one clip (1, frames, keypoints, 2) like a detector."""
    frames = pixels.shape[1]
    errors = corrupt.sample_errors(rng, KeypointErrors(clean=0.0), 1, frames)
    keypoints = corrupt.displaced_keypoints(errors, pixels, person_sizes(pixels))
    inside = inside_image(pixels, np.array(SIZE).reshape(1, 1, 1, 2))
    confidence = torch.from_numpy(corrupt.sample_confidence(rng, errors, inside, inside)).float()
    detected = torch.from_numpy(keypoints).float()
    return with_swaps_undone(
        Observations(
            frame_index=torch.arange(frames),
            frame_times=torch.arange(frames).double() / FPS,
            image_size=SIZE,
            boxes=clip_boxes(detected, confidence)[0],
            keypoint_set=DEFAULT_KEYPOINTS.name,
            keypoints=detected[0],
            keypoint_confidence=confidence[0],
        )
    )


def errors_mm(
    people: Sequence[tuple[Observations, Lens]], walks: Sequence[Walk], network: TemporalNetwork, body: Body
) -> tuple[float, float]:
    """Compute the mean PA and absolute errors of the joints, by the network and its refinement through each lens."""
    data = gather_fitting_data(
        [(o, network_inputs(o, lens.camera(), network.frame), o.fps) for o, lens in people]
    )
    estimate = refine(
        body, with_shared_shape(predict_bodies(network, data), data), data, FitConfig(steps=150)
    )
    with torch.no_grad():
        rest = body.shape(estimate.betas).joints
        joints = forward_kinematics(estimate.R_parent_joint, rest, estimate.p_world_root)[1]
    truth = torch.cat([walk.joints_cam for walk in walks])
    scores = (error(joints, truth) for error in (procrustes_error, absolute_error))
    pa, absolute = (round(1000 * float(score.mean()), 1) for score in scores)
    return pa, absolute


def focal_table(walks: Sequence[Walk], network: TemporalNetwork, body: Body, fit: bool) -> dict[str, Any]:
    """Score each source of the focal length; without `fit`, the focal lengths alone."""
    default = focal_prior("landscape video").scaled(float(SIZE[0]))
    choice = LensChoice(Lens.pinhole(default.median, SIZE), "default", default.log_spread)
    changes = [depth_changes(network, body, walk.observations, default.median) for walk in walks]
    found = [estimate_focal([change]) for change in changes]
    sources = {
        "old default": [OLD_DEFAULT * SIZE[0] for _ in walks],
        "new default": [default.median for _ in walks],
        "estimate": [with_estimates(choice, [one] if one else []).focal_px for one in found],
        "known": [walk.focal for walk in walks],
    }
    rows: dict[str, Any] = {}
    for name, focals in sources.items():
        ratios = [abs(math.log(f / w.focal)) for w, f in zip(walks, focals, strict=True)]
        rows[name] = {
            "median_log_ratio": round(float(np.median(ratios)), 3),
            "log_ratios": [round(ratio, 3) for ratio in ratios],
        }
        if fit:
            lenses = [(w.observations, Lens.pinhole(f, SIZE)) for w, f in zip(walks, focals, strict=True)]
            rows[name] |= dict(
                zip(("pa_mm", "absolute_mm"), errors_mm(lenses, walks, network, body), strict=True)
            )
    return {"rows": rows, "estimates": _calibration(found, walks)}


def _calibration(found: Sequence[LogNormal | None], walks: Sequence[Walk]) -> dict[str, Any]:
    """Count how often the true focal length is within one and two spreads of the estimate (a normal: 0.68, 0.95)."""
    errors = np.array([math.log(e.median / w.focal) for e, w in zip(found, walks, strict=True) if e])
    spreads = np.array([e.log_spread for e in found if e])
    if not len(errors):
        return {"count": 0, "of": len(found)}
    within = {f"within_{n}_spreads": round(float((abs(errors) < n * spreads).mean()), 2) for n in (1, 2)}
    return {
        "count": len(errors), "of": len(found), "mean": round(float(errors.mean()), 3),
        "median_abs": round(float(np.median(abs(errors))), 3), "median_spread": round(float(np.median(spreads)), 3),
    } | within  # fmt: skip


def distortion_table(walks: Sequence[Walk], network: TemporalNetwork, body: Body) -> dict[str, Any]:
    """Score people through a lens with k1 = K1, whose focal length is known."""
    lenses = [replace(Lens.pinhole(walk.focal, SIZE), distortion=(K1,)) for walk in walks]
    bent = [
        replace(walk.observations, keypoints=lens.distort(walk.observations.keypoints))
        for walk, lens in zip(walks, lenses, strict=True)
    ]
    bent = [replace(o, boxes=clip_boxes(o.keypoints[None], o.keypoint_confidence[None])[0]) for o in bent]
    straight = [undistort_observations(o, lens) for o, lens in zip(bent, lenses, strict=True)]
    rows = {
        "distorted": bent,
        "with calibration": straight,
        "never distorted": [w.observations for w in walks],
    }
    scores = {
        n: errors_mm(list(zip(seen, lenses, strict=True)), walks, network, body) for n, seen in rows.items()
    }
    return {name: {"pa_mm": pa, "absolute_mm": absolute} for name, (pa, absolute) in scores.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--held-out", nargs="+", help="subjects to film; all without it")
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--first", type=int, default=0, help="number of the first clip, to run in parts")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--travel", type=float, default=2.0, help="metres in depth")
    parser.add_argument(
        "--no-fit", action="store_true", help="score focal lengths alone: many clips are quick"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    body, (network, _) = Body.load(), load_temporal()
    recordings = [
        r for r in load_motions(options.motions, body) if r.subject in (options.held_out or [r.subject])
    ]
    motions = [
        from_recording(r, body) for r in recordings if _travels(r.parameters.p_world_root, options.travel)
    ]
    if not motions:
        parser.error(f"no recording of {options.held_out or 'any subject'} travels {options.travel} m")

    def films(focals: tuple[float, float], count: int, seed: int) -> list[Walk]:
        return [
            film(seed + options.first + n, focals, options.frames, options.travel, motions, body)
            for n in range(count)
        ]

    result = {"focal": focal_table(films(FOCALS, options.clips, SEED), network, body, not options.no_fit)}
    if not options.no_fit:
        bent = films(DISTORTED_FOCALS, (options.clips + 1) // 2, 2 * SEED)
        result[f"k1 = {K1}"] = distortion_table(bent, network, body)
    print(json.dumps(result) if options.json else json.dumps(result, indent=1))


def _travels(p_world_root: Float[Tensor, "time 3"], metres: float) -> bool:
    across = p_world_root[:, [0, 2]]
    return float((across.amax(0) - across.amin(0)).norm()) >= metres


if __name__ == "__main__":
    main()
