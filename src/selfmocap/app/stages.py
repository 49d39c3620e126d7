"""The stages of a running capture, and the time left for all of them, from the seconds of an earlier capture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TRACKING = "detect and track"
"""The first stage; it counts the frames of the video."""
_BALANCED = {
    TRACKING: 0.23, "crops, masks and flow": 0.11, "adapt": 0.27, "choose": 0.11, "refine 1": 0.08, "draw": 0.04,
    "measure": 0.03,
}  # fmt: skip
_FAST = {name: seconds for name, seconds in _BALANCED.items() if name != "adapt"}
REFERENCE_SECONDS = {
    "fast": _FAST | {TRACKING: 0.15, "refine 1": 0.12},
    "balanced": _BALANCED,
    "best": _BALANCED | {"adapt": 0.8},
}
"""Seconds a frame of each stage by quality, until a first capture has been measured: of 60 frames on one core, `best`
with three times the adaptation of `balanced`. The pace of a capture corrects them, so their proportions matter."""
_PACE_WEIGHT = 0.05
"""Part of a capture after which its own pace counts as much as that of the earlier one."""


@dataclass(frozen=True)
class StageProgress:
    """The progress of one stage."""

    name: str
    done: int
    total: int
    """0 if it is unknown."""
    began: float
    """Time of the first report since the capture began, s."""

    @property
    def fraction(self) -> float:
        """The part that is done, from 0 to 1; 0 if it is unknown."""
        return min(self.done / self.total, 1.0) if self.total else 0.0


def stage_seconds(stages: Sequence[StageProgress], elapsed: float) -> dict[str, float]:
    """Return the seconds of each stage: until the next one begins, the first from the start and the last to the end."""
    bounds = [0.0, *(stage.began for stage in stages[1:]), elapsed]
    return {stage.name: end - start for stage, start, end in zip(stages, bounds, bounds[1:], strict=False)}


def seconds_left(
    stages: Sequence[StageProgress], elapsed: float, earlier: Mapping[str, float]
) -> float | None:
    """Return the seconds left for the present and all later stages of a capture, `elapsed` seconds after its start.

    `earlier` has the seconds that each stage is expected to take, in their order. How fast the stages were so far,
    compared with them, corrects those to come. None before the first stage, or without expectations."""
    if not stages or not sum(earlier.values()):
        return None
    names, present = list(earlier), stages[-1]
    reached = max((names.index(stage.name) for stage in stages if stage.name in earlier), default=-1)
    later = sum(earlier[name] for name in names[reached + 1 :])
    over = sum(earlier.get(stage.name, 0.0) for stage in stages[:-1])
    expected, part = earlier.get(present.name, 0.0), present.fraction
    own = elapsed - (present.began if len(stages) > 1 else 0.0)
    prior = _PACE_WEIGHT * sum(earlier.values())
    passed = over + prior + (part * expected if part else min(own, expected))
    pace = (elapsed + prior) / passed
    left = (1 - part) * max(pace * expected, own) if part else max(pace * expected - own, 0.0)
    return left + pace * later
