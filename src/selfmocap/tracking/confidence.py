"""The confidence of keypoints, in [0, 1]: its meaning, its thresholds, and what other rooms derive from it.

It is the probability that a keypoint lies within 5 % of its person's size of the true one. Scores become confidences
once, where keypoints enter: those of the package's own models by `detectors.keypoint_calibration`, those of other
programs by the functions below."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

CONFIDENT_DISTANCE = 0.05
"""Distance from the true position below which a keypoint is right, as a fraction of the longer side of the person's
box."""
VISIBLE = 0.3
"""Above it, the position of a keypoint is used: for boxes, masks, drawn bones, and to score estimates."""
DETECTED = 0.05
"""Below it, a keypoint counts as missing: it is outside the frame, or nothing is known of it."""
WINDOW_RELATIVE = 0.3
"""Fraction of the highest confidence of a person from which a keypoint counts for the person's window."""


def confidence_of_scores(scores: Float[np.ndarray, "*keypoints"]) -> Float[np.ndarray, "*keypoints"]:
    """Take the scores of OpenPose or RTMPose as probabilities, limited to [0, 1].

    They rise with the probability of being right, but are not fitted to data here."""
    return np.clip(scores, 0, 1)


def confidence_of_flags(flags: Float[np.ndarray, "*keypoints"]) -> Float[np.ndarray, "*keypoints"]:
    """Return the confidence of keypoints labelled by hand from COCO's flags: 1 for 2 (visible), 0.5 for 1 (occluded), 0
    for 0 (not labelled)."""
    return np.clip(flags / 2, 0, 1)


def loss_weight(confidence: Float[Tensor, "*keypoints"]) -> Float[Tensor, "*keypoints"]:
    """Compute the weight of a keypoint in a loss: the cube root, since errors grow less than confidence falls
    (docs/explanation/results.md)."""
    return confidence.pow(1 / 3)


def network_amplitude(confidence: Float[Tensor, "*keypoints"]) -> Float[Tensor, "*keypoints"]:
    """Compute the peak height of a keypoint in a network's input: 0 if it is missing, else 0.3 + 0.7 confidence, as the
    shipped networks are trained."""
    return torch.where(confidence < DETECTED, 0.0, 0.3 + 0.7 * confidence)
