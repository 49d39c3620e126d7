"""Frame rates of videos, from the times of their frames."""

from jaxtyping import Float, Int
from torch import Tensor

LONGEST_GAP = 0.5
"""Seconds. Across a longer gap between two frames, nothing is interpolated."""

FRAME_TOLERANCE = 0.05
"""Frames: a time this near to a frame's belongs to that frame (files round times to a millisecond)."""

_COMMON_RATES = (
    24000 / 1001, 24.0, 25.0, 30000 / 1001, 30.0, 48.0, 50.0, 60000 / 1001, 60.0, 90.0, 100.0, 120.0, 240.0,
)  # fmt: skip


def nominal_fps(frame_index: Int[Tensor, " time"], frame_times: Float[Tensor, " time"]) -> float:
    """Compute the rate of a video, frames a second, from the indices and times (s) of some of its frames.

    It is the common rate that fits the times to FRAME_TOLERANCE, else the mean rate if that fits, else the median rate
    (of a video with a variable rate). 30 for a single frame."""
    if len(frame_index) < 2:
        return 30.0
    index, times = (frame_index - frame_index[0]).double(), frame_times.double() - frame_times[0]

    def misfit(fps: float) -> float:
        offset = times * fps - index
        return float(offset.max() - offset.min()) / 2

    best, mean = min(_COMMON_RATES, key=misfit), float(index[-1] / times[-1])
    median = float((index.diff() / times.diff()).median())
    return next((rate for rate in (best, mean) if misfit(rate) < FRAME_TOLERANCE), median)


def median_fps(frame_times: Float[Tensor, " time"], frame_index: Int[Tensor, " time"]) -> float:
    """Compute the median rate, frames a second, over pairs of successive frames, some of which may be missing.

    Times are in s. 0 for a single frame."""
    if len(frame_index) < 2:
        return 0.0
    return float(1 / (frame_times.diff() / frame_index.diff()).median())
