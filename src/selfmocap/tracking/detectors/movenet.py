"""MoveNet single pose: detect the 17 COCO keypoints of the person in the middle of a window (Google 2021).

The models see one person, so windows have to be tight: at 1.8 instead of 1.25 times the person's box, Lightning's
errors are seven times as large."""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.tracking.detectors.litert import litert_model
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window, turned_window

_INPUT_SIDE = {"lightning": 192, "thunder": 256}
"""Side of the models' inputs, px."""
_COCO: KeypointSet = keypoint_set("coco-17")
_SHOULDERS = [_COCO.index("left_shoulder"), _COCO.index("right_shoulder")]
_HIPS = [_COCO.index("left_hip"), _COCO.index("right_hip")]
MOVENET_MARGIN = 1.25
"""Side of a window over the longer side of the box around the keypoints."""
_MIN_SIDE_PX = 8.0
_MIN_TORSO_PX = 1.0
"""Length of the torso below which it has no direction."""


class MoveNet:
    """MoveNet Lightning (fast) or Thunder (slower, more exact)."""

    points: KeypointSet = _COCO

    def __init__(self, variant: Literal["lightning", "thunder"]) -> None:
        self._model, self._side = litert_model(f"movenet_{variant}"), _INPUT_SIDE[variant]

    def detect_keypoints(
        self, image: RgbImage, window: Window
    ) -> tuple[Float[np.ndarray, "17 2"], Float[np.ndarray, " 17"]]:
        """Detect the keypoints (px of the image) and their scores (in [0, 1]) of the person in a window."""
        crop = crop_window(image, window, self._side)
        rows = self._model(crop[None].astype(np.int32))["Identity"][0, 0]
        return window.to_image(rows[:, [1, 0]].astype(np.float64)), rows[:, 2]


def upright_window(keypoints: Float[np.ndarray, "17 2"]) -> Window:
    """Compute the window around COCO keypoints in which the torso is upright."""
    across, down = keypoints[_HIPS].mean(axis=0) - keypoints[_SHOULDERS].mean(axis=0)
    angle = math.atan2(-across, down) if math.hypot(across, down) > _MIN_TORSO_PX else 0.0
    return turned_window(keypoints, angle, MOVENET_MARGIN, _MIN_SIDE_PX)
