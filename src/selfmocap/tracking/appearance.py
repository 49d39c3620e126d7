"""What a person looks like: the colours worn on the torso and on the thighs, for telling people apart."""

import numpy as np
from jaxtyping import Float32, UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.tracking.detectors.detection import Pose
from selfmocap.tracking.detectors.window import cut

_SIDE = 64
_SHAPE = (12, 4, 4)
_PART = 12 * 4 * 4
_THICK = 5
"""Px of the small picture: the thickness of a thigh, and the least of a torso."""


def appearance(
    image: UInt8[np.ndarray, "height width 3"], pose: Pose, points: KeypointSet
) -> Float32[np.ndarray, " bins"]:
    """Histograms of hue, saturation and value of the torso and of the thighs, neighbouring bins blended, each of sum
    one half (or zero: nothing to see)."""
    import cv2

    colours = cv2.cvtColor(cut(image, pose.window, _SIDE), cv2.COLOR_RGB2HSV)
    parts = (_torso(pose, points), _thighs(pose, points))
    counts = [
        _blended(cv2.calcHist([colours], [0, 1, 2], p, _SHAPE, [0, 180, 0, 256, 0, 256])) for p in parts
    ]
    return np.concatenate([c / max(2 * float(c.sum()), 1.0) for c in counts]).astype(np.float32)


def likeness(a: Float32[np.ndarray, " bins"], b: Float32[np.ndarray, " bins"]) -> float:
    """Bhattacharyya coefficient over the parts that both show: 1 is the same colours, 0 nothing in common."""
    alike, shown = np.sqrt(a * b), 0.0
    for part in (slice(0, _PART), slice(_PART, None)):
        shown += float(np.sqrt(a[part].sum() * b[part].sum()))
    return float(alike.sum()) / shown if shown else 0.0


def _torso(pose: Pose, points: KeypointSet) -> UInt8[np.ndarray, "side side"]:
    import cv2

    where = np.zeros((_SIDE, _SIDE), np.uint8)
    names = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")
    corners = np.array([_small(pose, points, name) for name in names])
    middle = corners.mean(axis=0)
    hull = cv2.convexHull(np.rint(middle + 0.85 * (corners - middle)).astype(np.int32))
    cv2.fillConvexPoly(where, hull, (1,))
    neck, pelvis = np.rint((corners[[0, 3]] + corners[[1, 2]]) / 2).astype(int).tolist()
    cv2.line(where, neck, pelvis, (1,), _THICK)
    return where


def _thighs(pose: Pose, points: KeypointSet) -> UInt8[np.ndarray, "side side"]:
    """Of the legs whose knee is seen inside the frame."""
    import cv2

    where = np.zeros((_SIDE, _SIDE), np.uint8)
    for side in ("left", "right"):
        if pose.confidence[points.index(f"{side}_knee")] > 0.05:
            ends = [_small(pose, points, f"{side}_{joint}") for joint in ("hip", "knee")]
            hip, knee = np.rint(ends).astype(int).tolist()
            cv2.line(where, hip, knee, (1,), _THICK)
    return where


def _small(pose: Pose, points: KeypointSet, name: str) -> np.ndarray:
    matrix = pose.window.matrix(_SIDE)
    return (matrix[:, :2] @ pose.keypoints[points.index(name)] + matrix[:, 2]).clip(-_SIDE, 2 * _SIDE)


def _blended(counts: Float32[np.ndarray, "hue saturation value"]) -> Float32[np.ndarray, " part"]:
    """A quarter of each bin passes to either neighbour; hues are a circle."""
    around = (np.roll(counts, 1, axis=0) + np.roll(counts, -1, axis=0)) / 2
    counts = (counts + around) / 2
    for axis in (1, 2):
        wide = np.take(counts, [0, 0, 1, 2, 3, 3], axis=axis)
        near = (np.take(wide, range(4), axis=axis) + np.take(wide, range(2, 6), axis=axis)) / 2
        counts = (counts + near) / 2
    return counts.ravel()
