"""How steady a motion is."""

import torch
from jaxtyping import Bool
from torch import Tensor

from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS, find_contacts
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, stretches


def jitter(motion: Motion) -> float:
    """The mean length of the joints' third derivative in the world, m/s^3; 0 where no four frames follow each
    other."""
    joints = motion.camera.to_world(motion.joints_cam).double()
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    lengths = [joints[frames].diff(n=3, dim=0).norm(dim=-1).flatten() for frames in stretches(motion)]
    found = torch.cat(lengths)
    return float(found.mean() * fps**3) if len(found) else 0.0


def foot_slide_mm(motion: Motion, contacts: Bool[Tensor, "time 4"] | None = None) -> float:
    """How far heels and big toes move along the ground from frame to frame while they stand, mean, mm; 0 where none
    stands. Contacts are the motion's own unless the truth's are given."""
    contacts = find_contacts(motion) if contacts is None else contacts
    points = keypoints_world(motion, FOOT_POINTS)
    moved = points[..., [0, 2]].diff(dim=0).norm(dim=-1)
    follows = (motion.frame_index.diff() == 1)[:, None]
    standing = contacts[1:] & contacts[:-1] & follows
    return float(1000 * moved[standing].mean()) if standing.any() else 0.0


def measured(motion: Motion) -> dict[str, float]:
    """What `report.json` says of steadiness."""
    return {"jitter": jitter(motion), "foot_slide_mm": foot_slide_mm(motion)}
