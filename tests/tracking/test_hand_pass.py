"""Hands with a scripted detector, in a frame and through a whole observation."""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from selfmocap.body_model.skeleton import HAND_KEYPOINTS, KEYPOINT_SETS
from selfmocap.io.video import Frame, open_video
from selfmocap.tracking import observe as observe_module
from selfmocap.tracking.detectors.detection import Detection, window_around
from selfmocap.tracking.detectors.hands import Hand, HandDetector, hand_size
from selfmocap.tracking.detectors.window import RgbImage, Window
from selfmocap.tracking.hand_pass import Hands, detect_hands, has_hand_places
from selfmocap.tracking.observations import Observations
from selfmocap.tracking.observe import observe
from tests.helpers.stick_figures import COCO, scene, stick
from tests.helpers.videos import write_video

BODY = KEYPOINT_SETS["mediapipe-33"]
IMAGE = np.zeros((480, 640, 3), np.uint8)
LEFT, RIGHT = (400.0, 300.0), (200.0, 300.0)
"""Wrists, px."""


def hand_at(x: float, y: float, confidence: float = 0.99, size: float = 80.0) -> Hand:
    """Return an upright hand with its wrist at a point (px)."""
    across = {"wrist": 0.0, "thumb": -0.35, "index": -0.15, "middle": 0.0, "ring": 0.15, "pinky": 0.3}
    up = {"wrist": 0.0, "cmc": 0.2, "mcp": 0.5, "ip": 0.6, "pip": 0.7, "dip": 0.85, "tip": 1.0}
    parts = [name.split("_") for name in HAND_KEYPOINTS.names]
    shape = size * np.array([[across[part[0]], -up[part[-1]]] for part in parts])
    return Hand(shape + (x, y), np.full((21, 3), 0.01), confidence, Window(x, y - size / 2, 2 * size))


def body(
    left: tuple[float, float] = LEFT, right: tuple[float, float] = RIGHT, palm: float = 40.0
) -> np.ndarray:
    """Return the keypoints of a body whose hands point upwards."""
    keypoints = np.zeros((len(BODY.names), 2))
    for side, (x, y) in (("left", left), ("right", right)):
        keypoints[BODY.index(f"{side}_wrist")] = x, y
        keypoints[BODY.index(f"{side}_index")] = x - palm / 4, y - palm
        keypoints[BODY.index(f"{side}_pinky")] = x + palm / 4, y - palm
    return keypoints


@dataclass
class ScriptedHands(HandDetector):
    """A detector that finds the nearest hand of a list within 60 px of a place or a window's centre."""

    at_places: list[Hand]
    in_windows: list[Hand]
    calls: list[str] = field(default_factory=list)

    def detect(
        self, image: RgbImage, wrist: np.ndarray, index: np.ndarray, little: np.ndarray
    ) -> Hand | None:
        self.calls.append("place")
        return nearest(self.at_places, (wrist + (index + little) / 2) / 2)

    def detect_in_window(self, image: RgbImage, window: Window) -> Hand | None:
        self.calls.append("window")
        return nearest(self.in_windows, np.array([window.x, window.y]))


def nearest(hands: list[Hand], point: np.ndarray) -> Hand | None:
    def distance(hand: Hand) -> float:
        return float(np.linalg.norm(hand.keypoints.mean(axis=0) - point))

    near = [hand for hand in hands if distance(hand) < 60]
    return min(near, key=distance, default=None)


def detect(
    detector: ScriptedHands, keypoints: np.ndarray, former: Hands | None = None, confidence: float = 0.9
) -> Hands:
    detector.calls.clear()
    return detect_hands(IMAGE, keypoints, np.full(len(BODY.names), confidence), BODY, former, detector)


def scripted(*hands: Hand) -> ScriptedHands:
    return ScriptedHands(list(hands), list(hands))


def test_a_hand_is_followed_until_it_is_hidden_and_then_found_at_its_place() -> None:
    first = detect(scripted(hand_at(*LEFT), hand_at(*RIGHT)), body())
    np.testing.assert_allclose(first.keypoints[:, 0], [LEFT, RIGHT])
    np.testing.assert_allclose(first.positions, 0.01)
    moved = scripted(hand_at(410.0, 295.0), hand_at(*RIGHT))
    second = detect(moved, body(left=(410, 295)), first)
    assert moved.calls == ["window"] * 2
    np.testing.assert_allclose(second.keypoints[0, 0], (410, 295))
    hidden = scripted(hand_at(*RIGHT))
    third = detect(hidden, body(), second)
    assert sorted(hidden.calls) == ["place", "window", "window"]
    assert third.confidence[0] == 0 and not third.keypoints[0].any() and not third.positions[0].any()
    again = scripted(hand_at(*LEFT), hand_at(*RIGHT))
    assert (detect(again, body(), third).confidence > 0.9).all()
    assert sorted(again.calls) == ["place", "window"]


def test_a_hand_does_not_follow_the_other_one() -> None:
    near = (LEFT[0] - 70, LEFT[1])
    both = detect(scripted(hand_at(*LEFT), hand_at(*near)), body(right=near))
    crossed = Hands(*(field[::-1].copy() for field in both))
    detector = scripted(hand_at(*LEFT), hand_at(*near))
    found = detect(detector, body(right=near), crossed)
    assert detector.calls == ["place"] * 2
    np.testing.assert_allclose(found.keypoints, both.keypoints)


@pytest.mark.parametrize("side", [0, 1])
def test_one_hand_at_both_wrists_belongs_to_the_nearer(side: int) -> None:
    wrists = [(400.0, 300.0), (415.0, 310.0)]
    hand = hand_at(*wrists[side])
    found = detect(scripted(hand), body(*wrists))
    assert found.confidence[side] > 0.9 and found.confidence[1 - side] == 0


def test_hands_that_touch_are_both_kept() -> None:
    right = (LEFT[0] - 40, LEFT[1])
    found = detect(scripted(hand_at(*LEFT), hand_at(*right)), body(right=right))
    np.testing.assert_allclose(found.keypoints[:, 0], [LEFT, right])


def test_the_more_certain_of_the_followed_and_the_found_hand_is_taken() -> None:
    former = detect(scripted(hand_at(*LEFT), hand_at(*RIGHT)), body())
    doubtful, better = hand_at(405.0, 300.0, confidence=0.6), hand_at(*LEFT, confidence=0.8)
    found = detect(ScriptedHands([better], [doubtful]), body(), former)
    assert found.confidence[0] == pytest.approx(0.8)
    found = detect(ScriptedHands([replace(better, confidence=0.55)], [doubtful]), body(), former)
    assert found.confidence[0] == pytest.approx(0.6)


def test_small_and_invisible_hands_cost_nothing() -> None:
    detector = scripted(hand_at(*LEFT), hand_at(*RIGHT))
    assert not detect(detector, body(palm=10)).confidence.any() and not detector.calls
    assert not detect(detector, body(), confidence=0.2).confidence.any() and not detector.calls


def test_a_hand_below_the_frame_or_far_from_the_wrist_is_none() -> None:
    below = (400.0, 540.0)
    assert hand_size(hand_at(*below).keypoints) == pytest.approx(80)
    assert not detect(scripted(hand_at(*below)), body(left=below)).confidence.any()
    assert not detect(scripted(hand_at(440.0, 300.0)), body()).confidence.any()


def test_only_sets_with_finger_bases_say_where_hands_are() -> None:
    assert {name for name, points in KEYPOINT_SETS.items() if has_hand_places(points)} == {"mediapipe-33"}


# ---- whole observations ---------------------------------------------------------------------------------------


class BodyDetector:
    """A detector of one standing person with hands."""

    name, points = "scripted", BODY

    def detect(self, frame: Frame) -> list[Detection]:
        """Return a person who walks to the right."""
        size, x, y = 150.0, 100.0 + frame.index, 60.0
        keypoints, confidence = body((x + 60, y + 80), (x - 60, y + 80), palm=15.0), np.zeros(len(BODY.names))
        for name, point in zip(COCO.names, stick(x, y, size), strict=True):
            if "wrist" not in name:
                keypoints[BODY.index(name)] = point
        confidence[[BODY.index(name) for name in COCO.names]] = 1.0
        keypoints, confidence = keypoints.astype(np.float32), confidence.astype(np.float32)
        return [Detection(keypoints, confidence, 0.99, window_around(keypoints, confidence))]


class DriftingHands(HandDetector):
    """A detector whose followed hands depend on all frames since they were found; the right one is absent at times."""

    def __init__(self) -> None:
        pass

    def detect(
        self, image: RgbImage, wrist: np.ndarray, index: np.ndarray, little: np.ndarray
    ) -> Hand | None:
        return hand_at(*map(float, wrist), size=44.0) if wrist[0] > 50 else None

    def detect_in_window(self, image: RgbImage, window: Window) -> Hand | None:
        return hand_at(window.x, window.y + 19.0, size=44.0)


def test_hands_of_a_video_are_stored_counted_drawn_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observe_module, "create_detector", lambda *_: BodyDetector())
    monkeypatch.setattr(observe_module, "HandDetector", DriftingHands)
    video = write_video(tmp_path / "video.mp4", [scene({})] * 24)

    def interrupt(stage: str, done: int, total: int) -> None:
        if (stage, done) == ("crops, masks and flow", 18):
            raise KeyboardInterrupt

    (path,) = observe(video, tmp_path / "whole")
    whole = Observations.load(path)
    with pytest.raises(KeyboardInterrupt):
        observe(video, tmp_path / "resumed", progress=interrupt)
    (path,) = observe(video, tmp_path / "resumed")
    resumed = Observations.load(path)
    for name in ("hand_keypoints", "hand_positions", "hand_confidence"):
        assert getattr(whole, name).equal(getattr(resumed, name)), name
    counts = (whole.hand_confidence > 0).sum(dim=0).tolist()
    assert counts[0] == 24 and 0 < counts[1] < 24
    offset = whole.hand_keypoints[:, 0, 0, 0] - whole.keypoints[:, BODY.index("left_wrist"), 0]
    assert offset[0] == 0 and (offset != 0).sum() > 12, "following is not finding again"
    (person,) = json.loads((tmp_path / "whole" / "observations.json").read_text())["people"]
    assert person["hand_frames"] == {"left": counts[0], "right": counts[1]}
    drawn = list(open_video(tmp_path / "whole" / "observations.mp4").frames())[5].image
    left, top = whole.hand_keypoints[5, 0].min(dim=0).values.int().tolist()
    patch = drawn[top : top + 30, left : left + 25].astype(int)
    assert (patch[..., 0] - patch[..., 2] > 50).any(), "bones of the left hand are yellow"
