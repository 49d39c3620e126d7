"""Drawn people, their detections, and a detector that returns scripted ones."""

import numpy as np

from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Detection, window_around

COCO = KEYPOINT_SETS["coco-17"]
WIDTH, HEIGHT = 320, 240
RED, BLUE = (220, 30, 30), (30, 60, 220)
BACKGROUND_GREY = 128

Colour = tuple[int, int, int]
Places = dict[Colour, tuple[float, float]]
"""Position of each person, px, by the colour of their clothes."""


def stick(x: float, y: float, size: float = 60.0) -> np.ndarray:
    """Return the 17 COCO keypoints of a standing person, `size` px from shoulders to ankles."""
    rng = np.random.default_rng(3)
    heights = {
        "nose": -0.2,
        "eye": -0.22,
        "ear": -0.2,
        "shoulder": 0,
        "elbow": 0.25,
        "wrist": 0.45,
        "hip": 0.5,
        "knee": 0.75,
        "ankle": 1.0,
    }
    points = [
        (
            x + size * (0.15 * (("left" in name) - ("right" in name)) + rng.uniform(-0.02, 0.02)),
            y + size * next(h for part, h in heights.items() if part in name),
        )
        for name in COCO.names
    ]
    return np.array(points)


def stick_detection(x: float, y: float, size: float = 60.0) -> Detection:
    """Return a confident detection of a stick figure, without a mask."""
    points, confidence = stick(x, y, size).astype(np.float32), np.ones(17, np.float32)
    return Detection(points, confidence, 0.99, window_around(points, confidence))


def scene(places: Places) -> np.ndarray:
    """Draw each person as a rectangle of one colour on grey."""
    image = np.full((HEIGHT, WIDTH, 3), BACKGROUND_GREY, np.uint8)
    for colour, (x, y) in places.items():
        image[int(y) - 12 : int(y) + 66, max(int(x) - 14, 0) : int(x) + 14] = colour
    return image


def landscape(seed: int = 0) -> np.ndarray:
    """Draw a background of noise, six times as wide as a scene, with points to track everywhere."""
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (HEIGHT // 6, 6 * WIDTH // 6, 3)).astype(np.float32)
    return cv2.resize(noise, (6 * WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)


def blocks(seed: int = 0) -> np.ndarray:
    """Draw a background of rectangles, as large as a landscape: unlike noise, two of them have nothing in common."""
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, 6 * WIDTH, 3), rng.integers(0, 255, 3), np.uint8)
    for x, y, width, height in rng.integers((0, 0, 20, 20), (6 * WIDTH, HEIGHT, 120, 100), (600, 4)).tolist():
        image[y : y + height, x : x + width] = rng.integers(0, 255, 3)
    return image


def filmed(background: np.ndarray, left: int, places: Places) -> np.ndarray:
    """Draw a scene before the part of the background that begins at column `left`."""
    image = background[:, left : left + WIDTH].copy()
    people = scene(places)
    painted = (people != BACKGROUND_GREY).any(axis=-1)
    image[painted] = people[painted]
    return image


class ScriptedDetector:
    """A detector without regions of interest that returns scripted detections for each frame."""

    name, points = "scripted", COCO

    def __init__(self, frames: list[list[tuple[float, float]]]) -> None:
        self.frames = frames

    def detect(self, frame: Frame) -> list[Detection]:
        return [stick_detection(x, y) for x, y in self.frames[frame.index]]
