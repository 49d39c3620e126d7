"""The residual of a motion's keypoints in each frame, for reports."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project, to_crop
from selfmocap.losses.self_supervised import robust_keypoint_loss
from selfmocap.tracking.observations import Observations


def keypoint_residuals_px(
    motion: Motion, observations: Observations
) -> tuple[Float[Tensor, " time"], Float[Tensor, " time"]]:
    """Compute the robust residual of the keypoints in each frame of a motion, px of the crop, and its weight.

    The residual is the mean of `robust_keypoint_loss`, weighted by confidence; the weight is the sum of confidences.
    Both are 0 in frames without observed keypoints."""
    observations = observations.in_set(DEFAULT_KEYPOINTS.name)
    rows = torch.searchsorted(observations.frame_index, motion.frame_index).clamp(max=len(observations) - 1)
    observed = observations.frame_index[rows] == motion.frame_index
    confidence = torch.where(observed[:, None], observations.keypoint_confidence[rows], 0.0)
    pixels = project(motion.keypoints_cam, motion.camera.focal, motion.camera.center)
    boxes = observations.boxes[rows]
    losses = robust_keypoint_loss(
        to_crop(pixels, boxes), to_crop(observations.keypoints[rows], boxes), confidence
    ).sum(-1)
    weight = confidence.sum(-1)
    return losses / torch.where(weight > 0, weight, 1.0), weight
