"""The probability that a detected keypoint lies within 5 % of its person's size of the true one, from models' scores.

Logistic regressions, one for each kind of keypoint (left and right share it), that
`scripts/fit_keypoint_confidence.py` fits to synthetic people. The strongest input is the distance of two models: those
that agree are mostly right."""

import functools
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import numpy as np
from jaxtyping import Float

from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.tracking.detectors.window import Window

BLAZEPOSE, MOVENET = keypoint_set("mediapipe-33"), keypoint_set("coco-17")
SHARED = [BLAZEPOSE.index(name) for name in MOVENET.names]
"""Keypoints of BlazePose that MoveNet detects as well, in MoveNet's order."""
OWN = [n for n in range(len(BLAZEPOSE.names)) if n not in SHARED]
"""Keypoints that only BlazePose detects."""
TORSO_OF_WINDOW = 0.2
"""Length of a torso over the side of its person's window."""
CALIBRATION_FILE = "keypoint_confidence.json"

CalibrationName = Literal["full", "heavy", "fast", "balanced", "best"]
"""BlazePose's two models alone, and the ensemble's three pairs of models."""
_MIN_PROBABILITY = 1e-3
_MIN_CONFIDENCE = 0.1
"""Confidence below which nothing is known of a keypoint. Legs below the frame get 0.03 to 0.1; networks that take them
for weak detections give motions that jitter 1.9 times as much."""
_LARGE_WINDOW_PX = 256.0
"""Side of a window from which larger people are detected no better: the models' input."""
_MIN_DISTANCE = 0.02
"""Added to distances before their logarithm, torso lengths."""


@dataclass(frozen=True, eq=False)
class KeypointCalibration:
    """Weights of the regressions: columns are features, the last one is 1."""

    blazepose: Float[np.ndarray, "keypoints features"]
    """Of BlazePose's position: of the shared keypoints in a pair of models, of all keypoints alone."""
    movenet: Float[np.ndarray, "17 features"] | None = None
    """Of MoveNet's position."""
    own: Float[np.ndarray, "16 4"] | None = None
    """Of the keypoints that only BlazePose detects, beside MoveNet."""


@functools.cache
def keypoint_calibration(name: CalibrationName) -> KeypointCalibration:
    """Load the calibration of a detector, which the package holds."""
    content = (files("selfmocap") / "assets" / "detectors" / CALIBRATION_FILE).read_text()
    return calibration_of_kinds(json.loads(content)[name])


def calibration_of_kinds(weights: dict[str, dict[str, list[float]]]) -> KeypointCalibration:
    """Give each keypoint the weights of its kind, for each regression of a detector."""
    names = {"movenet": list(MOVENET.names), "own": [BLAZEPOSE.names[n] for n in OWN]}
    names["blazepose"] = names["movenet"] if "movenet" in weights else list(BLAZEPOSE.names)
    return KeypointCalibration(**{
        model: np.array([kinds[kind_of(name)] for name in names[model]]) for model, kinds in weights.items()
    })  # fmt: skip


def kind_of(name: str) -> str:
    """Return a keypoint's name without its side."""
    return "_".join(word for word in name.split("_") if word not in ("left", "right"))


def single_features(visibility: Float[np.ndarray, " n"], window: Window) -> Float[np.ndarray, "n 3"]:
    """Compute the features of one model's keypoints in a person's window."""
    return _columns(_logit(visibility), _resolution(window))


def own_features(
    visibility: Float[np.ndarray, " n"], anchor: Float[np.ndarray, " n"], window: Window
) -> Float[np.ndarray, "n 4"]:
    """Compute the features of the keypoints that only BlazePose detects. `anchor` is the confidence of the joint that
    each belongs to."""
    return _columns(_logit(visibility), _logit(anchor), _resolution(window))


def pair_features(
    visibility: Float[np.ndarray, " n"],
    score: Float[np.ndarray, " n"],
    distance: Float[np.ndarray, " n"],
    window: Window,
) -> Float[np.ndarray, "n 7"]:
    """Compute the features of keypoints that two models detect, `distance` torso lengths apart."""
    a, b, far = _logit(visibility), _logit(score), np.log(distance + _MIN_DISTANCE)
    return _columns(a, b, far, a * far, b * far, _resolution(window))


def probability(
    weights: Float[np.ndarray, "n features"], features: Float[np.ndarray, "n features"]
) -> Float[np.ndarray, " n"]:
    """Compute the regressions' probabilities."""
    return 1 / (1 + np.exp(-(weights * features).sum(axis=-1).clip(-30, 30)))


def known_confidence(
    keypoints: Float[np.ndarray, "n 2"], confidence: Float[np.ndarray, " n"], shape: tuple[int, ...]
) -> Float[np.ndarray, " n"]:
    """Set confidence to 0 outside an image of `shape` (height, width, ...) and below a tenth: models give positions to
    what they do not see, too."""
    height, width = shape[:2]
    inside = ((keypoints >= -0.5) & (keypoints <= np.array([width, height]) - 0.5)).all(axis=-1)
    return np.where(inside & (confidence >= _MIN_CONFIDENCE), confidence, 0.0).astype(np.float32)


def _resolution(window: Window) -> float:
    return float(np.log2(min(window.side, _LARGE_WINDOW_PX) / _LARGE_WINDOW_PX))


def _logit(p: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    p = np.clip(p, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return np.log(p / (1 - p))


def _columns(*columns: Float[np.ndarray, " n"] | float) -> Float[np.ndarray, "n features"]:
    return np.stack([*np.broadcast_arrays(*columns, 1.0)], axis=-1)
