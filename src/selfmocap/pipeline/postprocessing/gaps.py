"""Short absences bridged: a hand before the face, a post that the person walks behind."""

from dataclasses import replace

import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import LONGEST_GAP
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.rotations import interpolate_frames
from selfmocap.pipeline.postprocessing.rebuild import with_parameters


def fill_gaps(motion: Motion, body: Body) -> Motion:
    """The motion with the missing frames between two seen ones that are at most LONGEST_GAP seconds apart: rotations
    along the shortest arc, positions in straight lines, `filled` true and confidence 0. Longer gaps stay."""
    before, after, share = _places(motion)
    if len(before) == len(motion):
        return motion
    parameters, camera = motion.parameters, motion.camera
    if camera.R_cam_world.ndim > 2:
        R, t = interpolate_frames(camera.R_cam_world, camera.t_cam_world, before, after, share)
        camera = replace(camera, R_cam_world=R, t_cam_world=t)
    invented = share > 0
    times, index = motion.frame_times, motion.frame_index
    return with_parameters(
        motion,
        body,
        BodyParameters(
            parameters.betas,
            *interpolate_frames(parameters.R_parent_joint, parameters.p_world_root, before, after, share),
        ),
        camera=camera,
        frame_times=torch.lerp(times[before], times[after], share.double()),
        frame_index=index[before] + torch.round(share * (index[after] - index[before])).long(),
        confidence=torch.where(invented, 0.0, motion.confidence[before]),
        filled=motion.filled[before] | invented,
    )


def _places(motion: Motion) -> tuple[Tensor, Tensor, Tensor]:
    """For each frame of the filled motion the seen frames before and after it, and how far between them it is."""
    steps, apart = motion.frame_index.diff(), motion.frame_times.diff()
    inserted = torch.where(apart <= LONGEST_GAP + 1e-6, steps - 1, 0)
    count = torch.cat([inserted + 1, torch.ones(1, dtype=torch.long)])
    before = torch.repeat_interleave(torch.arange(len(motion)), count)
    place = torch.arange(len(before)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    after = (before + (place > 0).long()).clamp(max=len(motion) - 1)
    return before, after, (place / count[before]).to(motion.joints_cam.dtype)
