"""BlazePose heavy, MoveNet, NanoDet and the hands' models: golden outputs on real images, and the laws of windows."""

import math
from importlib.resources import files
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from selfmocap.io.video import open_video
from selfmocap.tracking.detectors.blazepose import mask_bytes
from selfmocap.tracking.detectors.hands import Hand, HandDetector, next_window
from selfmocap.tracking.detectors.litert import interleave
from selfmocap.tracking.detectors.movenet import MoveNet, upright_window
from selfmocap.tracking.detectors.nanodet import NanoDet
from selfmocap.tracking.detectors.pose_landmarks import PoseLandmarker
from selfmocap.tracking.detectors.window import RgbImage, Window, box_overlap
from tests.conftest import SHARED_DATA

CLIPS = SHARED_DATA / "clips"
GOLDEN = Path(__file__).with_name("models_golden.npz")
ROIS = Path(__file__).with_name("mediapipe_golden.npz")
Variant = Literal["lightning", "thunder"]

needs_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="needs the real clips of ../shared/data/clips")
both_variants = pytest.mark.parametrize("variant", ["lightning", "thunder"])


def golden(name: str) -> np.ndarray:
    with np.load(GOLDEN) as arrays:
        return arrays[name]


def first_frame(clip: str) -> RgbImage:
    return next(open_video(CLIPS / clip).frames()).image


def quarter_turn(image: RgbImage, window: Window) -> tuple[RgbImage, Window]:
    """Turn an image and a window clockwise."""
    turned = Window(image.shape[0] - 1 - window.y, window.x, window.side, window.angle + math.pi / 2)
    return np.ascontiguousarray(np.rot90(image, -1)), turned


def quarter_turned(points: np.ndarray, height: int) -> np.ndarray:
    return np.stack([height - 1 - points[:, 1], points[:, 0]], axis=-1)


# ---- assets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 10, 11])
def test_interleaving_restores_the_bytes(size: int) -> None:
    content = bytes(range(size))
    assert interleave(content[::2] + content[1::2]) == content


def test_every_model_is_smaller_than_25_mb_and_has_a_licence() -> None:
    folder = Path(str(files("selfmocap") / "assets" / "detectors"))
    assets = sorted(folder.glob("*.planes.gz"))
    licences = "\n".join(path.read_text() for path in folder.glob("LICENSE-*"))
    assert len(assets) == 8
    for path in assets:
        assert path.stat().st_size < 25_000_000
        assert path.name.removesuffix(".planes.gz") in licences


# ---- BlazePose heavy ------------------------------------------------------------------------------------------


@needs_clips
@pytest.mark.parametrize("clip", ["sam2_dog", "ibm_basketball"])
def test_heavy_equals_mediapipe_with_the_same_model(clip: str) -> None:
    """The golden file holds what the graph of MediaPipe 0.10.21 returned with the heavy model."""
    with np.load(ROIS) as arrays:
        roi = Window(*map(float, arrays[f"{clip} rois"][0]))
    found = PoseLandmarker("heavy").detect_landmarks(first_frame(f"{clip}.mp4"), roi)
    distance_px = np.linalg.norm(found.keypoints - golden(f"heavy {clip} keypoints")[0], axis=-1)
    assert np.median(distance_px) < 0.05 and distance_px.max() < 2
    expected = golden(f"heavy {clip} confidence")[0]
    known = (expected > 0) & (
        np.abs(expected - 0.8) > 1e-6
    )  # 0 outside the image, at most 0.8 for the torso.
    assert np.allclose(found.visibility[known], expected[known], atol=0.02)
    assert found.score == pytest.approx(golden(f"heavy {clip} scores")[0], abs=1e-3)
    assert np.abs(mask_bytes(found.mask).astype(float) - golden(f"heavy {clip} masks")[0]).mean() < 0.2


# ---- MoveNet --------------------------------------------------------------------------------------------------


@needs_clips
@both_variants
def test_movenet_returns_the_golden_keypoints(variant: Variant) -> None:
    window = Window(*map(float, golden(f"movenet {variant} window")))
    keypoints, scores = MoveNet(variant).detect_keypoints(first_frame("sam2_dog.mp4"), window)
    expected = golden(f"movenet {variant} scores")
    assert np.allclose(scores, expected, atol=0.01)
    distance_px = np.linalg.norm(keypoints - golden(f"movenet {variant} keypoints"), axis=-1)
    assert distance_px[expected > 0.5].max() < 0.5


@needs_clips
@both_variants
def test_movenet_turns_with_the_image(variant: Variant) -> None:
    image = first_frame("sam2_dog.mp4")
    window = Window(*map(float, golden(f"movenet {variant} window")))
    model = MoveNet(variant)
    keypoints, scores = model.detect_keypoints(image, window)
    turned, turned_scores = model.detect_keypoints(*quarter_turn(image, window))
    distance_px = np.linalg.norm(turned - quarter_turned(keypoints, image.shape[0]), axis=-1)
    assert distance_px[scores > 0.5].max() < 0.02 * window.side
    assert np.allclose(turned_scores, scores, atol=0.1)


def test_the_torso_is_upright_in_its_window() -> None:
    standing = np.random.default_rng(0).uniform(0, 100, (17, 2))
    standing[[5, 6]], standing[[11, 12]] = [[40, 20], [60, 20]], [[45, 60], [55, 60]]
    upright = upright_window(standing)
    assert upright.angle == 0 and upright.side == pytest.approx(1.25 * np.ptp(standing, axis=0).max())
    for angle in (0.5, -2.0, 3.0):
        axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        window = upright_window(standing @ axes)
        center = np.array([upright.x, upright.y]) @ axes
        assert np.allclose([window.x, window.y, window.side, window.angle], [*center, upright.side, angle])


def test_a_window_without_a_torso_is_neither_turned_nor_empty() -> None:
    window = upright_window(np.full((17, 2), 5.0))
    assert (window.x, window.y, window.angle) == (5, 5, 0) and window.side >= 1


# ---- NanoDet --------------------------------------------------------------------------------------------------


@needs_clips
def test_nanodet_returns_the_golden_boxes() -> None:
    boxes, scores = NanoDet().detect_people(first_frame("ibm_basketball.mp4"), None, 0.53)
    assert np.allclose(boxes, golden("nanodet boxes")[:3], atol=1.0)
    assert np.allclose(scores, golden("nanodet scores")[:3], atol=0.01)


@needs_clips
def test_a_region_gives_the_boxes_of_the_image_that_it_shows() -> None:
    image = first_frame("ibm_basketball.mp4")
    side = min(image.shape[:2])
    shown = np.ascontiguousarray(image[:side, 100 : 100 + side])
    model = NanoDet()
    boxes, scores = model.detect_people(shown, None, 0.3)
    region = Window(100 + (side - 1) / 2, (side - 1) / 2, float(side))
    found, found_scores = model.detect_people(image, region, 0.3)
    assert np.allclose(found[:3] - [100, 0, 100, 0], boxes[:3], atol=0.1)
    assert np.allclose(found_scores[:3], scores[:3], atol=1e-3)


@needs_clips
def test_the_best_person_of_an_image_is_found_in_a_region_around_them() -> None:
    image = first_frame("ibm_basketball.mp4")
    model = NanoDet()
    best = model.detect_people(image, None, 0.5)[0][0]
    region = Window(float(best[0] + best[2]) / 2, float(best[1] + best[3]) / 2, 250.0)
    assert box_overlap(best, model.detect_people(image, region, 0.5)[0]).max() > 0.7


def test_nobody_is_found_in_a_grey_image() -> None:
    boxes, scores = NanoDet().detect_people(np.full((90, 160, 3), 110, np.uint8), None, 0.2)
    assert boxes.shape == (0, 4) and scores.shape == (0,)


# ---- hands ----------------------------------------------------------------------------------------------------


def golden_hand(image: RgbImage, number: int) -> tuple[Window, Hand]:
    window = Window(*map(float, golden("hands windows")[number]))
    hand = HandDetector().detect_in_window(image, window)
    assert hand is not None
    return window, hand


@needs_clips
@pytest.mark.parametrize("number", [0, 1])
def test_hands_equal_those_of_mediapipe(number: int) -> None:
    """The golden file holds what MediaPipe 0.10.21's graph HandLandmarkCpu returned for the same crop."""
    _, hand = golden_hand(first_frame("intel_asl_walk.mkv"), number)
    assert np.abs(hand.keypoints - golden("hands keypoints")[number]).max() < 0.1
    assert np.abs(hand.world - golden("hands world")[number]).max() < 1e-3


@needs_clips
@pytest.mark.parametrize("number", [0, 1])
def test_the_body_says_where_hands_are(number: int) -> None:
    image = first_frame("intel_asl_walk.mkv")
    wrist, index, little = golden("hands places")[number]
    hand = HandDetector().detect(image, wrist, index, little)
    assert hand is not None
    size = np.ptp(hand.keypoints, axis=0).max()
    assert (
        np.median(np.linalg.norm(hand.keypoints - golden("hands keypoints")[number], axis=-1)) < 0.05 * size
    )
    assert np.linalg.norm(hand.keypoints[0] - wrist) < 0.3 * size


@needs_clips
def test_a_hand_turns_with_the_image() -> None:
    image = first_frame("intel_asl_walk.mkv")
    window, hand = golden_hand(image, 0)
    turned = HandDetector().detect_in_window(*quarter_turn(image, window))
    assert turned is not None
    distance_px = np.linalg.norm(turned.keypoints - quarter_turned(hand.keypoints, image.shape[0]), axis=-1)
    assert distance_px.max() < 0.05 * window.side
    axes = np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    assert np.abs(turned.world - hand.world @ axes).max() < 0.01


@needs_clips
@pytest.mark.parametrize("number", [0, 1])
def test_a_hand_is_found_again_in_its_own_window(number: int) -> None:
    image = first_frame("intel_asl_walk.mkv")
    window, hand = golden_hand(image, number)
    detector = HandDetector()
    for _ in range(5):
        again = detector.detect_in_window(image, next_window(hand.keypoints))
        assert again is not None
        hand = again
    size = np.ptp(hand.keypoints, axis=0).max()
    assert np.median(np.linalg.norm(hand.keypoints - golden("hands keypoints")[number], axis=-1)) < 0.1 * size
    assert 0.7 < hand.window.side / window.side < 1.4


def test_the_next_window_turns_and_moves_with_the_hand() -> None:
    keypoints = np.zeros((21, 2))
    keypoints[:, 1] = -np.linspace(0, 80, 21)
    keypoints[[5, 9, 13, 17], 0] = [-20, -5, 5, 20]
    keypoints[[5, 9, 13, 17], 1] = -50
    window = next_window(keypoints)
    assert abs(window.angle) < 0.2 and window.y < -25
    axes = np.array([[0.0, 1.0], [-1.0, 0.0]])
    turned = next_window(keypoints @ axes)
    assert turned.angle - window.angle == pytest.approx(math.pi / 2)
    assert np.allclose([turned.x, turned.y], np.array([window.x, window.y]) @ axes)
    assert turned.side == pytest.approx(window.side)


def test_there_is_no_hand_in_a_grey_image() -> None:
    image = np.full((200, 200, 3), 120, np.uint8)
    wrist, index, little = np.array([[100.0, 120.0], [90.0, 90.0], [110.0, 90.0]])
    assert HandDetector().detect(image, wrist, index, little) is None
