"""Fit the body to 2D keypoints of one image: python examples/03_fit_a_body.py FOLDER

Adam moves rotations, position and shape until the projected body is at the keypoints: the direct optimisation of Tung
et al. 2017. The keypoints are those of a known pose, so that the result can be checked. It agrees in the image and is
wrong in depth: from the side, limbs point the other way. A network, or motion over time, resolves this.
"""

import sys
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from selfmocap import Body, BodyParameters, Camera
from selfmocap.body_model.named_poses import named_pose
from selfmocap.body_model.skeleton import JOINT_PARENTS, keypoint_set
from selfmocap.geometry.camera import project
from selfmocap.geometry.rotations import matrix_from_6d, matrix_to_6d
from selfmocap.losses.metrics import root_aligned_error
from selfmocap.losses.pose_prior import PosePrior
from selfmocap.losses.self_supervised import robust_keypoint_loss

body, camera = Body.load(), Camera.looking_along_z(600.0, 640, 480)
points = keypoint_set("coco-23")


def keypoints_px(parameters: BodyParameters) -> Tensor:
    """Project the body's COCO-23 keypoints into the image: (23, 2) px."""
    keypoints = body.keypoints(body.pose(parameters).vertices, points.name)
    return project(camera.to_camera(keypoints), camera.focal, camera.center)


truth = BodyParameters(torch.zeros(16), named_pose("run"), torch.tensor([0.0, 0.0, -3.5]))
observed = keypoints_px(truth)

prior = PosePrior.load()
pose = matrix_to_6d(named_pose("arms-down")).requires_grad_()
position = torch.tensor([0.2, 0.1, -3.0], requires_grad=True)
betas = torch.zeros(16, requires_grad=True)


def estimate() -> BodyParameters:
    """Return the body as it is now."""
    return BodyParameters(betas, matrix_from_6d(pose), position)


start = keypoints_px(estimate()).detach()
optimizer = torch.optim.Adam([pose, position, betas], lr=0.02)
for step in range(200):
    optimizer.zero_grad()
    data = robust_keypoint_loss(keypoints_px(estimate()), observed, torch.ones(len(points.names))).mean()
    improbability = 0.3 * prior(estimate().R_parent_joint) + 0.2 * betas.square().mean()
    (data + improbability).backward()
    optimizer.step()
    if step % 50 == 49:
        print(
            f"step {step + 1}: keypoints off by {(keypoints_px(estimate()) - observed).norm(dim=-1).mean():.1f} px"
        )

with torch.no_grad():
    fitted = keypoints_px(estimate())
    joints, true_joints = body.pose(estimate()).joints, body.pose(truth).joints
error_mm = 1000 * root_aligned_error(joints, true_joints, joints[0], true_joints[0]).mean()
print(f"MPJPE {error_mm:.0f} mm")

figure = Figure(figsize=(10, 4.5), layout="constrained")
before, after, side = figure.subplots(1, 3)
for axes, title, pixels in ((before, "start", start), (after, "fitted", fitted)):
    for shown, colour in ((observed, "0.6"), (pixels, "tab:blue")):
        for index, parent in enumerate(points.parents):
            if parent >= 0:
                axes.plot(*shown[[index, parent]].T, color=colour, linewidth=2)
    axes.set(title=title, xlim=(150, 500), ylim=(450, 30), aspect="equal")
for shown, colour in ((true_joints, "0.6"), (joints, "tab:blue")):
    for index, parent in enumerate(JOINT_PARENTS):
        if parent >= 0:
            _, y, z = (shown - shown[0])[[index, parent]].T
            side.plot(z, y, color=colour, linewidth=2)
side.set(title="fitted, from the side", aspect="equal", xlim=(-0.9, 0.9), ylim=(-1.1, 0.8))
figure.savefig(Path(sys.argv[1]) / "fit_a_body.png", dpi=90)
