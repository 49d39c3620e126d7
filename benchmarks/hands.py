"""Measure the fit of wrists and fingers on synthetic hands with their truth, beside the rigid hands of the body.

    python benchmarks/hands.py [--clips 3] [--frames 45] [--errors 0.01 0.03 0.06] [--json]

An error is that of the detected keypoints in the image, in lengths of the palm; the error along the line of sight is
twice as large, and half of the variance of both drifts slowly.
"""

import argparse
import json
import sys
import time
from dataclasses import replace

import roma
import torch
from torch import Tensor

from selfmocap.adaptation.hand_pose import fit_hands
from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.fingers import fingertips, with_fingers
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.named_poses import pose_from_degrees
from selfmocap.body_model.skeleton import HAND_SIDES, JOINT
from selfmocap.geometry.camera import Camera
from selfmocap.synthetic.hands import move_hands, observe_hands

FPS = 30.0
POSE: dict[str, tuple[float, float, float]] = {
    "left_shoulder": (0, -20, -60), "right_shoulder": (0, 20, 60), "left_elbow": (30, -90, 0),
    "right_elbow": (30, 90, 0),
}  # fmt: skip
"""Raised forearms, degrees."""


def standing(body: Body, frames: int) -> Motion:
    """Return a person who stands 2.2 m from the camera with rigid hands."""
    parameters = BodyParameters(
        torch.zeros(body.num_betas),
        pose_from_degrees(POSE).repeat(frames, 1, 1, 1),
        torch.tensor([0.1, 0.0, -2.2]).repeat(frames, 1),
    )
    times = torch.arange(frames, dtype=torch.float64) / FPS
    return Motion.from_parameters(
        body, parameters, Camera.looking_along_z(1000.0, 1280, 720), (1280, 720), times
    )


def errors(estimate: Motion, truth: Motion, body: Body) -> Tensor:
    """Return the mean errors of finger joints and hands (degrees) and of fingertips from their wrist (mm)."""
    hands, fingers, tips = zip(*(_measured(one, body) for one in (estimate, truth)), strict=True)
    angles = [roma.rotmat_geodesic_distance(*pair).rad2deg().mean() for pair in (fingers, hands)]
    return torch.stack([*angles, 1e3 * (tips[0] - tips[1]).norm(dim=-1).mean()])


def _measured(motion: Motion, body: Body) -> tuple[Tensor, Tensor, Tensor]:
    p = motion.all_parameters.to(torch.float64)
    full = with_fingers(body).to(torch.float64)
    wrists = [JOINT[f"{side}_wrist"] for side in HAND_SIDES]
    R, joints = forward_kinematics(p.R_parent_joint, full.shape(p.betas).joints, p.p_world_root)
    tips = torch.stack(list(fingertips(full.pose(p)).values()), dim=1).unflatten(1, (len(wrists), -1))
    return R[:, wrists], p.R_parent_joint[:, len(JOINT) :], tips - joints[:, wrists, None]


def main() -> None:
    """Measure with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--clips", type=int, default=3)
    parser.add_argument("--frames", type=int, default=45)
    parser.add_argument("--errors", type=float, nargs="+", default=[0.01, 0.03, 0.06])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    body = Body.load()
    rigid = standing(body, options.frames)
    resting = replace(rigid, fingers=torch.eye(3).expand(options.frames, 30, 3, 3))
    rows = []
    for error in options.errors:
        fitted, before, seconds = [], [], 0.0
        for seed in range(options.clips):
            truth = move_hands(rigid, body, seed)
            observations = observe_hands(truth, body, seed, error, 2 * error)
            start = time.process_time()
            estimate = fit_hands(rigid, body, observations)
            seconds += time.process_time() - start
            fitted.append(errors(estimate, truth, body))
            before.append(errors(resting, truth, body))
        names = ("finger_deg", "hand_deg", "fingertip_mm")
        row = {"error": error, "cpu_ms_a_frame": 1e3 * seconds / options.clips / options.frames}
        for label, values in (("", fitted), ("rigid_", before)):
            mean = torch.stack(values).mean(0).tolist()
            row |= {f"{label}{name}": value for name, value in zip(names, mean, strict=True)}
        rows.append(row | {"ratio": row["finger_deg"] / row["rigid_finger_deg"]})
    if options.json:
        sys.stdout.write(json.dumps(rows, indent=1) + "\n")
        return
    for row in rows:
        sys.stdout.write("  ".join(f"{name} {value:.3g}" for name, value in row.items()) + "\n")


if __name__ == "__main__":
    main()
