"""Windows, swaps, boxes, masks, flow and spools: each against what can be known by hand."""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from selfmocap.body_model.skeleton import KEYPOINT_SETS, KeypointSet
from selfmocap.geometry.camera import to_crop
from selfmocap.io.spool import Spool, write_npz_from_spools
from selfmocap.tracking import left_right_swaps
from selfmocap.tracking.crop_boxes import MARGIN, boxes
from selfmocap.tracking.detectors.detection import MASK_SIDE, Pose
from selfmocap.tracking.detectors.mediapipe import believed
from selfmocap.tracking.detectors.registry import detector_named
from selfmocap.tracking.detectors.window import Window, cut
from selfmocap.tracking.left_right_swaps import STATES, undo_swaps
from selfmocap.tracking.masks import EDGE, box_window, own_mask
from selfmocap.tracking.optical_flow import crop_flow, dis, raft, warped

SETS = [KEYPOINT_SETS[name] for name in ("mediapipe-33", "coco-17", "body-25")]


# ---- windows --------------------------------------------------------------------------------------------------


def test_a_window_there_and_back_is_the_identity() -> None:
    window = Window(300.0, 200.0, 150.0, angle=0.7)
    points = np.random.default_rng(0).uniform(0, 1, (20, 2))
    matrix = window.matrix(256)
    pixels = window.to_image(points) @ matrix[:, :2].T + matrix[:, 2]
    np.testing.assert_allclose((pixels + 0.5) / 256, points, atol=1e-9)


def test_a_window_agrees_with_the_camera_modules_crop() -> None:
    import torch

    box = np.array([310.0, 205.0, 80.0], np.float32)
    matrix = box_window(box).matrix(128)
    points = np.random.default_rng(0).uniform(200, 400, (20, 2))
    expected = to_crop(torch.from_numpy(points), torch.from_numpy(box).double())
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], expected.numpy(), atol=1e-6)


@pytest.mark.parametrize("side", [32.0, 100.0, 700.0])
def test_a_cut_keeps_colours_and_is_black_outside(side: float) -> None:
    image = np.full((300, 400, 3), (200, 90, 10), np.uint8)
    inside = cut(image, Window(200.0, 150.0, min(side, 200.0)), 64)
    assert (inside == (200, 90, 10)).all()
    outside = cut(image, Window(-3 * side, 150.0, side), 64)
    assert not outside.any()


# ---- left and right -------------------------------------------------------------------------------------------


def walk(points: KeypointSet, frames: int = 120, seed: int = 0) -> np.ndarray:
    """Keypoints of somebody who moves through the image, limbs swinging, left apart from right."""
    rng = np.random.default_rng(seed)
    names = points.names
    base = rng.uniform(-40, 40, (len(names), 2))
    base[:, 0] += [30 * (("left" in name) - ("right" in name)) for name in names]
    phase = rng.uniform(0, 6, (len(names), 2))
    time = np.arange(frames)[:, None, None]
    swing = 12 * np.sin(2 * np.pi * time / 30 + phase)
    path = np.stack([200 + 1.5 * np.arange(frames), 150 + 10 * np.sin(np.arange(frames) / 20)], axis=-1)
    return base + swing + path[:, None] + rng.normal(0, 1.0, (frames, len(names), 2))


def swapped(keypoints: np.ndarray, points: KeypointSet, states: np.ndarray) -> np.ndarray:
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
def test_swapped_runs_are_found_and_undone(points: KeypointSet, seed: int) -> None:
    truth = walk(points, seed=seed)
    states = np.zeros(len(truth), np.int64)
    states[10:14], states[30], states[50:72], states[90:95], states[95:99] = 1, 2, 1, 3, 2
    states[104:107], states[110:113] = 4, 5
    seen = swapped(truth, points, states)
    confidence = np.full(seen.shape[:2], 0.9)
    result = undo_swaps(seen, confidence, np.full(len(seen), 80.0), np.arange(len(seen)), points)
    np.testing.assert_array_equal(result.states, states)
    np.testing.assert_allclose(result.keypoints, truth)


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
def test_nothing_is_swapped_where_nothing_was_and_confidence_moves_with_its_keypoint(
    points: KeypointSet,
) -> None:
    truth = walk(points)
    confidence = np.random.default_rng(1).uniform(0.2, 1, truth.shape[:2])
    sides, frames = np.full(len(truth), 80.0), np.arange(len(truth))
    clean = undo_swaps(truth, confidence, sides, frames, points)
    assert not clean.states.any()
    states = np.zeros(len(truth), np.int64)
    states[40:60] = STATES.index("all")
    mirrored = np.where((states == 1)[:, None], confidence[:, list(points.mirror)], confidence)
    result = undo_swaps(swapped(truth, points, states), mirrored, sides, frames, points)
    np.testing.assert_allclose(result.confidence, confidence)


def test_after_a_long_gap_nothing_is_assumed() -> None:
    points = KEYPOINT_SETS["coco-17"]
    truth = walk(points, 60)
    states = np.repeat([0, 1], 30)
    frames = np.concatenate([np.arange(30), np.arange(30) + 500])
    seen = swapped(truth, points, states)
    result = undo_swaps(seen, np.ones(seen.shape[:2]), np.full(60, 80.0), frames, points)
    assert not result.states.any()
    alone = undo_swaps(seen[:1], np.ones((1, 17)), np.full(1, 80.0), frames[:1], points)
    np.testing.assert_allclose(alone.keypoints, seen[:1])


def test_swaps_are_compared_a_block_at_a_time_and_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes of a video must not take more memory than a few seconds of it."""
    points = KEYPOINT_SETS["mediapipe-33"]
    seen = swapped(walk(points), points, np.repeat([0, 1, 0, 4], 30))
    rest = (np.full(seen.shape[:2], 0.9), np.full(len(seen), 80.0), np.arange(len(seen)), points)
    whole = undo_swaps(seen, *rest)
    for block in (1, 7, len(seen) - 1):
        monkeypatch.setattr(left_right_swaps, "_BLOCK", block)
        for of_blocks, of_all in zip(undo_swaps(seen, *rest), whole, strict=True):
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


# ---- boxes ----------------------------------------------------------------------------------------------------


def test_a_still_persons_box_is_known_and_an_outlier_is_smoothed_away() -> None:
    corners = np.array([[100.0, 50.0], [140.0, 250.0], [90.0, 150.0]])
    keypoints = np.repeat(corners[None], 40, axis=0)
    confidence = np.ones((40, 3))
    keypoints[20, 0] = (1000.0, 1000.0)
    found = boxes(keypoints, confidence, np.arange(40))
    np.testing.assert_allclose(found, np.tile([115.0, 150.0, MARGIN * 100.0], (40, 1)), rtol=1e-5)


def test_unseen_keypoints_do_not_widen_the_box_and_gaps_split_the_smoothing() -> None:
    keypoints = np.zeros((40, 3, 2))
    keypoints[:, 1] = (50.0, 100.0)
    keypoints[:, 2] = (0.0, 5000.0)
    confidence = np.tile([1.0, 1.0, 0.1], (40, 1))
    keypoints[20:] += 300.0
    frames = np.concatenate([np.arange(20), np.arange(20) + 100])
    found = boxes(keypoints, confidence, frames)
    np.testing.assert_allclose(found[:20], np.tile([25, 50, 60], (20, 1)), rtol=1e-5)
    np.testing.assert_allclose(found[20:], np.tile([325, 350, 60], (20, 1)), rtol=1e-5)
    confidence[5] = 0.0
    np.testing.assert_allclose(boxes(keypoints, confidence, frames), found, rtol=1e-5)


# ---- masks and confidence -------------------------------------------------------------------------------------


def disc(x: float, y: float, strength: int) -> Pose:
    """Somebody round, of radius 40 px, in a window of 160 px."""
    rows, columns = np.mgrid[:MASK_SIDE, :MASK_SIDE] - (MASK_SIDE - 1) / 2
    inside = np.hypot(rows, columns) * 160 / MASK_SIDE < 40
    window = Window(x, y, 160.0)
    nothing = np.zeros((33, 2), np.float32)
    return Pose(nothing, nothing[:, 0], 1.0, window, inside.astype(np.uint8) * np.uint8(strength), window)


def test_where_two_people_overlap_each_pixel_has_one_owner_and_is_uncertain() -> None:
    near, far = disc(200.0, 200.0, 250), disc(230.0, 200.0, 180)
    box = np.array([215.0, 200.0, 128.0], np.float32)
    first, first_certain = own_mask(near, [far], box, 640, 480)
    second, second_certain = own_mask(far, [near], box, 640, 480)
    assert not (first & second).any()
    alone, alone_certain = own_mask(near, [], box, 640, 480)
    assert alone.sum() == pytest.approx(np.pi * 40**2 / 4, rel=0.03)
    assert first.sum() > 0.95 * alone.sum()
    assert 0 < second.sum() < 0.75 * alone.sum()
    shared = alone & own_mask(far, [], box, 640, 480)[0]
    assert not (first_certain & shared).any() and not (second_certain & shared).any()
    rows, columns = np.nonzero(alone & ~alone_certain)
    radius = np.hypot(columns - 56.0, rows - 63.5)
    assert abs(radius - 20).max() < EDGE + 1.5


def test_outside_the_frame_there_is_no_mask_and_no_certainty() -> None:
    box = np.array([0.0, 100.0, 128.0], np.float32)
    mask, certain = own_mask(disc(0.0, 100.0, 255), [], box, 640, 480)
    assert mask[:, 65:].any() and not mask[:, :63].any() and not certain[:, :63].any()


def test_what_is_believed_of_keypoints() -> None:
    points = KEYPOINT_SETS["coco-17"]
    keypoints = np.full((17, 2), 50.0)
    keypoints[points.index("left_ankle")] = (50.0, 101.0)
    seen = believed(keypoints, np.full(17, 0.97), width=100, height=100, points=points)
    assert seen[points.index("left_ankle")] == 0
    assert seen[points.index("left_hip")] < seen[points.index("left_knee")] == pytest.approx(0.97)


# ---- flow -----------------------------------------------------------------------------------------------------


def texture(side: int, seed: int = 0) -> np.ndarray:
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (side // 4, side // 4, 3)).astype(np.float32)
    return (
        cv2.GaussianBlur(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), (0, 0), 1.5)
        .clip(0, 255)
        .astype(np.uint8)
    )


@pytest.mark.parametrize("shift", [(1.0, 0.0), (6.0, -3.0), (-10.0, 8.0)])
def test_flow_of_a_shifted_picture_is_the_shift(shift: tuple[float, float]) -> None:
    """I0(x) = I1(x + F): what was at x is now at x + shift."""
    big = texture(300)
    before = cut(big, Window(149.5, 149.5, 192.0), 192)
    after = cut(big, Window(149.5 - shift[0], 149.5 - shift[1], 192.0), 192)
    found = crop_flow(before, after, dis)
    inner = found.flow[20:-20, 20:-20]
    error = np.linalg.norm(inner - np.array(shift) * 128 / 192, axis=-1)
    assert error.mean() < 0.25
    assert found.confidence[20:-20, 20:-20].mean() > 0.8
    assert found.error < 0.3 * found.still_error
    assert np.abs(warped(after, dis(before, after)).astype(int) - before)[20:-20, 20:-20].mean() < 4


def test_flow_into_another_picture_is_not_believed() -> None:
    found = crop_flow(texture(192, seed=1), texture(192, seed=2), dis)
    assert found.confidence.mean() < 0.4
    assert 0 <= found.confidence.min() and found.confidence.max() <= 1


# ---- spools ---------------------------------------------------------------------------------------------------


def test_a_spool_survives_half_a_row_and_streams_into_an_npz(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 255, (200, 5, 3), dtype=np.uint8)
    spool = Spool(tmp_path / "a", (5, 3), np.uint8)
    spool.append(rows[:150])
    with (tmp_path / "a").open("ab") as file:
        file.write(b"half")
    again = Spool(tmp_path / "a", (5, 3), np.uint8)
    again.cut(140)
    again.append(rows[140:])
    np.testing.assert_array_equal(again.read(130, 160), rows[130:160])
    write_npz_from_spools(tmp_path / "a.npz", {"name": "x", "n": np.arange(3)}, {"rows": again})
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        np.testing.assert_array_equal(loaded["rows"], rows)
        assert str(loaded["name"]) == "x"


# ---- what is optional -----------------------------------------------------------------------------------------


def test_missing_backends_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models.optical_flow", None)
    with pytest.raises(ImportError, match="pip install --no-deps rtmlib"):
        detector_named("rtmpose")
    with pytest.raises(ImportError, match="pip install torchvision"):
        raft()
    with pytest.raises(ValueError, match="expected 'mediapipe'"):
        detector_named("yolo")
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(ImportError, match="opencv-contrib-python-headless"):
        detector_named("mediapipe")
