"""Test a frame rate against the steps of a person who walks or runs."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters, forward_kinematics
from selfmocap.body_model.skeleton import JOINT

_GRAVITY = 9.81
USUAL_WALK_RATIO = 1.43
"""Length of a step by that of the leg, times its duration by sqrt(leg / gravity): 0.78 x 1.83 of a usual walk. It
hardly changes with the speed (Sekiya and Nagasaki 1998), and is as large in a run."""
PLAUSIBLE_SLOWNESS = (0.4, 2.5)
_MIN_LEAD = 0.15
"""Lead of a foot over the other, as a fraction of the leg, that counts as a step ..."""
_MIN_STEP = 0.3
"""... in which the hips move on by this fraction."""
_MIN_STEPS = 3


def slowness(parameters: BodyParameters, body: Body, fps: float) -> float | None:
    """Return how many times more slowly than usual a person steps at this frame rate, None for fewer than three
    steps."""
    rest = body.shape(parameters.betas).joints
    joints = forward_kinematics(parameters.R_parent_joint, rest, parameters.p_world_root)[1]
    hips, ankles = (
        joints[:, [JOINT[f"{side}_{part}"] for side in ("left", "right")]] for part in ("hip", "ankle")
    )
    leg = float((rest[JOINT["left_hip"]] - rest[JOINT["left_ankle"]]).norm())
    changes = _step_frames(hips, ankles, leg)
    if len(changes) < _MIN_STEPS + 1:
        return None
    lengths = hips.mean(1)[changes][:, [0, 2]].diff(dim=0).norm(dim=-1) / leg
    durations = changes.diff() / fps / (leg / _GRAVITY) ** 0.5
    ratios = (lengths * durations)[lengths > _MIN_STEP]
    return float(ratios.median()) / USUAL_WALK_RATIO if len(ratios) >= _MIN_STEPS else None


def _step_frames(
    hips: Float[Tensor, "time side 3"], ankles: Float[Tensor, "time side 3"], leg: float
) -> Tensor:
    """Return the frames in which the other foot takes the lead."""
    x, _, z = (hips[:, 0] - hips[:, 1]).unbind(-1)
    forward = torch.nn.functional.normalize(torch.stack([-z, torch.zeros_like(x), x], dim=-1), dim=-1)
    lead = ((ankles[:, 0] - ankles[:, 1]) * forward).sum(-1) / leg
    clear = torch.nonzero(lead.abs() > _MIN_LEAD).flatten()
    changed = torch.ones(len(clear), dtype=torch.bool)
    changed[1:] = lead[clear][1:] * lead[clear][:-1] < 0
    return clear[changed]
