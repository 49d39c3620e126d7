"""When heels and toes stand on something."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.tensors import true_runs
from selfmocap.pipeline.postprocessing.rebuild import keypoints_world, consecutive_slices

FOOT_POINTS = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
_STILL, _ALMOST_STILL = 0.25, 0.5
"""m/s along the ground: a contact has a moment slower than the first and none faster than the second."""
_LOW = 0.06
"""Metres above the lowest that a foot was within _AROUND seconds."""
_AROUND = 0.6
_SPEED_SECONDS = 0.05
_SHORTEST = 0.1
"""Seconds."""


def find_contacts(motion: Motion) -> Bool[Tensor, "time 4"]:
    """For each of FOOT_POINTS the frames in which it stands: it is slow, and low for that moment. Nothing needs to
    be known of where the ground is, other than which way is up."""
    points = keypoints_world(motion, FOOT_POINTS)
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    found = torch.zeros(points.shape[:2], dtype=torch.bool)
    for frames in consecutive_slices(motion):
        found[frames] = _contacts(points[frames], fps)
    return found


def rest_heights(body: Body, betas: Float[Tensor, " betas"]) -> Float[Tensor, "4"]:
    """How high each of FOOT_POINTS is above the ground when the foot is flat on it, metres."""
    rest = body.shape(betas).rest
    points = body.keypoints(rest.mT, DEFAULT_KEYPOINTS.name)
    return points[[DEFAULT_KEYPOINTS.index(name) for name in FOOT_POINTS], 1] - rest[1].amin()


def _contacts(points: Float[Tensor, "time 4 3"], fps: float) -> Bool[Tensor, "time 4"]:
    speed = _speed(points[..., [0, 2]], fps)
    lowest = points[..., 1].amin(1)
    reach = round(_AROUND * fps)
    floor = -torch.nn.functional.max_pool1d(-lowest[None, None], 2 * reach + 1, 1, reach)[0, 0]
    possible = (speed < _ALMOST_STILL) & (points[..., 1] < floor[:, None] + _LOW)
    found = torch.zeros_like(possible)
    for point in range(points.shape[1]):
        for start, end in true_runs(possible[:, point]):
            still = speed[start:end, point].amin() < _STILL
            found[start:end, point] = still and end - start >= max(2, _SHORTEST * fps)
    return found


def _speed(p: Float[Tensor, "time points 2"], fps: float) -> Float[Tensor, "time points"]:
    """m/s from a little before to a little after each frame."""
    time, reach = len(p), max(1, round(_SPEED_SECONDS * fps))
    after = torch.arange(time).add(reach).clamp(max=time - 1)
    before = torch.arange(time).sub(reach).clamp(min=0)
    seconds = (after - before).clamp(min=1)[:, None] / fps
    return (p[after] - p[before]).norm(dim=-1) / seconds
