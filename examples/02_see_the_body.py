"""Draw the inputs of the three self-supervised losses: python examples/02_see_the_body.py FOLDER

Left: visible vertices, coloured by body part; hidden ones are grey. Middle: the flow of some visible vertices to the
next frame. Right: the mask of another pose (grey) with both terms of the segmentation loss: from vertices outside the
mask to their nearest pixel (red), from mask pixels to their nearest visible vertex (blue).
"""

import sys
from pathlib import Path

import roma
import torch
from matplotlib.figure import Figure
from torch import Tensor

from selfmocap import Body, BodyParameters, Camera
from selfmocap.body_model.named_poses import named_pose
from selfmocap.geometry.nearest import pixel_centres
from selfmocap.losses.reprojection import body_mask, reproject
from selfmocap.losses.self_supervised import halve_mask, halve_points, robust_keypoint_loss, segmentation_loss

body, camera = Body.load(), Camera.looking_along_z(600.0, 640, 480)
boxes = torch.tensor([[320.0, 245.0, 175.0]]).expand(2, 3)
turn = roma.rotvec_to_rotmat(torch.tensor([0.0, 0.6, 0.0]))


def frames(first: str, second: str, fraction: float) -> BodyParameters:
    """Return two frames: a named pose, and a fraction of the way to another one, moved to the right."""
    start, end = (roma.rotmat_to_unitquat(named_pose(name)) for name in (first, second))
    poses = roma.unitquat_to_rotmat(roma.unitquat_slerp(start, end, torch.tensor([0.0, fraction])))
    poses[:, 0] = turn @ poses[:, 0]
    return BodyParameters(torch.zeros(1), poses, torch.tensor([[0.0, 0.0, -3.6], [0.06, 0.0, -3.6]]))


def draw_terms(axes, points: Tensor, mask: Tensor) -> None:
    """Draw lines from each point outside the mask to its nearest pixel, and from each uncovered pixel to its nearest
    point."""
    pixels = pixel_centres(mask).float()[mask.flatten()]
    distance = torch.cdist(points, pixels)
    for a, b, distances, colour in (
        (points, pixels, distance, "tab:red"),
        (pixels, points, distance.mT, "tab:blue"),
    ):
        length, nearest = distances.min(1)
        for start, end in zip(a[length > 1], b[nearest[length > 1]], strict=True):
            axes.plot(*zip(start.tolist(), end.tolist(), strict=True), color=colour, linewidth=0.6)


run = frames("run", "kick", 0.15)
seen = reproject(body, run, camera, boxes)
points, visible = seen.vertices[0], seen.visible[0]
mask = halve_mask(body_mask(body, frames("lunge", "lunge", 0.0), camera, boxes))[0]

figure = Figure(figsize=(15, 5.4), layout="constrained")
left, middle, right = figure.subplots(1, 3)
left.scatter(*points[~visible].T, s=1, color="0.85")
left.scatter(*points[visible].T, s=1, c=body.vertex_joint[visible], cmap="nipy_spectral")
left.set_title(f"{int(visible.sum())} of {len(visible)} vertices are visible")
some = visible.nonzero()[::8, 0]
middle.scatter(*points[visible].T, s=0.2, color="0.8")
arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.002}
middle.quiver(*points[some].T, *seen.flow[0, some].T, seen.flow[0, some].norm(dim=-1), **arrows)
middle.set_title("flow to the next frame, crop px")
right.imshow(mask, cmap="Greys", vmax=3, interpolation="nearest")
right.scatter(*halve_points(points)[visible].T, s=0.3, color="0.5")
draw_terms(right, halve_points(points)[visible], mask)
right.set_title("segmentation at half resolution")
for axes, size in ((left, 128), (middle, 128), (right, 64)):
    axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
figure.savefig(Path(sys.argv[1]) / "see_the_body.png", dpi=90)

masks = mask.expand(2, -1, -1)
over, under = segmentation_loss(halve_points(seen.vertices), seen.visible, masks, torch.ones_like(masks))
lunge = reproject(body, frames("lunge", "lunge", 0.0), camera, boxes)
keypoints = robust_keypoint_loss(seen.keypoints, lunge.keypoints, torch.ones(seen.keypoints.shape[:-1]))
print(f"outside the mask: {over[0]:.2f} px^2, mask not covered: {under[0]:.2f} px^2")
print(f"keypoints: {keypoints[0].mean():.2f} px")
