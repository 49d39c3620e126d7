"""The flexion of knees and elbows, the joints with one degree of freedom."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.skeleton import JOINT
from selfmocap.geometry.tensors import safe_norm

HINGES = ("left_knee", "right_knee", "left_elbow", "right_elbow")
REFERENCE_FPS = 30.0
"""Accelerations are in degrees per frame^2 at this rate, whatever the video's rate; 1 is 900 degrees/s^2."""
_NEIGHBOURS = {"knee": ("hip", "ankle"), "elbow": ("shoulder", "wrist")}


def _columns() -> list[tuple[int, int, int]]:
    columns = []
    for name in HINGES:
        side, part = name.split("_")
        above, below = _NEIGHBOURS[part]
        columns.append((JOINT[f"{side}_{above}"], JOINT[name], JOINT[f"{side}_{below}"]))
    return columns


_COLUMNS = torch.tensor(_columns())
"""The joint above each of HINGES, itself, and the joint below."""


def flexion_deg(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch 4"]:
    """Compute the angle between both bones of each of HINGES, degrees; 0, with zero gradient, for a straight limb."""
    above, hinge, below = (joints[..., column.to(joints.device), :] for column in _COLUMNS.T)
    upper, lower = hinge - above, below - hinge
    across = safe_norm(torch.linalg.cross(upper, lower))[..., 0]
    return torch.rad2deg(torch.atan2(across, (upper * lower).sum(-1)))
