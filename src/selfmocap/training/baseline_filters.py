"""Standard low-pass filters, the baselines of the temporal network."""

import math

import numpy as np


def butterworth(values: np.ndarray, cutoff_hz: float, fps: float, order: int = 2) -> np.ndarray:
    """Apply a Butterworth low pass forward and backward over the first axis (time), without lag.

    `order` is that of one pass. Sequences of at most 3 * (order + 1) frames are returned unchanged."""
    from scipy.signal import butter, sosfiltfilt

    if len(values) <= 3 * (order + 1):
        return values
    sections = butter(order, min(cutoff_hz / (fps / 2), 0.99), output="sos")
    return np.ascontiguousarray(sosfiltfilt(sections, values, axis=0))


def one_euro(values: np.ndarray, cutoff_hz: float, speed: float, fps: float) -> np.ndarray:
    """Apply the 1 euro filter (Casiez et al. 2012) over the first axis; it is causal and lags.

    The cutoff is `cutoff_hz` plus `speed` times the absolute rate of change per second. Rates are filtered at 1 Hz."""

    def alpha(hz: np.ndarray | float) -> np.ndarray | float:
        return 1 / (1 + fps / (2 * math.pi * hz))

    smooth, rate = values[0], np.zeros_like(values[0])
    out = np.empty_like(values)
    for frame, value in enumerate(values):
        rate = rate + alpha(1.0) * ((value - values[max(frame - 1, 0)]) * fps - rate)
        smooth = smooth + alpha(cutoff_hz + speed * np.abs(rate)) * (value - smooth)
        out[frame] = smooth
    return out


def one_euro_both_ways(values: np.ndarray, cutoff_hz: float, speed: float, fps: float) -> np.ndarray:
    """Average `one_euro` forward and backward, so that the lags cancel."""
    forward = one_euro(values, cutoff_hz, speed, fps)
    return (forward + one_euro(values[::-1], cutoff_hz, speed, fps)[::-1]) / 2
