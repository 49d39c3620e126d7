"""What a character needs of a body's motion: joints over time, and where its soles stand."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.skeleton import HAND_SIDES, JOINT
from selfmocap.body_model.skinning import forward_kinematics
from selfmocap.export.segments import Segment

_CHUNK_FRAMES = 256
_SOLE_BAND = 0.015
"""Vertices of a foot within this height of its lowest one are the sole's, metres."""
_CONTACT_SPEED = 0.25
"""m/s along the floor, below which an end of a foot may be planted."""
_CONTACT_HEIGHT = 0.06
"""Metres from the floor, within which it may."""
_SPEED_SECONDS, _MIN_CONTACT_SECONDS = 0.05, 0.1
_SUNK = -0.1
"""Metres: people whose soles are mostly below this height do not stand on the floor y = 0."""


@dataclass(frozen=True, eq=False)
class SourceMotion:
    """A body over time in the world, y up, metres."""

    times: Float[ndarray, " time"]
    fps: float
    R_world_joint: Float[ndarray, "time joints 3 3"]
    p_world_joint: Float[ndarray, "time joints 3"]
    """With the floor on which the soles stand at y = 0."""
    rest: Float[ndarray, "joints 3"]
    """Joints in the T-pose with the soles at y = 0; x left, z forward."""
    planted: Bool[ndarray, "time 2 2"]
    """Whether the heel and the front of each foot stand."""
    ends: Float[ndarray, "time 2 2 3"]
    """The heel and the front of each sole."""


def source_motion(segment: Segment, body: Body) -> SourceMotion:
    """Return the joints and soles of a segment."""
    parameters = segment.parameters
    body = body_for(parameters, body).to(torch.float64)
    shaped = body.shape(parameters.betas)
    R, p = forward_kinematics(parameters.R_parent_joint, shaped.joints, parameters.p_world_root)
    vertices = shaped.rest.T
    lowest, ends = [], []
    for side in HAND_SIDES:
        part = (body.vertex_joint == JOINT[f"{side}_ankle"]) | (body.vertex_joint == JOINT[f"{side}_foot"])
        foot = part.nonzero()[:, 0]
        sole = foot[vertices[foot, 1] < vertices[foot, 1].min() + _SOLE_BAND]
        z = vertices[sole, 2]
        posed = _posed(body.with_vertices(sole), segment)
        lowest.append(posed[..., 1].min(1))
        ends.append(posed[:, [int(z.argmin()), int(z.argmax())]])
    heights, points = np.stack(lowest, 1), np.stack(ends, 1)
    low = float(np.median(heights.min(1)))
    floor = 0.0 if low > _SUNK else low
    planted = np.stack([_planted(points[:, side] - [0, floor, 0], segment) for side in range(2)], axis=1)
    if planted.any():
        floor = float(np.median(heights[planted.any(2)]))
    rest = shaped.joints.numpy() - [0, float(vertices[:, 1].min()), 0]
    return SourceMotion(
        segment.times.numpy(),
        segment.fps,
        R.numpy(),
        p.numpy() - [0, floor, 0],
        rest,
        planted,
        points - [0, floor, 0],
    )


def _posed(body: Body, segment: Segment) -> Float[ndarray, "time vertices 3"]:
    chunks = torch.arange(len(segment)).split(_CHUNK_FRAMES)
    return np.concatenate([body.pose(segment.parameters[rows]).vertices.numpy() for rows in chunks])


def _planted(points: Float[ndarray, "time ends 3"], segment: Segment) -> Bool[ndarray, "time ends"]:
    """Find the frames in which the ends of a foot stand on the floor y = 0: slow, and near it."""
    times = segment.times.numpy()
    reach = max(1, round(_SPEED_SECONDS * segment.fps))
    before, after = (np.clip(np.arange(len(times)) + d, 0, len(times) - 1) for d in (-reach, reach))
    duration = np.maximum(times[after] - times[before], 1e-9)[:, None]
    speed = np.linalg.norm((points[after] - points[before])[..., [0, 2]], axis=-1) / duration
    candidates = (speed < _CONTACT_SPEED) & (np.abs(points[..., 1]) < _CONTACT_HEIGHT)
    return np.stack([_long_runs(c, round(_MIN_CONTACT_SECONDS * segment.fps)) for c in candidates.T], axis=1)


def _long_runs(flags: Bool[ndarray, " time"], length: int) -> Bool[ndarray, " time"]:
    """Keep runs of at least `length` frames (and two)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    kept = np.zeros_like(flags)
    for start, end in edges.reshape(-1, 2):
        kept[start:end] = end - start >= max(2, length)
    return kept
