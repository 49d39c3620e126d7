"""Crop boxes: known values, smoothing, gaps."""

import numpy as np

from selfmocap.tracking.crop_boxes import BOX_MARGIN, smoothed_boxes


def test_static_keypoints_have_a_known_box_and_an_outlier_is_smoothed_away() -> None:
    corners = np.array([[100.0, 50.0], [140.0, 250.0], [90.0, 150.0]])
    keypoints = np.repeat(corners[None], 40, axis=0)
    confidence = np.ones((40, 3))
    keypoints[20, 0] = (1000.0, 1000.0)
    found = smoothed_boxes(keypoints, confidence, np.arange(40))
    np.testing.assert_allclose(found, np.tile([115.0, 150.0, BOX_MARGIN * 100.0], (40, 1)), rtol=1e-5)


def test_invisible_keypoints_do_not_widen_the_box_and_gaps_split_the_smoothing() -> None:
    keypoints = np.zeros((40, 3, 2))
    keypoints[:, 1] = (50.0, 100.0)
    keypoints[:, 2] = (0.0, 5000.0)
    confidence = np.tile([1.0, 1.0, 0.1], (40, 1))
    keypoints[20:] += 300.0
    frames = np.concatenate([np.arange(20), np.arange(20) + 100])
    found = smoothed_boxes(keypoints, confidence, frames)
    np.testing.assert_allclose(found[:20], np.tile([25, 50, 60], (20, 1)), rtol=1e-5)
    np.testing.assert_allclose(found[20:], np.tile([325, 350, 60], (20, 1)), rtol=1e-5)
    confidence[5] = 0.0
    np.testing.assert_allclose(smoothed_boxes(keypoints, confidence, frames), found, rtol=1e-5)
