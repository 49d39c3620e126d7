"""Each person's own mask in its crop; where people overlap, a pixel belongs to whom it fits best."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.tracking.detectors.detection import MASK_SIDE, Pose
from selfmocap.tracking.detectors.window import Window

EDGE = 2
"""Crop px on either side of a mask's edge that are uncertain."""

Mask = Bool[np.ndarray, "height width"]


def box_window(box: Float[np.ndarray, " 3"]) -> Window:
    """The window of a box (centre x, centre y, half side; px)."""
    return Window(float(box[0]), float(box[1]), 2 * float(box[2]))


def own_mask(
    pose: Pose, others: list[Pose], box: Float[np.ndarray, " 3"], width: int, height: int
) -> tuple[Mask, Mask]:
    """The person's mask in the crop of `box`, and where it can be trusted: not near its edge, not where another
    person's mask claims the same pixel, not outside the frame (of `width` x `height` px)."""
    own = _in_crop(pose, box)
    rest = [_in_crop(other, box) for other in others if other.mask is not None and _near(other, box)]
    best = np.max(rest, axis=0) if rest else np.zeros_like(own)
    inside = inside_frame(box, width, height)
    mask = (own > 127) & (own >= best) & inside
    return mask, inside & ~_edge(mask) & ~((own > 127) & (best > 127))


def inside_frame(box: Float[np.ndarray, " 3"], width: int, height: int) -> Mask:
    """Which pixels of the crop have their centre in the frame."""
    offsets = (np.arange(CROP_SIZE) - (CROP_SIZE - 1) / 2) * (2 * box[2] / CROP_SIZE)
    columns, rows = box[0] + offsets, box[1] + offsets
    across, down = (columns >= -0.5) & (columns <= width - 0.5), (rows >= -0.5) & (rows <= height - 0.5)
    return down[:, None] & across[None, :]


def _edge(mask: Mask) -> Mask:
    import cv2

    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * EDGE + 1, 2 * EDGE + 1))
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, disc).astype(bool)


def _in_crop(pose: Pose, box: Float[np.ndarray, " 3"]) -> UInt8[np.ndarray, "height width"]:
    import cv2

    if pose.mask is None or pose.mask_window is None:
        raise ValueError("this person has no mask")
    back = cv2.invertAffineTransform(pose.mask_window.matrix(MASK_SIDE))
    crop = box_window(box).matrix(CROP_SIZE)
    linear = crop[:, :2] @ back[:, :2]
    matrix = np.concatenate([linear, (crop[:, :2] @ back[:, 2] + crop[:, 2])[:, None]], axis=1)
    return cv2.warpAffine(pose.mask, matrix, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR)


def _near(other: Pose, box: Float[np.ndarray, " 3"]) -> bool:
    window = other.mask_window
    reach = box[2] + (0.71 * window.side if window else 0.0)
    return window is not None and bool(abs(window.x - box[0]) < reach and abs(window.y - box[1]) < reach)
