"""Filters of other people's making, to compare with: what anybody can do to a jittery motion."""

import math

import numpy as np


def butterworth(values: np.ndarray, cutoff_hz: float, fps: float, order: int = 2) -> np.ndarray:
    """A Butterworth low pass run forward and backward over the first axis (time), so that nothing lags; the order is
    that of one run. Sequences that are too short for it are returned as they are."""
    from scipy.signal import butter, sosfiltfilt

    if len(values) <= 3 * (order + 1):
        return values
    sections = butter(order, min(cutoff_hz / (fps / 2), 0.99), output="sos")
    return np.ascontiguousarray(sosfiltfilt(sections, values, axis=0))


def one_euro(values: np.ndarray, cutoff_hz: float, speed: float, fps: float) -> np.ndarray:
    """The 1 euro filter (Casiez et al. 2012) over the first axis, causal: it lags. The cutoff is `cutoff_hz` plus
    `speed` times the absolute rate of change, a second; rates are themselves filtered at 1 Hz."""

    def share(hz: np.ndarray | float) -> np.ndarray | float:
        return 1 / (1 + fps / (2 * math.pi * hz))

    smooth, rate = values[0], np.zeros_like(values[0])
    out = np.empty_like(values)
    for frame, value in enumerate(values):
        rate = rate + share(1.0) * ((value - values[max(frame - 1, 0)]) * fps - rate)
        smooth = smooth + share(cutoff_hz + speed * np.abs(rate)) * (value - smooth)
        out[frame] = smooth
    return out


def one_euro_both_ways(values: np.ndarray, cutoff_hz: float, speed: float, fps: float) -> np.ndarray:
    """The mean of a run forward and one backward, whose lags cancel."""
    forward = one_euro(values, cutoff_hz, speed, fps)
    return (forward + one_euro(values[::-1], cutoff_hz, speed, fps)[::-1]) / 2
