"""Measure the refinement of other systems' bodies: errors before and after it. Synthetic people who move like
recordings, a static camera, a corrupted detector, and bodies with four kinds of errors of a given mean size.

    python benchmarks/refine_results.py MOTIONS [--clips 12] [--frames 60] [--steps 300]
"""

import argparse
import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import roma
import torch
from torch import Tensor

from selfmocap.adaptation.fit import FitConfig
from selfmocap.adaptation.objective import split_and_full
from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.datasets.motions_folder import load_motions
from selfmocap.evaluation.paper.clips import with_swaps_undone
from selfmocap.geometry.camera import Camera
from selfmocap.geometry.tensors import concat
from selfmocap.models.inference import mean_confidence, to_world
from selfmocap.pipeline.postprocessing.foot_contact import find_contacts
from selfmocap.pipeline.postprocessing.postprocess import postprocess
from selfmocap.pipeline.postprocessing.rebuild import keypoint_body
from selfmocap.pipeline.postprocessing.smoothness_metrics import foot_slide_mm, jitter
from selfmocap.pipeline.result_refinement import clip_for_fitting, fit_if_better
from selfmocap.synthetic.batches import SyntheticConfig
from selfmocap.synthetic.cameras import CameraConfig
from selfmocap.synthetic.corrupt import KeypointErrors
from selfmocap.synthetic.keypoint_scene import KeypointScene, sample_detections, sample_keypoint_scene
from selfmocap.synthetic.motions import MotionClip, from_recording
from selfmocap.tracking.observations import Observations
from selfmocap.training.temporal_data import CLIP_FPS, clip_boxes

SEED = 90_000
ERROR_MM = (60.0, 90.0)
"""Mean error of the joints of a clip, relative to the pelvis: those of per-frame networks on in-the-wild video."""
KINDS = ("noisy", "jittery", "drifting", "scaled")
_LARGEST_ANGLE = 2.0


def observed(
    seed: int, frames: int, motions: list[MotionClip], body: Body
) -> tuple[Observations, KeypointScene]:
    """Return the detections of one person before a static camera, and the truth."""
    cameras = CameraConfig(panning=0.0, hand_held=0.0)
    config = SyntheticConfig(clips=1, frames=frames, fps=CLIP_FPS, cameras=cameras)
    scene = sample_keypoint_scene(seed, config, motions, body)
    seen = sample_detections(seed, KeypointErrors(), scene)
    width, height = (int(n) for n in scene.image_size[0, 0, 0])
    observations = Observations(
        frame_index=torch.arange(frames),
        frame_times=torch.arange(frames).double() / CLIP_FPS,
        image_size=(width, height),
        boxes=clip_boxes(seen.keypoints, seen.confidence)[0],
        keypoint_set=DEFAULT_KEYPOINTS.name,
        keypoints=seen.keypoints[0],
        keypoint_confidence=seen.confidence[0],
    )
    return with_swaps_undone(observations), scene


def relative_joints(body: Body, bodies: BodyParameters) -> Tensor:
    """Return the joints relative to the pelvis, metres."""
    origin = torch.zeros_like(bodies.p_world_root)
    return forward_kinematics(bodies.R_parent_joint, body.shape(bodies.betas).joints, origin)[1]


def start_of(kind: str, truth: BodyParameters, body: Body, seed: int) -> BodyParameters:
    """Return the true bodies with errors of a kind. Their size, a factor of all angles, is found by bisection.

    A clip has a constant error of each joint (ambiguous depth) and one that changes: independent in every frame
    (`noisy`; `jittery`: it predominates, and the path jitters too), or a random walk (`drifting`, of the path too).
    `scaled` bodies are a fifth farther than they are, with another shape."""
    generator = torch.Generator().manual_seed(seed)
    frames = len(truth.p_world_root)
    still, white = torch.randn(24, 3, generator=generator), torch.randn(frames, 24, 3, generator=generator)
    walk = torch.randn(frames, 24, 3, generator=generator).cumsum(0) / frames**0.5
    turn = {
        "noisy": 0.7 * still + 0.7 * white,
        "jittery": 0.4 * still + 0.9 * white,
        "drifting": 0.4 * still + 1.2 * (walk - walk.mean(0)),
        "scaled": still + 0.2 * white,
    }[kind].clone()
    turn[..., 0, :] *= 0.5
    size = truth.p_world_root[:, 2:].mean()
    p = truth.p_world_root + 0.01 * size * torch.randn(3, generator=generator)
    betas = torch.zeros(body.num_betas)
    if kind == "jittery":
        p = p + 0.01 * size * torch.randn(frames, 3, generator=generator)
    elif kind == "drifting":
        p = p + 0.05 * size * torch.randn(frames, 3, generator=generator).cumsum(0) / frames**0.5
    elif kind == "scaled":
        p, betas = 1.2 * p, torch.randn(body.num_betas, generator=generator)
    target = torch.empty(1).uniform_(*ERROR_MM, generator=generator).item() / 1000
    goal = relative_joints(body, truth)
    low, high = 0.0, _LARGEST_ANGLE
    for _ in range(25):
        factor = (low + high) / 2
        start = BodyParameters(betas, truth.R_parent_joint @ roma.rotvec_to_rotmat(factor * turn), p)
        error = float((relative_joints(body, start) - goal).norm(dim=-1).mean())
        low, high = (factor, high) if error < target else (low, factor)
    return start


def as_motion(body: Body, camera: Camera, seen: Observations, bodies: BodyParameters) -> Motion:
    """Return bodies in the camera frame as a motion."""
    return Motion.from_parameters(
        body,
        to_world(bodies, camera),
        camera,
        seen.image_size,
        seen.frame_times,
        confidence=mean_confidence(seen.keypoint_confidence),
    )


def scores(motion: Motion, truth: Motion) -> dict[str, float]:
    """Compute the errors of a motion in the camera frame, and its smoothness."""
    joints, goal = motion.joints_cam, truth.joints_cam
    relative = (joints - joints[:, :1]) - (goal - goal[:, :1])
    return {
        "mpjpe_mm": 1000 * float(relative.norm(dim=-1).mean()),
        "absolute_mpjpe_mm": 1000 * float((joints - goal).norm(dim=-1).mean()),
        "jitter": jitter(motion),
        "foot_slide_mm": foot_slide_mm(motion, find_contacts(truth)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("motions", type=Path)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--steps", type=int, default=FitConfig().steps)
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    options = parser.parse_args()
    body = Body.load()
    small = keypoint_body(body)
    motions: list[MotionClip] = [from_recording(clip, body) for clip in load_motions(options.motions, body)]
    cases: list[tuple[int, str, BodyParameters, Callable[[BodyParameters], Motion], Motion]] = []
    clips = []
    for number in range(options.clips):
        seen, scene = observed(SEED + number, options.frames, motions, body)
        camera = Camera.looking_along_z(float(scene.focal[0, 0]), *seen.image_size)
        camera = replace(camera, center=scene.center[0])
        truth = BodyParameters(
            scene.truth.betas[0, 0], scene.truth.R_parent_joint[0], scene.truth.p_world_root[0]
        )
        motion_of = functools.partial(as_motion, small, camera, seen)
        for kind in options.kinds:
            start = start_of(kind, truth, body, SEED + number)
            cases.append((number, kind, start, motion_of, motion_of(truth)))
            clips.append(clip_for_fitting(seen, camera))
    split, full = split_and_full(clips)
    spread = [replace(start, betas=start.betas.expand(options.frames, -1)) for *_, start, _, _ in cases]
    fitted, better, *px = fit_if_better(body, concat(spread), split, full, FitConfig(options.steps))
    rows = []
    for case, (number, kind, start, motion_of, goal) in enumerate(cases):
        found = fitted[full.clip == case]
        motion = motion_of(replace(found, betas=found.betas[0]))
        rows.append({
            "clip": number, "kind": kind, "refined": bool(better[case]), "px": [float(x[case]) for x in px],
            "before": scores(motion_of(start), goal), "fitted": scores(motion, goal),
            "after": scores(postprocess(motion, body), goal),
        })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    for kind in options.kinds:
        print(kind, json.dumps(summary([row for row in rows if row["kind"] == kind])))
    print("all", json.dumps(summary(rows)))


def summary(rows: list) -> dict[str, object]:
    """Compute the mean scores, and how many clips got worse."""
    means = {
        name: [round(float(np.mean([row[when][name] for row in rows])), 1) for when in ("before", "after")]
        for name in rows[0]["before"]
    }
    change = np.array([row["after"]["mpjpe_mm"] - row["before"]["mpjpe_mm"] for row in rows])
    large = [row for row in rows if row["before"]["mpjpe_mm"] >= 70]
    better = [1 - row["after"]["mpjpe_mm"] / row["before"]["mpjpe_mm"] for row in large]
    return means | {
        "clips": len(rows),
        "worse_by_2_mm": int((change > 2).sum()),
        "improvement_from_70_mm": round(float(np.mean(better)), 3) if better else None,
        "kept_start": sum(not row["refined"] for row in rows),
    }


if __name__ == "__main__":
    main()
