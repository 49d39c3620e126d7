"""Detect the frames in which heels and toes are in contact with a surface."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.frame_rates import nominal_fps
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.geometry.tensors import true_runs
from selfmocap.pipeline.postprocessing.rebuild import consecutive_slices, keypoints_world
from selfmocap.tracking.confidence import VISIBLE

FOOT_POINTS = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
_MAX_SPEED, _MAX_SPEED_ACROSS = 0.8, 0.3
"""m/s of a contact, along the ground, and across the ray from the camera, which is measured more accurately."""
_MAX_RISE = 0.12
"""Metres above the lowest foot point within `_FLOOR_SECONDS`."""
_FLOOR_SECONDS = 0.6
_SPEED_SECONDS = 0.05
"""The speed is measured from this long before a frame to this long after it."""
_MIN_CONTACT_SECONDS = 0.1


def find_contacts(motion: Motion) -> Bool[Tensor, "time 4"]:
    """Find the frames in which each of FOOT_POINTS is in contact: slow, and near the lowest point of the moment.

    The world's y must be up; the height of the ground need not be known."""
    points = keypoints_world(motion, FOOT_POINTS)
    rays = torch.nn.functional.normalize(points - motion.camera.p_world_cam[..., None, :], dim=-1)
    fps = nominal_fps(motion.frame_index, motion.frame_times)
    contacts = torch.zeros(points.shape[:2], dtype=torch.bool)
    for rows in consecutive_slices(motion):
        contacts[rows] = _contacts(points[rows], rays[rows], fps)
    return contacts


def seen_contacts(
    contacts: Bool[Tensor, "time 4"], joint_confidence: Float[Tensor, "time 24"]
) -> Bool[Tensor, "time 4"]:
    """Select the contacts whose foot is visible on average, by the confidence of the joints that ankle and toe show."""
    seen = torch.zeros_like(contacts)
    for point, name in enumerate(FOOT_POINTS):
        side = name.split("_")[0]
        foot = joint_confidence[:, [JOINT[f"{side}_knee"], JOINT[f"{side}_ankle"]]].amin(1)
        for start, end in true_runs(contacts[:, point]):
            seen[start:end, point] = foot[start:end].mean() >= VISIBLE
    return seen


def rest_heights(body: Body, betas: Float[Tensor, " betas"]) -> Float[Tensor, "4"]:
    """Compute the height of each of FOOT_POINTS above the ground, metres, when the foot is flat on it."""
    rest = body.shape(betas).rest
    points = body.keypoints(rest.mT, DEFAULT_KEYPOINTS.name)
    return points[[DEFAULT_KEYPOINTS.index(name) for name in FOOT_POINTS], 1] - rest[1].amin()


def _contacts(
    points: Float[Tensor, "time 4 3"], rays: Float[Tensor, "time 4 3"], fps: float
) -> Bool[Tensor, "time 4"]:
    velocity = _velocity(points, fps)
    speed = velocity[..., [0, 2]].norm(dim=-1)
    speed_across = torch.linalg.cross(rays, velocity).norm(dim=-1)
    lowest = points[..., 1].amin(1)
    reach = round(_FLOOR_SECONDS * fps)
    floor = -torch.nn.functional.max_pool1d(-lowest[None, None], 2 * reach + 1, 1, reach)[0, 0]
    candidates = (speed < _MAX_SPEED) & (speed_across < _MAX_SPEED_ACROSS)
    candidates &= points[..., 1] < floor[:, None] + _MAX_RISE
    contacts = torch.zeros_like(candidates)
    for point in range(points.shape[1]):
        for start, end in true_runs(candidates[:, point]):
            contacts[start:end, point] = end - start >= max(2, _MIN_CONTACT_SECONDS * fps)
    return contacts


def _velocity(p: Float[Tensor, "time points 3"], fps: float) -> Float[Tensor, "time points 3"]:
    """Compute the velocity around each frame, m/s."""
    time, reach = len(p), max(1, round(_SPEED_SECONDS * fps))
    after = torch.arange(time).add(reach).clamp(max=time - 1)
    before = torch.arange(time).sub(reach).clamp(min=0)
    seconds = (after - before).clamp(min=1)[:, None, None] / fps
    return (p[after] - p[before]) / seconds
