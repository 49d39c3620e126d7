"""The time left for a whole capture."""

from itertools import accumulate

import pytest

from selfmocap.app.stages import REFERENCE_SECONDS, TRACKING, StageProgress, seconds_left, stage_seconds

EARLIER = {TRACKING: 10.0, "crops": 4.0, "choose": 2.0, "refine 1": 6.0, "draw": 8.0}
"""Seconds of the stages of an earlier capture."""


def replayed(seconds: dict[str, float], steps: int = 20) -> list[tuple[float, float]]:
    """Return the true and the estimated seconds left in the middle of each step of a capture whose stages take these
    seconds."""
    begins = dict(zip(seconds, accumulate(seconds.values(), initial=0.0), strict=False))
    whole, stages, found = sum(seconds.values()), [], []
    for name, taken in seconds.items():
        for step in range(1, steps):
            now = begins[name] + taken * step / steps
            stages = [one for one in stages if one.name != name]
            stages.append(StageProgress(name, step, steps, begins[name]))
            left = seconds_left(stages, now, EARLIER)
            assert left is not None
            found.append((whole - now, left))
    return found


def test_a_repeated_capture_takes_what_it_took_before() -> None:
    for true, estimate in replayed(EARLIER):
        assert estimate == pytest.approx(true)


@pytest.mark.parametrize("pace", [0.25, 4.0])
def test_the_own_pace_corrects_all_later_stages(pace: float) -> None:
    found = replayed({name: pace * seconds for name, seconds in EARLIER.items()})
    for true, estimate in found[len(found) // 2 :]:
        assert estimate == pytest.approx(true, rel=0.35)
    estimates = [estimate for _, estimate in found]
    rises = [b / a for a, b in zip(estimates, estimates[1:], strict=False)]
    assert max(rises[3:]) < 1.1


def test_skipped_stages_take_no_time_and_unknown_ones_disturb_nothing() -> None:
    draw = [StageProgress("draw", 5, 10, 0.0)]
    assert seconds_left(draw, 4.0, EARLIER) == pytest.approx(4.0)
    coarse = [
        StageProgress(TRACKING, 9, 9, 0.0),
        StageProgress("crops", 9, 9, 10.0),
        StageProgress("choose", 0, 1, 14.0),
    ]
    assert seconds_left(coarse, 15.0, EARLIER) == pytest.approx(15.0)
    other = [StageProgress(TRACKING, 10, 10, 0.0), StageProgress("camera", 0, 0, 10.0)]
    assert seconds_left(other, 10.0, EARLIER) == pytest.approx(20.0)
    assert seconds_left([], 1.0, EARLIER) is None and seconds_left(draw, 1.0, {}) is None


def test_the_seconds_of_stages_add_up_to_the_capture() -> None:
    stages = [
        StageProgress(name, 1, 1, began) for name, began in ((TRACKING, 1.0), ("crops", 6.0), ("draw", 8.0))
    ]
    assert stage_seconds(stages, 10.0) == {TRACKING: 6.0, "crops": 2.0, "draw": 2.0}
    assert all(TRACKING in seconds for seconds in REFERENCE_SECONDS.values())


def test_a_video_whose_frames_are_not_counted_yet_has_no_estimate() -> None:
    assert seconds_left([StageProgress(TRACKING, 1, 2, 0.0)], 0.0, dict.fromkeys(EARLIER, 0.0)) is None
