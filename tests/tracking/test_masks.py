"""Masks of people who overlap, or reach out of the frame."""

import numpy as np
import pytest

from selfmocap.tracking.detectors.detection import MASK_SIDE, Detection
from selfmocap.tracking.detectors.window import Window
from selfmocap.tracking.masks import EDGE_PX, person_mask


def disc(x: float, y: float, strength: int) -> Detection:
    """Return a detection whose mask is a disc of radius 40 px in a window of 160 px."""
    rows, columns = np.mgrid[:MASK_SIDE, :MASK_SIDE] - (MASK_SIDE - 1) / 2
    inside = np.hypot(rows, columns) * 160 / MASK_SIDE < 40
    window = Window(x, y, 160.0)
    keypoints = np.zeros((33, 2), np.float32)
    return Detection(
        keypoints, keypoints[:, 0], 1.0, window, inside.astype(np.uint8) * np.uint8(strength), window
    )


def test_each_pixel_of_an_overlap_has_one_owner_and_is_uncertain() -> None:
    near, far = disc(200.0, 200.0, 250), disc(230.0, 200.0, 180)
    box = np.array([215.0, 200.0, 128.0], np.float32)
    first, first_certain = person_mask(near, [far], box, 640, 480)
    second, second_certain = person_mask(far, [near], box, 640, 480)
    assert not (first & second).any()
    alone, alone_certain = person_mask(near, [], box, 640, 480)
    assert alone.sum() == pytest.approx(np.pi * 40**2 / 4, rel=0.03)
    assert first.sum() > 0.95 * alone.sum()
    assert 0 < second.sum() < 0.75 * alone.sum()
    shared = alone & person_mask(far, [], box, 640, 480)[0]
    assert not (first_certain & shared).any() and not (second_certain & shared).any()
    rows, columns = np.nonzero(alone & ~alone_certain)
    radius = np.hypot(columns - 56.0, rows - 63.5)
    assert abs(radius - 20).max() < EDGE_PX + 1.5


def test_masks_are_empty_and_uncertain_outside_the_frame() -> None:
    box = np.array([0.0, 100.0, 128.0], np.float32)
    mask, certain = person_mask(disc(0.0, 100.0, 255), [], box, 640, 480)
    assert mask[:, 65:].any() and not mask[:, :63].any() and not certain[:, :63].any()
