"""Pops: changes of the speed of a knee's or an elbow's flexion that no muscle makes."""

import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.hinges import REFERENCE_FPS, flexion_deg
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices

POP_DEG = 10.0
"""Degrees per frame^2 at 30 frames a second. People who walk stay below it."""


def flexion_change_deg(motion: Motion) -> Float[Tensor, "steps 4"]:
    """Compute the change of the flexion of hinges.HINGES between successive frames, degrees at the video's own rate."""
    flexion = flexion_deg(motion.joints_cam.double())
    return torch.cat([flexion[rows].diff(dim=0) for rows in consecutive_slices(motion)])


def flexion_acceleration_deg(motion: Motion) -> Float[Tensor, "frames 4"]:
    """Compute the second difference of the flexion, in degrees per frame^2 at 30 frames a second, over each three
    successive frames."""
    flexion = flexion_deg(motion.joints_cam.double())
    second = torch.cat([flexion[rows].diff(n=2, dim=0) for rows in consecutive_slices(motion)])
    return second * (nominal_fps(motion.frame_index, motion.frame_times) / REFERENCE_FPS) ** 2


def pop_metrics(motion: Motion) -> dict[str, float]:
    """Compute the largest `flexion_acceleration_deg`, and the fraction of frames above POP_DEG, by their names in
    `report.json`; 0 without three successive frames."""
    peaks = flexion_acceleration_deg(motion).abs().amax(1)
    if not len(peaks):
        return {"largest_deg": 0.0, "fraction": 0.0}
    return {"largest_deg": float(peaks.max()), "fraction": float((peaks > POP_DEG).double().mean())}
