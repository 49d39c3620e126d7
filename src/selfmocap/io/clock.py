"""The clock of a video: mend the times that its file gives, and measure its frame rate from them."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64, Int

from selfmocap.io.input_options import InputOptions

DEFAULT_FPS = 30.0
"""Frames a second where nothing gives a rate."""

_RATE_TOLERANCE = 0.005
"""Relative difference up to which the times confirm the declared rate."""
_GAP_SECONDS, _GAP_STEPS = 0.5, 5
"""A step between two frames that is longer than both is reported as a gap."""
_RESTART_FRAMES = 8
"""Frames before and after a restart of the clock that are compared; one wild time is not a restart."""
_EDGE_FRAMES, _EDGE_SECONDS = 3, 60.0
"""At most so many frames at an end of the video, further away than both these seconds and the rest's duration, have
wild times."""


@dataclass(frozen=True, eq=False)
class Clock:
    """The times of a video's frames."""

    times: Float64[np.ndarray, " time"]
    """s; 0 at the first frame, strictly increasing."""
    fps: float
    """Frames a second, without gaps."""
    warnings: tuple[str, ...] = ()
    """One sentence for each doubt, with its remedy."""

    def adjusted(self, options: InputOptions) -> "Clock":
        """Return the clock with the user's true rate, or factor of slow motion."""
        if options.input_fps is not None:
            return constant_clock(len(self.times), options.input_fps)
        return replace(self, times=self.times / options.slow_motion, fps=self.fps * options.slow_motion)


def constant_clock(count: int, fps: float) -> Clock:
    """Return the clock of frames at a constant rate."""
    return Clock(np.arange(count) / fps, fps)


def assumed_clock(count: int, fps: float, what: str) -> Clock:
    """Return a constant clock with a warning that the rate of `what` is assumed; a single frame needs no rate."""
    warning = f"{what} have no times: {fps:g} frames a second are assumed; give --input-fps"
    return replace(constant_clock(count, fps), warnings=(warning,) if count > 1 else ())


def measure_clock(raw: Sequence[float | None], declared_fps: float | None) -> Clock:
    """Mend the presentation times of a video's frames, s (None if unknown), and measure the rate.

    Times start from 0. Where the clock restarts, it continues. A time that does not fit the order of the others is
    interpolated; a gap stays. The declared rate is used only where the times confirm it, or where there are none."""
    if not any(time is not None for time in raw) or len(raw) < 2:
        return assumed_clock(len(raw), declared_fps or DEFAULT_FPS, "its frames")
    values = np.array([np.nan if time is None else time for time in raw])
    positive = _positive(np.diff(values[np.isfinite(values)]))
    step = float(np.median(positive)) if len(positive) else 1 / (declared_fps or DEFAULT_FPS)
    restarts = _restarts(values)
    parts = np.split(values, restarts)
    kept = [_in_order(part) for part in parts]
    times, offset = [], 0.0
    for part, rows in zip(parts, kept, strict=True):
        mended = _interpolated(part, rows, step)
        times.append(mended - mended[0] + offset)
        offset = times[-1][-1] + step
    result = np.concatenate(times)
    measured = np.zeros(len(raw), bool)
    measured[np.concatenate([rows + first for rows, first in zip(kept, (0, *restarts), strict=True)])] = True
    steps = np.diff(result)[measured[1:] & measured[:-1]]
    fps = 1 / (float(steps[steps <= 3 * step].mean()) if (steps <= 3 * step).any() else step)
    if declared_fps and abs(fps / declared_fps - 1) < _RATE_TOLERANCE:
        fps = declared_fps
    wild = len(raw) - sum(map(len, kept))
    return Clock(result, fps, (*_mended_warnings(wild, len(raw), restarts), *_gap_warnings(result, step)))


def _positive(steps: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, " m"]:
    return steps[steps > 0]


def _restarts(values: Float64[np.ndarray, " time"]) -> list[int]:
    """Find the frames at which the clock falls back, so that the next frames lie before the previous ones."""
    restarts, begin = [], 0
    for row in (np.flatnonzero(np.diff(values) < 0) + 1).tolist():
        before = values[max(row - _RESTART_FRAMES, begin) : row]
        after = values[row : row + _RESTART_FRAMES]
        if min(len(before), len(after)) >= _EDGE_FRAMES and np.nanmedian(before) > np.nanmedian(after):
            restarts.append(row)
            begin = row
    return restarts


def _in_order(values: Float64[np.ndarray, " time"]) -> Int[np.ndarray, " kept"]:
    """Return the rows of the longest strictly increasing subsequence, without isolated rows at its ends."""
    tails: list[float] = []
    rows: list[int] = []
    previous: list[int] = []
    for row, value in enumerate(values.tolist()):
        if value != value:  # NaN: unknown.
            previous.append(-1)
            continue
        length = bisect_left(tails, value)
        previous.append(rows[length - 1] if length else -1)
        if tails[length : length + 1] == [value]:  # Of equal times, the first is right.
            continue
        tails[length : length + 1] = [value]
        rows[length : length + 1] = [row]
    chain = [rows[-1]] if rows else []
    while chain and previous[chain[-1]] >= 0:
        chain.append(previous[chain[-1]])
    return _without_isolated_ends(values, np.array(chain[::-1], int))


def _without_isolated_ends(
    values: Float64[np.ndarray, " time"], rows: Int[np.ndarray, " kept"]
) -> Int[np.ndarray, " rest"]:
    for count in range(1, min(_EDGE_FRAMES, len(rows) // 2 - 1) + 1):
        times = values[rows]
        if times[count] - times[count - 1] > max(_EDGE_SECONDS, times[-1] - times[count]):
            return _without_isolated_ends(values, rows[count:])
        if times[-count] - times[-count - 1] > max(_EDGE_SECONDS, times[-count - 1] - times[0]):
            return _without_isolated_ends(values, rows[:-count])
    return rows


def _interpolated(
    values: Float64[np.ndarray, " time"], rows: Int[np.ndarray, " kept"], step: float
) -> Float64[np.ndarray, " time"]:
    """Replace the times that are not in `rows`, from their neighbours; beyond the ends at a constant rate."""
    count = len(values)
    if not len(rows):
        return np.arange(count) * step
    index, known = np.arange(count), values[rows]
    before, after = np.minimum(index - rows[0], 0) * step, np.maximum(index - rows[-1], 0) * step
    return np.interp(index, rows, known) + before + after


def _mended_warnings(wild: int, count: int, restarts: Sequence[int]) -> list[str]:
    warnings = []
    if wild:
        warnings.append(
            f"{wild} of the {count} frames have no possible time; it is interpolated from their neighbours"
        )
    if restarts:
        frames = ", ".join(map(str, restarts[:3])) + ("" if len(restarts) <= 3 else ", ...")
        warnings.append(f"the clock restarts at frame {frames}; the times continue there")
    return warnings


def _gap_warnings(times: Float64[np.ndarray, " time"], step: float) -> list[str]:
    steps = np.diff(times)
    gaps = np.flatnonzero(steps > max(_GAP_SECONDS, _GAP_STEPS * step))
    if not len(gaps):
        return []
    longest = int(gaps[steps[gaps].argmax()])
    count = "a gap" if len(gaps) == 1 else f"{len(gaps)} gaps"
    return [
        f"the video has {count} without frames, the longest of {steps[longest]:.1f} s after frame {longest}; "
        "no motion is captured in a gap"
    ]
