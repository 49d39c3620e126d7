"""Metrics of smoothness that need no ground truth: jitter and foot sliding."""

import torch
from jaxtyping import Bool
from torch import Tensor

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world


def jitter(motion: Motion) -> float:
    """Compute the mean length of the joints' third derivative in the world, m/s^3; 0 without four successive frames."""
    joints = motion.camera.to_world(motion.joints_cam).double()
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    lengths = [joints[rows].diff(n=3, dim=0).norm(dim=-1).flatten() for rows in consecutive_slices(motion)]
    all_lengths = torch.cat(lengths)
    return float(all_lengths.mean() * fps**3) if len(all_lengths) else 0.0


def foot_slide_mm(motion: Motion, contacts: Bool[Tensor, "time 4"] | None = None) -> float:
    """Compute the mean displacement per frame, mm, of heels and big toes along the ground while in contact; 0 without
    contacts. `contacts` are by default those of `find_contacts`; give the true ones to compare motions."""
    contacts = find_contacts(motion) if contacts is None else contacts
    points = keypoints_world(motion, FOOT_POINTS)
    distance = points[..., [0, 2]].diff(dim=0).norm(dim=-1)
    follows = (motion.frame_index.diff() == 1)[:, None]
    standing = contacts[1:] & contacts[:-1] & follows
    return float(1000 * distance[standing].mean()) if standing.any() else 0.0


def smoothness_metrics(motion: Motion) -> dict[str, float]:
    """Compute the metrics by their names in `report.json`."""
    return {"jitter": jitter(motion), "foot_slide_mm": foot_slide_mm(motion)}
