"""Find and undo left-right swaps: detectors exchange left and right for runs of frames, with high confidence."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from selfmocap.body_model.skeleton import KeypointSet

_LEGS = ("knee", "ankle", "heel", "toe", "foot")
_ARMS = ("elbow", "wrist", "pinky", "index", "thumb")

SWAP_STATES = ("as is", "all", "upper", "lower", "arms", "legs")
"""The keypoints that are swapped in a frame. Upper and lower meet above the hips; arms begin at the elbows, legs at the
knees."""

_MAX_STEP = 0.5
"""Displacement from one frame to the next at which the cost is capped, in half sides of the box."""
_SWAP_COST = 0.004
"""Cost of a swapped frame: a long swap without a jump at either end is a person who turned round."""
_FRAMES_PER_BLOCK = 256
_MAX_GAP_FRAMES = 15
"""Frames without the person after which the state may change at no cost."""


class SwapCorrection(NamedTuple):
    """Keypoints after the correction of swaps."""

    keypoints: Float[np.ndarray, "time keypoints 2"]
    confidence: Float[np.ndarray, "time keypoints"]
    states: Int[np.ndarray, " time"]
    """Index into SWAP_STATES of the swap that was undone in each frame."""


def undo_swaps(
    keypoints: Float[np.ndarray, "time keypoints 2"],
    confidence: Float[np.ndarray, "time keypoints"],
    half_sides: Float[np.ndarray, " time"],
    frame_index: Int[np.ndarray, " time"],
    points: KeypointSet,
) -> SwapCorrection:
    """Find the cheapest sequence of SWAP_STATES (Viterbi) and undo the swaps.

    The cost of a step between two frames is the mean displacement of the keypoints with a left or right twin, in half
    sides of the box (px), capped and weighted by both confidences. Each swapped frame costs a little more."""
    orders, states = _orders(points), np.zeros(len(keypoints), np.int64)
    if len(keypoints):
        states = _cheapest_states(_step_costs(keypoints, confidence, half_sides, frame_index, points))
    rows = np.arange(len(keypoints))[:, None]
    return SwapCorrection(keypoints[rows, orders[states]], confidence[rows, orders[states]], states)


def _orders(points: KeypointSet) -> Int[np.ndarray, "states keypoints"]:
    """Return the order of the keypoints in each state."""
    same, mirror = np.arange(len(points.names)), np.array(points.mirror)
    legs = np.array([any(part in name for part in _LEGS) for name in points.names])
    arms = np.array([any(part in name for part in _ARMS) for name in points.names]) & ~legs
    lower = legs | np.array(["hip" in name for name in points.names])
    swapped = (same != same, same == same, ~lower, lower, arms, legs)
    return np.stack([np.where(part, mirror, same) for part in swapped])


def _step_costs(
    keypoints: Float[np.ndarray, "time keypoints 2"],
    confidence: Float[np.ndarray, "time keypoints"],
    half_sides: Float[np.ndarray, " time"],
    frame_index: Int[np.ndarray, " time"],
    points: KeypointSet,
) -> Float[np.ndarray, "steps states states"]:
    """Compute the costs of all steps, a block of frames at a time: the comparison takes 40 kB per frame."""
    paired = np.array(points.mirror) != np.arange(len(points.names))
    orders = [order[paired] for order in _orders(points)]
    costs = [np.zeros((0, len(orders), len(orders)))]
    for first in range(0, len(keypoints) - 1, _FRAMES_PER_BLOCK):
        block = slice(first, first + _FRAMES_PER_BLOCK + 1)
        positions = np.stack([keypoints[block, order] for order in orders], axis=1)
        confidences = np.stack([confidence[block, order] for order in orders], axis=1)
        costs.append(_block_costs(positions, confidences, half_sides[block]))
    cost = np.concatenate(costs)
    return np.where((np.diff(frame_index) > _MAX_GAP_FRAMES)[:, None, None], 0.0, cost)


def _block_costs(
    positions: Float[np.ndarray, "time states paired 2"],
    confidences: Float[np.ndarray, "time states paired"],
    half_sides: Float[np.ndarray, " time"],
) -> Float[np.ndarray, "steps states states"]:
    scale = (half_sides[1:] + half_sides[:-1])[:, None, None, None] / 2
    step = np.linalg.norm(positions[1:, None] - positions[:-1, :, None], axis=-1) / scale
    weight = confidences[1:, None] * confidences[:-1, :, None]
    return (weight * np.minimum(step, _MAX_STEP)).sum(axis=-1) / np.maximum(weight.sum(axis=-1), 1.0)


def _cheapest_states(step_costs: Float[np.ndarray, "steps states states"]) -> Int[np.ndarray, " time"]:
    """Run the Viterbi algorithm."""
    state_costs = _SWAP_COST * (np.arange(len(SWAP_STATES)) > 0)
    total, predecessors = state_costs.copy(), []
    for step in step_costs:
        sums = total[:, None] + step
        predecessors.append(sums.argmin(axis=0))
        total = sums.min(axis=0) + state_costs
    states = [int(total.argmin())]
    for previous in reversed(predecessors):
        states.append(int(previous[states[-1]]))
    return np.array(states[::-1])
