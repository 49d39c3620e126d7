"""How well each joint's rotation was seen."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT_NAMES, keypoint_set
from selfmocap.tracking.observations import Observations

_TRUNK = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_FACE = ("nose", "left_ear", "right_ear")
_SHOWN_BY = {"hip": "knee", "knee": "ankle", "ankle": "big_toe", "foot": "big_toe", "collar": "shoulder",
             "shoulder": "elbow", "elbow": "wrist", "wrist": "wrist", "hand": "wrist"}  # fmt: skip
"""A limb's joint turns what hangs on it."""


def joint_confidence(
    observations: Observations, frame_index: Int[Tensor, " time"]
) -> Float[Tensor, "time 24"]:
    """For each joint, in [0, 1], how surely the keypoints were seen that show its rotation (the wrist for the elbow's,
    the trunk's four corners for the spine's); 0 in frames that were not observed."""
    names = keypoint_set(observations.keypoint_set).names
    of_joint = []
    for joint in JOINT_NAMES:
        known = [names.index(name) for name in _shown_by(joint) if name in names]
        seen = observations.keypoint_confidence[:, known or slice(None)]
        of_joint.append(seen.mean(1))
    found = torch.stack(of_joint, dim=1)
    place = torch.searchsorted(observations.frame_index, frame_index).clamp(max=len(observations) - 1)
    observed = observations.frame_index[place] == frame_index
    return torch.where(observed[:, None], found[place], 0.0)


def _shown_by(joint: str) -> tuple[str, ...]:
    side, _, part = joint.rpartition("_")
    if side:
        return (f"{side}_{_SHOWN_BY[part]}",)
    return _FACE if joint in ("neck", "head") else _TRUNK
