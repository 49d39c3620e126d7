"""Detect the 21 keypoints of a hand (Zhang et al. 2020, arXiv:2006.10214), in the place where the body's keypoints say.

Windows follow MediaPipe 0.10.21: the wrist and two finger bases give a first window, the recrop model a better one,
and the landmark model the keypoints. In the next frame they give the window themselves."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from selfmocap.body_model.skeleton import HAND_KEYPOINTS
from selfmocap.tracking.detectors.litert import litert_model
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window, turned_window

_RECROP_SIDE, _LANDMARKER_SIDE = 256, 224
"""Sides of the models' inputs, px."""
_WRIST, _INDEX_BASE, _MIDDLE_BASE, _RING_BASE = (
    HAND_KEYPOINTS.index(name) for name in ("wrist", "index_mcp", "middle_mcp", "ring_mcp")
)
_PALM = [i for i, name in enumerate(HAND_KEYPOINTS.names) if not name.endswith(("_dip", "_tip"))]
"""Wrist, thumb without its tip, and the two lowest joints of each finger: what changes least when a hand closes."""
_POSE_SCALE, _PALM_SCALE = 2.7, 2.0
"""Sides of the windows over twice the length of the palm, and over the box around the palm."""
_SHIFT = 0.1
"""Shift of a window towards the fingers, in sides before scaling."""
_MIN_PRESENCE = 0.5
"""Probability from which a window holds a hand."""
MIN_HAND_PX = 40.0
"""Longer side of the box around a hand's keypoints below which they are wrong too often, and the least of a window."""


@dataclass(frozen=True, eq=False)
class Hand:
    """One detected hand in one frame."""

    keypoints: Float[np.ndarray, "21 2"]
    """px of the image, in the order of HAND_KEYPOINTS."""
    world: Float[np.ndarray, "21 3"]
    """Metres from the middle of the hand, along the image's axes: x right, y down, z away from the camera."""
    confidence: float
    """Probability that the window holds a hand, in [0, 1]."""
    window: Window
    """The window that the hand was detected in."""


class HandDetector:
    """MediaPipe's models of hands."""

    def __init__(self) -> None:
        self._recrop, self._landmarker = litert_model("hand_recrop"), litert_model("hand_landmark_full")

    def detect(
        self,
        image: RgbImage,
        wrist: Float[np.ndarray, " 2"],
        index: Float[np.ndarray, " 2"],
        little: Float[np.ndarray, " 2"],
    ) -> Hand | None:
        """Detect the hand at the body's keypoints of a wrist and of the bases of index and little finger (px).

        None if there is no hand, or if it is too small."""
        first = _palm_window(wrist, (2 * index + little) / 3)
        crop = crop_window(image, first, _RECROP_SIDE)
        output = self._recrop(crop[None].astype(np.float32) / np.float32(255))["output_crop"]
        center, rim = first.to_image(output.reshape(2, 2) / _RECROP_SIDE)
        return self.detect_in_window(image, _recropped_window(center, rim))

    def detect_in_window(self, image: RgbImage, window: Window) -> Hand | None:
        """Detect the hand in a window, fingers up; None if there is no hand, or if it is too small."""
        crop = crop_window(image, window, _LANDMARKER_SIDE)
        outputs = self._landmarker(crop[None].astype(np.float32) / np.float32(255))
        points = outputs["Identity"].reshape(-1, 3)[:, :2] / _LANDMARKER_SIDE
        hand = Hand(
            keypoints=window.to_image(points),
            world=_turn(outputs["Identity_3"].reshape(-1, 3), window.angle),
            confidence=float(outputs["Identity_1"][0, 0]),
            window=window,
        )
        is_large = hand_size(hand.keypoints) >= MIN_HAND_PX
        return hand if is_large and hand.confidence >= _MIN_PRESENCE else None


def hand_size(points: Float[np.ndarray, "21 2"]) -> float:
    """Return the longer side of the box around the keypoints of a hand."""
    return float(np.ptp(points, axis=0).max())


def next_window(points: Float[np.ndarray, "21 2"]) -> Window:
    """Compute the window in which to detect a hand in the next frame from its keypoints (px)."""
    fingers = (points[_INDEX_BASE] + points[_RING_BASE]) / 4 + points[_MIDDLE_BASE] / 2
    across, down = fingers - points[_WRIST]
    palm = turned_window(points[_PALM], math.atan2(across, -down), _PALM_SCALE, MIN_HAND_PX)
    return _towards_fingers(palm, _SHIFT / _PALM_SCALE)


def _turn(points: Float[np.ndarray, "21 3"], angle: float) -> Float[np.ndarray, "21 3"]:
    """Turn points from a window's axes to the image's."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return points @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]])


def _palm_window(wrist: Float[np.ndarray, " 2"], middle: Float[np.ndarray, " 2"]) -> Window:
    """Compute the first window from the wrist and the base of the middle finger."""
    across, down = middle - wrist
    side = max(_POSE_SCALE * 2 * math.hypot(across, down), MIN_HAND_PX)
    window = Window(float(middle[0]), float(middle[1]), side, math.atan2(across, -down))
    return _towards_fingers(window, _SHIFT / _POSE_SCALE)


def _recropped_window(center: Float[np.ndarray, " 2"], rim: Float[np.ndarray, " 2"]) -> Window:
    """Compute the window whose lower side has its middle at the rim, which lies towards the wrist.

    MediaPipe moves it towards the fingers; without that, the landmark model finds more hands."""
    across, down = rim - center
    side = max(2 * math.hypot(across, down), MIN_HAND_PX)
    return Window(float(center[0]), float(center[1]), side, math.atan2(-across, down))


def _towards_fingers(window: Window, shift: float) -> Window:
    """Move a window up along its own axis by a fraction of its side."""
    x, y = window.to_image(np.array([[0.5, 0.5 - shift]]))[0]
    return Window(float(x), float(y), window.side, window.angle)
