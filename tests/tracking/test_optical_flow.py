"""Optical flow of crops: a shifted image has the shift as its flow, unrelated images have low confidence."""

import numpy as np
import pytest

from selfmocap.tracking.detectors.window import Window, crop_window
from selfmocap.tracking.optical_flow import crop_flow, dis_flow, warp_back


def texture(side: int, seed: int = 0) -> np.ndarray:
    """Return smooth colour noise."""
    import cv2

    noise = np.random.default_rng(seed).uniform(0, 255, (side // 4, side // 4, 3)).astype(np.float32)
    return (
        cv2.GaussianBlur(cv2.resize(noise, (side, side), interpolation=cv2.INTER_CUBIC), (0, 0), 1.5)
        .clip(0, 255)
        .astype(np.uint8)
    )


@pytest.mark.parametrize("shift", [(1.0, 0.0), (6.0, -3.0), (-10.0, 8.0)])
def test_flow_of_a_shifted_image_is_the_shift(shift: tuple[float, float]) -> None:
    """I0(x) = I1(x + F) for every pixel x."""
    big = texture(300)
    before = crop_window(big, Window(149.5, 149.5, 192.0), 192)
    after = crop_window(big, Window(149.5 - shift[0], 149.5 - shift[1], 192.0), 192)
    found = crop_flow(before, after, dis_flow)
    inner = found.flow[20:-20, 20:-20]
    error = np.linalg.norm(inner - np.array(shift) * 128 / 192, axis=-1)
    assert error.mean() < 0.25
    assert found.confidence[20:-20, 20:-20].mean() > 0.8
    assert found.error < 0.3 * found.zero_flow_error
    assert np.abs(warp_back(after, dis_flow(before, after)).astype(int) - before)[20:-20, 20:-20].mean() < 4


def test_flow_between_unrelated_images_has_low_confidence() -> None:
    found = crop_flow(texture(192, seed=1), texture(192, seed=2), dis_flow)
    assert found.confidence.mean() < 0.4
    assert 0 <= found.confidence.min() and found.confidence.max() <= 1
