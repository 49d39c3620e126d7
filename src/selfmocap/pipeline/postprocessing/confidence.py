"""The confidence of each joint's rotation."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT_NAMES, keypoint_set
from selfmocap.tracking.observations import Observations

_TRUNK_KEYPOINTS = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_FACE_KEYPOINTS = ("nose", "left_ear", "right_ear")
_LIMB_KEYPOINT = {"hip": "knee", "knee": "ankle", "ankle": "big_toe", "foot": "big_toe", "collar": "shoulder",
                  "shoulder": "elbow", "elbow": "wrist", "wrist": "wrist", "hand": "wrist"}  # fmt: skip
"""The keypoint that a limb's joint moves."""


def joint_confidence(
    observations: Observations, frame_index: Int[Tensor, " time"]
) -> Float[Tensor, "time 24"]:
    """Compute each joint's confidence, in [0, 1], as the mean confidence of the keypoints that show its rotation: the
    wrist for the elbow, the trunk's four corners for the spine. It is 0 in frames that were not observed."""
    names = keypoint_set(observations.keypoint_set).names
    by_joint = []
    for joint in JOINT_NAMES:
        columns = [names.index(name) for name in _keypoints_of(joint) if name in names]
        by_joint.append(observations.keypoint_confidence[:, columns or slice(None)].mean(1))
    confidence = torch.stack(by_joint, dim=1)
    rows = torch.searchsorted(observations.frame_index, frame_index).clamp(max=len(observations) - 1)
    observed = observations.frame_index[rows] == frame_index
    return torch.where(observed[:, None], confidence[rows], 0.0)


def _keypoints_of(joint: str) -> tuple[str, ...]:
    side, _, part = joint.rpartition("_")
    if side:
        return (f"{side}_{_LIMB_KEYPOINT[part]}",)
    return _FACE_KEYPOINTS if joint in ("neck", "head") else _TRUNK_KEYPOINTS
