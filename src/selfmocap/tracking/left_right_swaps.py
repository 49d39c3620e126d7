"""Left and right: a detector swaps them for runs of frames, with high confidence. Found and undone over a track."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from selfmocap.body_model.skeleton import KeypointSet

_LEGS = ("knee", "ankle", "heel", "toe", "foot")
_ARMS = ("elbow", "wrist", "pinky", "index", "thumb")

STATES = ("as is", "all", "upper", "lower", "arms", "legs")
"""What is swapped in a frame: upper and lower meet above the hips; arms begin at the elbows and legs at the knees."""

_CAP = 0.5
"""Displacement from which a keypoint tells nothing, in half sides of the box."""
_SWAPPED = 0.004
"""Cost of a swapped frame: what is swapped for long, without a jump at either end, is taken for a person who turned."""
_BLOCK = 256
_LONGEST_GAP = 15
"""Frames without the person after which nothing is known of what was left and right."""


class Unswapped(NamedTuple):
    """Keypoints with left and right as they most likely are."""

    keypoints: Float[np.ndarray, "time keypoints 2"]
    confidence: Float[np.ndarray, "time keypoints"]
    states: Int[np.ndarray, " time"]
    """Index into STATES of what was swapped in each frame, and is not any more."""


def undo_swaps(
    keypoints: Float[np.ndarray, "time keypoints 2"],
    confidence: Float[np.ndarray, "time keypoints"],
    half_sides: Float[np.ndarray, " time"],
    frame_index: Int[np.ndarray, " time"],
    points: KeypointSet,
) -> Unswapped:
    """The cheapest sequence of STATES (Viterbi). Cost between two frames: the mean displacement of the keypoints
    that have a twin, in half sides of the box (px), capped, weighted by both confidences; and a little for every
    swapped frame."""
    orders, states = _orders(points), np.zeros(len(keypoints), np.int64)
    if len(keypoints):
        states = _cheapest(_transitions(keypoints, confidence, half_sides, frame_index, points))
    rows = np.arange(len(keypoints))[:, None]
    return Unswapped(keypoints[rows, orders[states]], confidence[rows, orders[states]], states)


def _orders(points: KeypointSet) -> Int[np.ndarray, "states keypoints"]:
    same, mirror = np.arange(len(points.names)), np.array(points.mirror)
    legs = np.array([any(part in name for part in _LEGS) for name in points.names])
    arms = np.array([any(part in name for part in _ARMS) for name in points.names]) & ~legs
    lower = legs | np.array(["hip" in name for name in points.names])
    chosen = (same != same, same == same, ~lower, lower, arms, legs)
    return np.stack([np.where(part, mirror, same) for part in chosen])


def _transitions(
    keypoints: Float[np.ndarray, "time keypoints 2"],
    confidence: Float[np.ndarray, "time keypoints"],
    half_sides: Float[np.ndarray, " time"],
    frame_index: Int[np.ndarray, " time"],
    points: KeypointSet,
) -> Float[np.ndarray, "steps states states"]:
    """A block of frames at a time: what is compared takes 40 kB a frame."""
    paired = np.array(points.mirror) != np.arange(len(points.names))
    orders = [order[paired] for order in _orders(points)]
    costs = [np.zeros((0, len(orders), len(orders)))]
    for first in range(0, len(keypoints) - 1, _BLOCK):
        block = slice(first, first + _BLOCK + 1)
        moved = np.stack([keypoints[block, order] for order in orders], axis=1)
        trusted = np.stack([confidence[block, order] for order in orders], axis=1)
        costs.append(_costs(moved, trusted, half_sides[block]))
    cost = np.concatenate(costs)
    return np.where((np.diff(frame_index) > _LONGEST_GAP)[:, None, None], 0.0, cost)


def _costs(
    moved: Float[np.ndarray, "time states paired 2"],
    trusted: Float[np.ndarray, "time states paired"],
    half_sides: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "steps states states"]:
    """Of the steps from one frame to the next."""
    scale = (half_sides[1:] + half_sides[:-1])[:, None, None, None] / 2
    step = np.linalg.norm(moved[1:, None] - moved[:-1, :, None], axis=-1) / scale
    weight = trusted[1:, None] * trusted[:-1, :, None]
    return (weight * np.minimum(step, _CAP)).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1.0)


def _cheapest(transitions: Float[np.ndarray, "steps states states"]) -> Int[np.ndarray, " time"]:
    swapped = _SWAPPED * (np.arange(len(STATES)) > 0)
    total, before = swapped.copy(), []
    for step in transitions:
        ways = total[:, None] + step
        before.append(ways.argmin(axis=0))
        total = ways.min(axis=0) + swapped
    states = [int(total.argmin())]
    for back in reversed(before):
        states.append(int(back[states[-1]]))
    return np.array(states[::-1])
