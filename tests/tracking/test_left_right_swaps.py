"""Left-right swaps: swapped runs are found, undone and nothing else is changed."""

import tracemalloc

import numpy as np
import pytest

from selfmocap.body_model.skeleton import KEYPOINT_SETS, KeypointSet
from selfmocap.tracking import left_right_swaps
from selfmocap.tracking.left_right_swaps import SWAP_STATES, undo_swaps

SETS = [KEYPOINT_SETS[name] for name in ("mediapipe-33", "coco-17", "body-25")]


def walk(points: KeypointSet, frames: int = 120, seed: int = 0) -> np.ndarray:
    """Return keypoints of a person who moves through the image with swinging limbs, left and right apart."""
    rng = np.random.default_rng(seed)
    names = points.names
    base = rng.uniform(-40, 40, (len(names), 2))
    base[:, 0] += [30 * (("left" in name) - ("right" in name)) for name in names]
    phase = rng.uniform(0, 6, (len(names), 2))
    time = np.arange(frames)[:, None, None]
    swing = 12 * np.sin(2 * np.pi * time / 30 + phase)
    path = np.stack([200 + 1.5 * np.arange(frames), 150 + 10 * np.sin(np.arange(frames) / 20)], axis=-1)
    return base + swing + path[:, None] + rng.normal(0, 1.0, (frames, len(names), 2))


def with_swaps(keypoints: np.ndarray, points: KeypointSet, states: np.ndarray) -> np.ndarray:
    """Swap left and right in each frame as its state says."""
    legs, arms = ("knee", "ankle", "heel", "toe", "foot"), ("elbow", "wrist", "pinky", "thumb", "hand_index")
    out = keypoints.copy()
    for frame, state in enumerate(states):
        for index, name in enumerate(points.names):
            is_leg = any(part in name for part in legs)
            is_arm = any(part in name for part in arms) or name in ("left_index", "right_index")
            is_low = is_leg or "hip" in name
            if (True, not is_low, is_low, is_arm, is_leg)[state - 1] and state:
                out[frame, index] = keypoints[frame, points.mirror[index]]
    return out


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
@pytest.mark.parametrize("seed", range(3))
def test_undo_swaps_restores_swapped_runs(points: KeypointSet, seed: int) -> None:
    truth = walk(points, seed=seed)
    states = np.zeros(len(truth), np.int64)
    states[10:14], states[30], states[50:72], states[90:95], states[95:99] = 1, 2, 1, 3, 2
    states[104:107], states[110:113] = 4, 5
    detected = with_swaps(truth, points, states)
    confidence = np.full(detected.shape[:2], 0.9)
    result = undo_swaps(detected, confidence, np.full(len(detected), 80.0), np.arange(len(detected)), points)
    np.testing.assert_array_equal(result.states, states)
    np.testing.assert_allclose(result.keypoints, truth)


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
def test_clean_keypoints_stay_and_confidence_moves_with_its_keypoint(
    points: KeypointSet,
) -> None:
    truth = walk(points)
    confidence = np.random.default_rng(1).uniform(0.2, 1, truth.shape[:2])
    sides, frames = np.full(len(truth), 80.0), np.arange(len(truth))
    clean = undo_swaps(truth, confidence, sides, frames, points)
    assert not clean.states.any()
    states = np.zeros(len(truth), np.int64)
    states[40:60] = SWAP_STATES.index("all")
    mirrored = np.where((states == 1)[:, None], confidence[:, list(points.mirror)], confidence)
    result = undo_swaps(with_swaps(truth, points, states), mirrored, sides, frames, points)
    np.testing.assert_allclose(result.confidence, confidence)


def test_states_are_independent_across_a_long_gap() -> None:
    points = KEYPOINT_SETS["coco-17"]
    truth = walk(points, 60)
    states = np.repeat([0, 1], 30)
    frames = np.concatenate([np.arange(30), np.arange(30) + 500])
    detected = with_swaps(truth, points, states)
    result = undo_swaps(detected, np.ones(detected.shape[:2]), np.full(60, 80.0), frames, points)
    assert not result.states.any()
    alone = undo_swaps(detected[:1], np.ones((1, 17)), np.full(1, 80.0), frames[:1], points)
    np.testing.assert_allclose(alone.keypoints, detected[:1])


def test_blocks_give_the_same_result_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded by the size of a block, not by the length of the video."""
    points = KEYPOINT_SETS["mediapipe-33"]
    detected = with_swaps(walk(points), points, np.repeat([0, 1, 0, 4], 30))
    rest = (np.full(detected.shape[:2], 0.9), np.full(len(detected), 80.0), np.arange(len(detected)), points)
    whole = undo_swaps(detected, *rest)
    for block in (1, 7, len(detected) - 1):
        monkeypatch.setattr(left_right_swaps, "_FRAMES_PER_BLOCK", block)
        for of_blocks, of_all in zip(undo_swaps(detected, *rest), whole, strict=True):
            np.testing.assert_array_equal(of_blocks, of_all)
    monkeypatch.undo()
    long = walk(points, 6000)
    tracemalloc.start()
    undo_swaps(
        long, *(np.resize(part, (6000, *part.shape[1:])) for part in rest[:2]), np.arange(6000), points
    )
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6000 * 5000
