"""What a person looks like: colours of the upper and of the lower half, for telling people apart."""

import numpy as np
from jaxtyping import Float32, UInt8

from selfmocap.frontend.poses import Pose
from selfmocap.frontend.windows import Window, cut

_SIDE = 64
_BINS = (12, 4, 4)
BINS = 2 * 12 * 4 * 4


def appearance(image: UInt8[np.ndarray, "height width 3"], pose: Pose) -> Float32[np.ndarray, " bins"]:
    """Histograms of hue, saturation and value of the two halves, each of sum one half (or zero: nothing to see)."""
    import cv2

    window = pose.mask_window or pose.window
    colours = cv2.cvtColor(cut(image, window, _SIDE), cv2.COLOR_RGB2HSV)
    where = _silhouette(pose, window)
    halves = []
    for rows in (slice(0, _SIDE // 2), slice(_SIDE // 2, _SIDE)):
        part = np.zeros_like(where)
        part[rows] = where[rows]
        counts = cv2.calcHist([colours], [0, 1, 2], part, _BINS, [0, 180, 0, 256, 0, 256]).ravel()
        halves.append(counts / max(2 * float(counts.sum()), 1.0))
    return np.concatenate(halves).astype(np.float32)


def _silhouette(pose: Pose, window: Window) -> UInt8[np.ndarray, "side side"]:
    import cv2

    if pose.mask is not None:
        small = cv2.resize(pose.mask, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        return (small > 127).astype(np.uint8)
    where = np.zeros((_SIDE, _SIDE), np.uint8)
    matrix = window.matrix(_SIDE)
    points = pose.keypoints[pose.confidence > 0.3] @ matrix[:, :2].T + matrix[:, 2]
    if len(points) > 2:
        cv2.fillConvexPoly(where, cv2.convexHull(points.astype(np.float32)).astype(np.int32), (1,))
    return where


def likeness(a: Float32[np.ndarray, " bins"], b: Float32[np.ndarray, " bins"]) -> float:
    """Bhattacharyya coefficient: 1 is the same colours, 0 nothing in common."""
    return float(np.sqrt(a * b).sum())
