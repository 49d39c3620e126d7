"""Fill short gaps in a motion, such as an occlusion behind a post."""

from dataclasses import replace

import torch
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.frame_rates import LONGEST_GAP
from selfmocap.body_model.motion import Motion
from selfmocap.geometry.rotations import interpolate_frames
from selfmocap.pipeline.postprocessing.rebuild import with_parameters


def fill_gaps(motion: Motion, body: Body) -> Motion:
    """Insert the missing frames between two observed ones that are at most LONGEST_GAP seconds apart.

    Rotations are interpolated along the shortest arc, positions linearly. Inserted frames have `filled` true and
    confidence 0. Longer gaps stay."""
    before, after, fraction = _neighbours(motion)
    if len(before) == len(motion):
        return motion
    parameters, camera = motion.parameters, motion.camera
    if camera.R_cam_world.ndim > 2:
        R, t = interpolate_frames(camera.R_cam_world, camera.t_cam_world, before, after, fraction)
        camera = replace(camera, R_cam_world=R, t_cam_world=t)
    inserted = fraction > 0
    times, index = motion.frame_times, motion.frame_index
    R, p = interpolate_frames(parameters.R_parent_joint, parameters.p_world_root, before, after, fraction)
    return with_parameters(
        motion,
        body,
        BodyParameters(parameters.betas, R, p),
        camera=camera,
        frame_times=torch.lerp(times[before], times[after], fraction.double()),
        frame_index=index[before] + torch.round(fraction * (index[after] - index[before])).long(),
        confidence=torch.where(inserted, 0.0, motion.confidence[before]),
        filled=motion.filled[before] | inserted,
    )


def _neighbours(motion: Motion) -> tuple[Tensor, Tensor, Tensor]:
    """Return, for each frame of the filled motion, the observed rows before and after it, and its relative position
    between them."""
    steps, seconds = motion.frame_index.diff(), motion.frame_times.diff()
    missing = torch.where(seconds <= LONGEST_GAP + 1e-6, steps - 1, 0)
    count = torch.cat([missing + 1, torch.ones(1, dtype=torch.long)])
    before = torch.repeat_interleave(torch.arange(len(motion)), count)
    offset = torch.arange(len(before)) - torch.repeat_interleave(count.cumsum(0) - count, count)
    after = (before + (offset > 0).long()).clamp(max=len(motion) - 1)
    return before, after, (offset / count[before]).to(motion.joints_cam.dtype)
