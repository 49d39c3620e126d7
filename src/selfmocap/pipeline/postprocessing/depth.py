"""How far away a person stands, from where the feet meet the ground."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.pipeline.postprocessing.foot_contact import FOOT_POINTS
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, remade, stretches
from selfmocap.pipeline.postprocessing.smoothing import whittaker

_HZ = 1.0
"""How fast the error of a distance may change."""
_FARTHEST_OFF = 0.08
"""Of a distance: a foot that would need more is on something else than the ground."""
_LOWEST = 0.5
"""Metres of the camera above a foot: below it, the ground is seen too flat to say how far away it is."""
_ALIKE = 1.0
"""Metres of the camera above a foot at which the ground says as much of its distance as the person's size."""
_FREE = 1e-3
"""What the distance as it is counts against a contact, in frames without any."""


def with_depth_of_ground(
    motion: Motion, body: Body, contacts: Bool[Tensor, "time 4"], heights: Float[Tensor, "4"]
) -> Motion:
    """The motion moved to and fro along the rays of a static camera, slowly, so that standing feet are on the ground,
    y = 0. The person stays at the same place in the picture, and of the same size in the world; `heights` as in
    `contacts.rest_heights`."""
    p_world_cam = motion.camera.p_world_cam
    drop = (p_world_cam[1] - keypoints_world(motion, FOOT_POINTS)[..., 1]).double()
    on_ground = (p_world_cam[1] - heights).double()
    further = (on_ground.clamp_min(_LOWEST) / drop.clamp_min(_LOWEST)).log()
    seen = (drop > _LOWEST) & (on_ground > _LOWEST) & (further.abs() < _FARTHEST_OFF)
    counted = (contacts & seen).double()
    standing = counted.sum(1)
    unmoved = (_ALIKE / drop.mean(1).clamp_min(_LOWEST)).square() * standing.clamp(max=1) + _FREE
    wanted = (further * counted).sum(1, keepdim=True) / (standing + unmoved)[:, None]
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    moved = torch.zeros_like(wanted)
    for frames in stretches(motion):
        moved[frames] = torch.from_numpy(
            whittaker(wanted[frames].numpy(), (standing + unmoved)[frames].numpy(), _HZ, fps)
        )
    p_cam = motion.joints_cam[:, :1] * moved.exp()[..., None].to(motion.joints_cam)
    p = motion.camera.to_world(p_cam)[:, 0]
    return remade(motion, body, BodyParameters(motion.parameters.betas, motion.parameters.R_parent_joint, p))
