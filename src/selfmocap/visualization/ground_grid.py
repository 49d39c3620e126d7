"""Draw the ground of a moving camera's world: a grid that stays where it lies shows that the camera is right."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from selfmocap.body_model.motion import Motion
from selfmocap.geometry.camera import Camera

_REACH = 3
"""Lines on each side of the person's path, metres."""
_STEP = 0.1
"""Metres between the points of a line, which ends where it is not in front of the camera."""
_MIN_DEPTH = 0.3
_COLOUR, _OPACITY = (255, 235, 120), 0.6


def ground_lines(motion: Motion) -> Float[Tensor, "lines points 3"]:
    """Return lines a metre apart on the ground y = 0 around the person's path, in the world, metres."""
    root = motion.parameters.p_world_root
    low, high = (root.amin(0) - _REACH).floor(), (root.amax(0) + _REACH).ceil()
    points = round(max(float(high[0] - low[0]), float(high[2] - low[2])) / _STEP) + 1
    x, z = torch.linspace(low[0], high[0], points), torch.linspace(low[2], high[2], points)
    along_x = [torch.stack([x, 0 * x, torch.full_like(x, at)], dim=1) for at in _whole(low[2], high[2])]
    along_z = [torch.stack([torch.full_like(z, at), 0 * z, z], dim=1) for at in _whole(low[0], high[0])]
    return torch.stack(along_x + along_z)


def _whole(low: Tensor, high: Tensor) -> list[float]:
    return torch.arange(float(low), float(high) + 0.5).tolist()


def draw_ground(
    image: UInt8[np.ndarray, "height width 3"], lines: Float[Tensor, "lines points 3"], camera: Camera
) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image with the parts of the lines that are in front of the camera (of one frame)."""
    import cv2

    drawn = image.copy()
    p_cam = camera.to_camera(lines.flatten(0, 1)).unflatten(0, lines.shape[:2])
    pixels = camera.project(lines.flatten(0, 1)).unflatten(0, lines.shape[:2]).numpy()
    in_front = (p_cam[..., 2] > _MIN_DEPTH).numpy()
    limit = 4 * max(image.shape)
    visible = in_front & (np.abs(pixels) < limit).all(-1)
    for line, seen in zip(pixels, visible, strict=True):
        for run in np.split(np.arange(len(line)), np.flatnonzero(np.diff(seen.astype(int))) + 1):
            if seen[run[0]] and len(run) > 1:
                points = np.rint(line[run] * 8).astype(np.int32)
                cv2.polylines(drawn, [points], False, _COLOUR, 1, cv2.LINE_AA, shift=3)
    return cv2.addWeighted(drawn, _OPACITY, image, 1 - _OPACITY, 0)
