"""Which poses are a person's: a discriminator of each joint by itself and of all together (Kanazawa et al. 2019)."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from selfmocap.body_model.skeleton import JOINT_NAMES

_JOINTS = len(JOINT_NAMES) - 1
_CHANNELS = 32


class PoseDiscriminator(nn.Module):
    """Scores of a pose, near 1 for real ones and near 0 for others: one for each joint but the root, and one for all
    of them together."""

    def __init__(self, hidden: int = 1024) -> None:
        super().__init__()
        self.shared = nn.Sequential(
            nn.Linear(9, _CHANNELS), nn.ReLU(), nn.Linear(_CHANNELS, _CHANNELS), nn.ReLU()
        )
        self.each = nn.ModuleList(nn.Linear(_CHANNELS, 1) for _ in range(_JOINTS))
        self.whole = nn.Sequential(
            nn.Linear(_JOINTS * _CHANNELS, hidden), nn.ReLU(),
            nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, 1),
        )  # fmt: skip

    def forward(self, R_parent_joint: Float[Tensor, "batch 24 3 3"]) -> Float[Tensor, "batch 24"]:
        """The root's rotation plays no part."""
        seen = self.shared(R_parent_joint[:, 1:].flatten(-2))
        each = [layer(joint) for layer, joint in zip(self.each, seen.unbind(1), strict=True)]
        return torch.cat([*each, self.whole(seen.flatten(1))], dim=1)


def adversary_loss(scores: Float[Tensor, "batch 24"]) -> Float[Tensor, " batch"]:
    """What the generator minimises: how far its poses are from being taken for real."""
    return (scores - 1).square().sum(-1)


def discriminator_loss(
    real: Float[Tensor, "batch 24"], estimate: Float[Tensor, "batch 24"]
) -> Float[Tensor, " batch"]:
    """What the discriminator minimises: real poses to 1, estimated ones to 0."""
    return (real - 1).square().sum(-1) + estimate.square().sum(-1)
