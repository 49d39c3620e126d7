"""How far a motion is from what was seen, frame by frame."""

import numpy as np
import torch

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import CROP_SIZE, project
from selfmocap.tracking.observations import Observations


def keypoint_px_by_frame(motion: Motion, seen: Observations) -> list[float | None]:
    """For each frame of the motion the mean distance between its keypoints and those seen, weighted by confidence,
    in pixels of a crop of 128 a side; None in frames in which none was seen."""
    seen = seen.in_set(DEFAULT_KEYPOINTS.name)
    row_of = {int(frame): row for row, frame in enumerate(seen.frame_index)}
    rows = torch.tensor([row_of.get(int(frame), -1) for frame in motion.frame_index])
    drawn = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    scale = CROP_SIZE / (2 * seen.boxes[rows, 2])
    distance = (drawn - seen.keypoints[rows]).norm(dim=-1) * scale[:, None]
    confidence = seen.keypoint_confidence[rows] * (rows >= 0)[:, None]
    mean = torch.where(confidence > 0, distance * confidence, 0).sum(1) / confidence.sum(1)
    return [round(float(value), 3) if np.isfinite(value) else None for value in mean]
