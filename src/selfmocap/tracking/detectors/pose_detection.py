"""BlazePose's person detector: propose windows of people in a square image (Bazarevsky et al. 2020, arXiv:2006.10204).

A single-shot detector: each of 2254 anchors votes for a box and keypoints. The middle of the hips and a point on the
circle around the person give the window in which the landmark model expects the person."""

import math

import numpy as np
from jaxtyping import Float, UInt8

from selfmocap.tracking.detectors.litert import LiteRtModel, sigmoid
from selfmocap.tracking.detectors.window import Window, box_overlap

DETECTOR_SIDE = 224
"""Side of the model's input, px."""
_GRIDS = ((28, 2), (14, 2), (7, 6))
"""Cells a side and anchors a cell of the three feature maps."""
_MAX_OVERLAP = 0.5
"""Intersection over union above which two boxes hold the same person."""
_MAX_PEOPLE = 8
_WINDOW_SCALE = 2.5
"""Side of a window over the radius of the circle around the hips that holds the person."""
_MIN_RADIUS_PX = 2.0


def detect_people(
    model: LiteRtModel, image: UInt8[np.ndarray, "224 224 3"], min_score: float
) -> Float[np.ndarray, "people 2 2"]:
    """Return the middle of the hips and the top of the circle of each person, as fractions of the image, best first."""
    outputs = model(image[None].astype(np.float32) / np.float32(127.5) - 1)
    scores = sigmoid(outputs["Identity_1"][0, :, 0])
    chosen = scores >= min_score
    values, anchors = outputs["Identity"][0, chosen] / DETECTOR_SIDE, _ANCHORS[chosen]
    center, half = values[:, :2] + anchors, values[:, 2:4] / 2
    points = values[:, 4:8].reshape(-1, 2, 2) + anchors[:, None]
    rows = np.concatenate([center - half, center + half, points.reshape(-1, 4)], axis=1)
    return _merge_overlapping(scores[chosen], rows)[:_MAX_PEOPLE, 4:].reshape(-1, 2, 2)


def window_of_circle(hips: Float[np.ndarray, " 2"], rim: Float[np.ndarray, " 2"]) -> Window:
    """Compute the window of a person from the middle of the hips and the top of the circle around them, px."""
    across, down = rim - hips
    side = _WINDOW_SCALE * max(float(np.hypot(across, down)), _MIN_RADIUS_PX)
    return Window(float(hips[0]), float(hips[1]), side, math.atan2(across, -down))


def _anchor_centers() -> Float[np.ndarray, "anchors 2"]:
    """Return the centres of all anchors as fractions of the image."""
    maps = []
    for cells, per_cell in _GRIDS:
        centers = (np.arange(cells, dtype=np.float32) + np.float32(0.5)) / cells
        y, x = np.meshgrid(centers, centers, indexing="ij")
        maps.append(np.repeat(np.stack([x, y], axis=-1).reshape(-1, 2), per_cell, axis=0))
    return np.concatenate(maps)


_ANCHORS = _anchor_centers()


def _merge_overlapping(
    scores: Float[np.ndarray, " boxes"], rows: Float[np.ndarray, "boxes 8"]
) -> Float[np.ndarray, "people 8"]:
    """Average boxes that overlap the best one, weighted by score, until none is left (weighted suppression)."""
    order = np.argsort(-scores, kind="stable")
    scores, rows = scores[order], rows[order]
    merged = []
    while len(scores):
        same = box_overlap(rows[0, :4], rows[:, :4]) > _MAX_OVERLAP
        same[0] = True
        merged.append(np.average(rows[same], axis=0, weights=scores[same]))
        scores, rows = scores[~same], rows[~same]
    return np.array(merged).reshape(-1, 8)
