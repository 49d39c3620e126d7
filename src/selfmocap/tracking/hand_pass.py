"""Detect the hands of a tracked person: where they were in the frame before, else where the body's keypoints are."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from selfmocap.body_model.skeleton import HAND_KEYPOINTS, HAND_SIDES, KeypointSet
from selfmocap.io.prefetch import map_in_threads
from selfmocap.io.spool import Spool
from selfmocap.tracking.confidence import VISIBLE
from selfmocap.tracking.detectors.hands import MIN_HAND_PX, Hand, HandDetector, hand_size, next_window
from selfmocap.tracking.detectors.window import RgbImage

_PARTS = ("wrist", "index", "pinky")
"""The keypoints of the body at a hand: the wrist, and the bases of index and little finger."""
_WRIST = HAND_KEYPOINTS.index("wrist")
_MAX_SIZE_RATIO = 3.5
"""Size of a hand over the length of its palm in the body's keypoints, which few hands exceed."""
_MAX_WRIST_DISTANCE = 0.4
"""Distance between the wrist of a hand and that of the body, over the hand's size, up to which they are the same."""
_MIN_INSIDE = 0.5
"""Fraction of a hand's keypoints in the frame below which the hand itself is outside."""
_CERTAIN = 0.9
"""Confidence from which a followed hand is not compared with the one at the body's keypoints."""
_SAME_HAND_DISTANCE = 0.3
"""Mean distance of the keypoints of two hands, over their mean size, below which they are the same hand."""


class Hands(NamedTuple):
    """Both hands of a person in one frame, in the order of HAND_SIDES; zeros for a hand that is not detected."""

    keypoints: Float32[np.ndarray, "hands 21 2"]
    """px of the frame, in the order of HAND_KEYPOINTS."""
    positions: Float32[np.ndarray, "hands 21 3"]
    """Metres from the middle of the hand, along the image's axes: x right, y down, z away from the camera."""
    confidence: Float32[np.ndarray, " hands"]
    """Probability of a hand in the detector's window, in [0, 1]."""


class HandSpools(NamedTuple):
    """The spools of one person's hands, by the names of the fields of `Observations`."""

    hand_keypoints: Spool
    hand_positions: Spool
    hand_confidence: Spool

    def append(self, hands: Hands) -> None:
        """Append the hands of one frame."""
        for spool, row in zip(self, hands, strict=True):
            spool.append(row[None])

    def read(self, row: int) -> Hands:
        """Read the hands of one frame."""
        return Hands(*(spool.read(row, row + 1)[0] for spool in self))


def has_hand_places(points: KeypointSet) -> bool:
    """Return whether a keypoint set says where both hands are."""
    return {f"{side}_{part}" for side in HAND_SIDES for part in _PARTS} <= set(points.names)


def detect_hands(
    image: RgbImage,
    keypoints: Float[np.ndarray, "keypoints 2"],
    confidence: Float[np.ndarray, " keypoints"],
    points: KeypointSet,
    former: Hands | None,
    detector: HandDetector,
) -> Hands:
    """Detect the hands of a person, given the keypoints of the body (px) and the hands of the frame before (`former`).

    Where both are the same hand, the one whose wrist is nearer to the body's is kept."""
    indices = np.array([[points.index(f"{side}_{part}") for part in _PARTS] for side in HAND_SIDES])
    places = keypoints[indices]
    visible = confidence[indices[:, 0]] > VISIBLE

    def detect(side: int) -> Hand | None:
        if not visible[side] or _MAX_SIZE_RATIO * _palm_length(places[side]) < MIN_HAND_PX:
            return None
        followed = former.keypoints[side] if former is not None and former.confidence[side] > 0 else None
        return _detect_hand(image, places[side], followed, detector)

    hands = list(map_in_threads(detect, range(len(HAND_SIDES))))
    left, right = hands
    if left is not None and right is not None and _are_same(left, right):
        distances = [
            _wrist_distance(hand.keypoints, p) for hand, p in zip((left, right), places, strict=True)
        ]
        hands[int(np.argmax(distances))] = None
    return _stacked(hands)


def _detect_hand(
    image: RgbImage,
    place: Float[np.ndarray, "3 2"],
    former: Float32[np.ndarray, "21 2"] | None,
    detector: HandDetector,
) -> Hand | None:
    """Detect the hand at a place by its former keypoints; if that is not certain, by the place too."""
    followed = None
    if former is not None and _wrist_distance(former, place) < _MAX_WRIST_DISTANCE:
        followed = _checked(detector.detect_in_window(image, next_window(former)), place, image)
        if followed is not None and followed.confidence >= _CERTAIN:
            return followed
    found = _checked(detector.detect(image, *place), place, image)
    return max((hand for hand in (followed, found) if hand), key=lambda hand: hand.confidence, default=None)


def _checked(hand: Hand | None, place: Float[np.ndarray, "3 2"], image: RgbImage) -> Hand | None:
    """Return a hand if its wrist lies at the place, and at least half of its keypoints in the image."""
    if hand is None or _wrist_distance(hand.keypoints, place) > _MAX_WRIST_DISTANCE:
        return None
    inside = ((hand.keypoints >= 0) & (hand.keypoints < image.shape[1::-1])).all(axis=-1)
    return hand if inside.mean() >= _MIN_INSIDE else None


def _palm_length(place: Float[np.ndarray, "3 2"]) -> float:
    """Return the distance from the wrist to the farther finger base, px."""
    return float(np.linalg.norm(place[1:] - place[0], axis=-1).max())


def _wrist_distance(keypoints: Float[np.ndarray, "21 2"], place: Float[np.ndarray, "3 2"]) -> float:
    """Compute the distance between the wrists of a hand and of the body, over the hand's size."""
    return float(np.linalg.norm(keypoints[_WRIST] - place[0])) / hand_size(keypoints)


def _are_same(left: Hand, right: Hand) -> bool:
    distance = np.linalg.norm(left.keypoints - right.keypoints, axis=-1).mean()
    sizes = hand_size(left.keypoints) + hand_size(right.keypoints)
    return bool(distance < _SAME_HAND_DISTANCE * sizes / 2)


def _stacked(hands: list[Hand | None]) -> Hands:
    count = len(HAND_KEYPOINTS.names)
    keypoints, positions = np.zeros((len(hands), count, 2)), np.zeros((len(hands), count, 3))
    confidence = np.zeros(len(hands))
    for row, hand in enumerate(hands):
        if hand is not None:
            keypoints[row], positions[row], confidence[row] = hand.keypoints, hand.world, hand.confidence
    return Hands(*(array.astype(np.float32) for array in (keypoints, positions, confidence)))
