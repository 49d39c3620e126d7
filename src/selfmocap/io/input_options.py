"""Options of reading a video. This module imports nothing heavy, since the command line is built from it."""

import math
from dataclasses import dataclass
from typing import Literal

MIN_INPUT_FPS, MAX_INPUT_FPS = 0.01, 100_000.0
MIN_SLOW_MOTION, MAX_SLOW_MOTION = 0.001, 10_000.0


@dataclass(frozen=True)
class InputOptions:
    """What a video's file does not say, or says wrongly. Raises ValueError for an invalid value."""

    rotate: Literal[0, 90, 180, 270] = 0
    """Degrees by which the video is turned clockwise, after the file's own rotation, so that people stand upright."""
    mirror: bool = False
    """Exchange left and right, after the rotation."""
    input_fps: float | None = None
    """True rate at which the frames were taken, frames a second. It replaces the times in the file, which a folder of
    images has not."""
    slow_motion: float = 1.0
    """Factor by which the video plays slower than life: 4 for 120 frames a second that play at 30. Below 1 for
    time lapse."""
    start: float = 0.0
    """Time from which the video is read, s, on the clock of the results: that of the video, after `slow_motion` and
    `input_fps`."""
    end: float | None = None
    """Time before which it is read, s; None reads to the last frame."""

    @property
    def keeps_times(self) -> bool:
        """True if the results have the times of the file."""
        return self.input_fps is None and self.slow_motion == 1

    def __post_init__(self) -> None:
        if self.rotate not in (0, 90, 180, 270):
            raise ValueError(f"rotate: {self.rotate!r}; expected 0, 90, 180 or 270 (degrees, clockwise)")
        if self.input_fps is not None and not MIN_INPUT_FPS <= self.input_fps <= MAX_INPUT_FPS:
            raise ValueError(
                f"an input rate of {self.input_fps} frames a second; expected {MIN_INPUT_FPS:g} to {MAX_INPUT_FPS:g}"
            )
        if not MIN_SLOW_MOTION <= self.slow_motion <= MAX_SLOW_MOTION:
            raise ValueError(
                f"slow motion by a factor of {self.slow_motion}; expected {MIN_SLOW_MOTION:g} to {MAX_SLOW_MOTION:g}"
            )
        if self.input_fps is not None and self.slow_motion != 1:
            raise ValueError(
                "found both --input-fps and --slow-motion; expected one: either the true rate of the frames, "
                "or the factor by which the file's times are too long"
            )
        if not (math.isfinite(self.start) and self.start >= 0):
            raise ValueError(f"start: {self.start}; expected seconds from 0 on")
        if self.end is not None and not self.end > self.start:
            raise ValueError(f"end: {self.end}; expected seconds after the start, {self.start}")
