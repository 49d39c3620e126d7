"""The mask of each person in their crop; where people overlap, a pixel belongs to the mask that is most probable."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.tracking.detectors.detection import MASK_FOREGROUND, MASK_SIDE, Detection
from selfmocap.tracking.detectors.window import Window

EDGE_PX = 2
"""Uncertain pixels on either side of a mask's edge, px of the crop."""
_HALF_DIAGONAL = 0.71
"""Half the diagonal of a square over its side, rounded up."""

Mask = Bool[np.ndarray, "height width"]


def box_window(box: Float[np.ndarray, " 3"]) -> Window:
    """Convert a box (centre x, centre y, half side; px) to a window."""
    return Window(float(box[0]), float(box[1]), 2 * float(box[2]))


def person_mask(
    detection: Detection, others: list[Detection], box: Float[np.ndarray, " 3"], width: int, height: int
) -> tuple[Mask, Mask]:
    """Compute a person's mask in the crop of `box`, and which of its pixels are certain.

    Uncertain are pixels near the edge of the mask, pixels that the mask of another person claims too, and pixels
    outside the frame (of `width` x `height` px)."""
    own = _probability_in_crop(detection, box)
    rest = [
        _probability_in_crop(other, box)
        for other in others
        if other.mask is not None and _is_near(other, box)
    ]
    best_other = np.max(rest, axis=0) if rest else np.zeros_like(own)
    inside = inside_frame(box, width, height)
    mask = (own > MASK_FOREGROUND) & (own >= best_other) & inside
    shared = (own > MASK_FOREGROUND) & (best_other > MASK_FOREGROUND)
    return mask, inside & ~_edge(mask) & ~shared


def inside_frame(box: Float[np.ndarray, " 3"], width: int, height: int) -> Mask:
    """Return which pixels of the crop of `box` have their centre in the frame (of `width` x `height` px)."""
    offsets = (np.arange(CROP_SIZE) - (CROP_SIZE - 1) / 2) * (2 * box[2] / CROP_SIZE)
    columns, rows = box[0] + offsets, box[1] + offsets
    across, down = (columns >= -0.5) & (columns <= width - 0.5), (rows >= -0.5) & (rows <= height - 0.5)
    return down[:, None] & across[None, :]


def _edge(mask: Mask) -> Mask:
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE_PX + 1, 2 * EDGE_PX + 1))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, disc).astype(bool)


def _probability_in_crop(
    detection: Detection, box: Float[np.ndarray, " 3"]
) -> UInt8[np.ndarray, "height width"]:
    """Resample a detection's mask from its window to the crop."""
    import cv2

    if detection.mask is None or detection.mask_window is None:
        raise ValueError("expected a detection with a mask, found one without")
    to_image = cv2.invertAffineTransform(detection.mask_window.matrix(MASK_SIDE))
    to_crop = box_window(box).matrix(CROP_SIZE)
    linear = to_crop[:, :2] @ to_image[:, :2]
    shift = to_crop[:, :2] @ to_image[:, 2] + to_crop[:, 2]
    matrix = np.concatenate([linear, shift[:, None]], axis=1)
    return cv2.warpAffine(detection.mask, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)


def _is_near(other: Detection, box: Float[np.ndarray, " 3"]) -> bool:
    """Decide whether the mask of a detection may reach into a box."""
    window = other.mask_window
    if window is None:
        return False
    x, y, half_side = box.tolist()
    reach = half_side + _HALF_DIAGONAL * window.side
    return abs(window.x - x) < reach and abs(window.y - y) < reach
