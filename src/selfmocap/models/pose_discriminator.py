"""Discriminator of poses: one score for each joint, one for the full pose (Kanazawa et al. 2019)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfmocap.body_model.skeleton import JOINT_NAMES

_JOINTS = len(JOINT_NAMES) - 1
_CHANNELS = 32


class PoseDiscriminator(nn.Module):
    """Score poses: near 1 for real ones, near 0 for estimated ones.

    The first 23 scores are of single joints (without the root), the last one is of the full pose."""

    def __init__(self, hidden: int = 1024) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            nn.Linear(9, _CHANNELS), nn.ReLU(), nn.Linear(_CHANNELS, _CHANNELS), nn.ReLU()
        )
        self.per_joint = nn.ModuleList(nn.Linear(_CHANNELS, 1) for _ in range(_JOINTS))
        self.full_pose = nn.Sequential(
            nn.Linear(_JOINTS * _CHANNELS, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, R_parent_joint: Float[Tensor, "batch 24 3 3"]) -> Float[Tensor, "batch 24"]:
        """Compute the scores. The rotation of the root is ignored."""
        features = self.shared(R_parent_joint[:, 1:].flatten(-2))
        scores = [layer(joint) for layer, joint in zip(self.per_joint, features.unbind(1), strict=True)]
        return torch.cat([*scores, self.full_pose(features.flatten(1))], dim=1)
