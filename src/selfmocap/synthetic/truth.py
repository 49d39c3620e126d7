"""What is exactly true of a drawn scene: which keypoints can be seen, parts, depth, and motion of every pixel."""

import numpy as np
import torch

from selfmocap.camera import CROP_SIZE, to_crop
from selfmocap.skeleton import DEFAULT_KEYPOINTS
from selfmocap.synthetic.scene import Scene

_DEEP = {"hip": 0.17, "shoulder": 0.12, "knee": 0.11, "ankle": 0.09, "eye": 0.05, "ear": 0.09, "nose": 0.05}
"""Metres that a keypoint may lie beneath the surface and still be seen; 8 cm where nothing is said."""


def depth_beneath(names: tuple[str, ...]) -> np.ndarray:
    """For each keypoint how deep it may lie beneath what is seen of it, metres."""
    return np.array([
        next((depth for part, depth in _DEEP.items() if part in name), 0.08) for name in names
    ])  # fmt: skip


def visible_keypoints(scene: Scene, boxes: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(clips, frames, keypoints) bool: nothing but the person's own flesh and clothes is before the keypoint. A
    keypoint outside its crop counts as seen; whether it is in the image is another question.

    depth: (clips * frames, side, side) nearest depths in the crops that `boxes` cut, metres."""
    pixels = to_crop(scene.keypoints.double(), torch.from_numpy(boxes)).reshape(len(depth), -1, 2).numpy()
    column, row = np.rint(pixels).astype(int).transpose(2, 0, 1)
    within = (column >= 0) & (column < CROP_SIZE) & (row >= 0) & (row < CROP_SIZE)
    picture = np.arange(len(depth))[:, None]
    nearest = depth[picture, row.clip(0, CROP_SIZE - 1), column.clip(0, CROP_SIZE - 1)]
    own = scene.keypoints_cam[..., 2].reshape(len(depth), -1).numpy()
    seen = ~within | (nearest > own - depth_beneath(DEFAULT_KEYPOINTS.names))
    return seen.reshape(boxes.shape[:2] + seen.shape[1:])
