"""Appearance descriptor for re-identification: colour histograms of the torso and of the thighs."""

import numpy as np
from jaxtyping import Float32, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.tracking.confidence import DETECTED
from selfmocap.tracking.detectors.detection import Detection
from selfmocap.tracking.detectors.window import RgbImage, crop_window

Histogram = Float32[np.ndarray, " bins"]

_CROP_SIDE = 64
"""Side of the crop whose colours are counted, px."""
_BINS = (12, 4, 4)
"""Bins of hue, saturation and value."""
_BINS_PER_PART = 12 * 4 * 4
_LIMB_THICKNESS_PX = 5
"""Thickness of a thigh, and the least thickness of a torso, px of the crop."""


def appearance_histogram(image: RgbImage, detection: Detection, points: KeypointSet) -> Histogram:
    """Count hue, saturation and value of the torso and of the thighs, smoothed over neighbouring bins.

    The histogram of each part sums to one half, or to zero if the part is not visible."""
    import cv2

    colours = cv2.cvtColor(crop_window(image, detection.window, _CROP_SIDE), cv2.COLOR_RGB2HSV)
    parts = (_torso(detection, points), _thighs(detection, points))
    counts = [
        _smoothed(cv2.calcHist([colours], [0, 1, 2], p, _BINS, [0, 180, 0, 256, 0, 256])) for p in parts
    ]
    return np.concatenate([c / max(2 * float(c.sum()), 1.0) for c in counts]).astype(np.float32)


def appearance_similarity(a: Histogram, b: Histogram) -> float:
    """Compute the Bhattacharyya coefficient over the parts that are visible in both, in [0, 1]; 1 for equal colours."""
    common, visible = np.sqrt(a * b), 0.0
    for part in (slice(0, _BINS_PER_PART), slice(_BINS_PER_PART, None)):
        visible += float(np.sqrt(a[part].sum() * b[part].sum()))
    return float(common.sum()) / visible if visible else 0.0


def _torso(detection: Detection, points: KeypointSet) -> UInt8[np.ndarray, "side side"]:
    """Draw the torso, shrunk by 15 percent, as a mask of the crop."""
    import cv2

    mask = np.zeros((_CROP_SIDE, _CROP_SIDE), np.uint8)
    names = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
    corners = np.array([_in_crop(detection, points, name) for name in names])
    center = corners.mean(axis=0)
    hull = cv2.convexHull(np.rint(center + 0.85 * (corners - center)).astype(np.int32))
    cv2.fillConvexPoly(mask, hull, (1,))
    neck, pelvis = np.rint((corners[[0, 3]] + corners[[1, 2]]) / 2).astype(int).tolist()
    cv2.line(mask, neck, pelvis, (1,), _LIMB_THICKNESS_PX)
    return mask


def _thighs(detection: Detection, points: KeypointSet) -> UInt8[np.ndarray, "side side"]:
    """Draw the thighs of the legs whose knee is detected inside the frame, as a mask of the crop."""
    import cv2

    mask = np.zeros((_CROP_SIDE, _CROP_SIDE), np.uint8)
    for side in ("left", "right"):
        if detection.confidence[points.index(f"{side}_knee")] > DETECTED:
            ends = [_in_crop(detection, points, f"{side}_{joint}") for joint in ("hip", "knee")]
            hip, knee = np.rint(ends).astype(int).tolist()
            cv2.line(mask, hip, knee, (1,), _LIMB_THICKNESS_PX)
    return mask


def _in_crop(detection: Detection, points: KeypointSet, name: str) -> np.ndarray:
    matrix = detection.window.matrix(_CROP_SIDE)
    position = matrix[:, :2] @ detection.keypoints[points.index(name)] + matrix[:, 2]
    return position.clip(-_CROP_SIDE, 2 * _CROP_SIDE)


def _smoothed(counts: Float32[np.ndarray, "hue saturation value"]) -> Float32[np.ndarray, " part"]:
    """Move a quarter of each bin to either neighbour along each axis; the hue axis is circular."""
    around = (np.roll(counts, 1, axis=0) + np.roll(counts, -1, axis=0)) / 2
    counts = (counts + around) / 2
    for axis in (1, 2):
        padded = np.take(counts, [0, 0, 1, 2, 3, 3], axis=axis)
        neighbours = (np.take(padded, range(4), axis=axis) + np.take(padded, range(2, 6), axis=axis)) / 2
        counts = (counts + neighbours) / 2
    return counts.ravel()
