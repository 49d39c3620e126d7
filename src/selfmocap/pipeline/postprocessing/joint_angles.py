"""The flexion of knees and elbows, and pops: changes of its speed that no muscle makes."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices

HINGES = ("left_knee", "right_knee", "left_elbow", "right_elbow")
POP_DEG = 10.0
"""Degrees per frame^2 at 30 frames a second (9000 degrees/s^2). People who walk stay below it."""
_REFERENCE_FPS = 30.0
_NEIGHBOURS = {"knee": ("hip", "ankle"), "elbow": ("shoulder", "wrist")}


def flexion_deg(motion: Motion) -> Float[Tensor, "time 4"]:
    """Compute the angle between both bones of each of HINGES, degrees; 0 for a straight limb."""
    joints = motion.joints_cam.double()
    angles = []
    for name in HINGES:
        side, part = name.split("_")
        above, below = (joints[:, JOINT[f"{side}_{other}"]] for other in _NEIGHBOURS[part])
        upper, lower = joints[:, JOINT[name]] - above, below - joints[:, JOINT[name]]
        angles.append(torch.atan2(torch.linalg.cross(upper, lower).norm(dim=-1), (upper * lower).sum(-1)))
    return torch.rad2deg(torch.stack(angles, dim=1))


def flexion_change_deg(motion: Motion) -> Float[Tensor, "steps 4"]:
    """Compute the change of the flexion between successive frames, degrees at the video's own rate."""
    flexion = flexion_deg(motion)
    return torch.cat([flexion[rows].diff(dim=0) for rows in consecutive_slices(motion)])


def flexion_acceleration_deg(motion: Motion) -> Float[Tensor, "frames 4"]:
    """Compute the second difference of the flexion, in degrees per frame^2 at 30 frames a second, over each three
    successive frames."""
    flexion, fps = flexion_deg(motion), nominal_fps(motion.frame_index, motion.frame_times)
    second = torch.cat([flexion[rows].diff(n=2, dim=0) for rows in consecutive_slices(motion)])
    return second * (fps / _REFERENCE_FPS) ** 2


def pop_metrics(motion: Motion) -> dict[str, float]:
    """Compute the largest `flexion_acceleration_deg`, and the fraction of frames above POP_DEG, by their names in
    `report.json`; 0 without three successive frames."""
    peaks = flexion_acceleration_deg(motion).abs().amax(1)
    if not len(peaks):
        return {"largest_deg": 0.0, "fraction": 0.0}
    return {"largest_deg": float(peaks.max()), "fraction": float((peaks > POP_DEG).double().mean())}
