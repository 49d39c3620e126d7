"""The clock: times from 0, wild ones mended, gaps kept, rates measured."""

import numpy as np
import pytest

from selfmocap.io.clock import assumed_clock, measure_clock
from selfmocap.io.input_options import InputOptions

TRUE = np.arange(60) / 30


def test_times_start_from_0_and_the_measured_rate_confirms_the_declared_one() -> None:
    clock = measure_clock((TRUE + 93_600.0).tolist(), 30.0)
    np.testing.assert_allclose(clock.times, TRUE, atol=1e-9)
    assert clock.fps == 30.0 and clock.warnings == ()


@pytest.mark.parametrize("declared", [None, 1000.0, 25.0])
def test_a_rate_is_measured_where_the_header_has_another(declared: float | None) -> None:
    jitter = np.random.default_rng(0).integers(-5, 6, 60) / 1000
    clock = measure_clock((TRUE + jitter).tolist(), declared)
    assert clock.fps == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("row", [0, 1, 20, 57, 58, 59])
@pytest.mark.parametrize("wild", [36_000.0, -36_000.0, 1.0, None])
def test_a_wild_time_is_interpolated_wherever_it_is(row: int, wild: float | None) -> None:
    raw: list[float | None] = TRUE.tolist()
    raw[row] = None if wild is None else raw[row] + wild
    clock = measure_clock(raw, 30.0)
    if wild == 1.0 and row == 59:  # The last frame may come after a pause.
        return
    np.testing.assert_allclose(clock.times, TRUE, atol=1e-6)
    assert clock.fps == 30.0
    assert ["of the 60 frames" in warning for warning in clock.warnings] == [True]


def test_times_that_do_not_increase_are_mended() -> None:
    clock = measure_clock([0.0, 0.1, 0.2, 0.2, 0.1, 0.5, 0.6], None)
    np.testing.assert_allclose(clock.times, np.arange(7) / 10, atol=1e-9)


def test_a_true_pause_is_kept_and_reported_and_does_not_change_the_rate() -> None:
    raw = np.concatenate([TRUE[:40], TRUE[40:] + 20])
    clock = measure_clock(raw.tolist(), 1.3)
    np.testing.assert_allclose(clock.times, raw)
    assert clock.fps == pytest.approx(30)
    assert len(clock.warnings) == 1 and "20.0 s after frame 39" in clock.warnings[0]


def test_a_clock_that_restarts_continues() -> None:
    clock = measure_clock([*TRUE[:30], *TRUE[:30]], None)
    np.testing.assert_allclose(clock.times, TRUE, atol=1e-9)
    assert "restarts at frame 30" in clock.warnings[0]


def test_a_variable_rate_is_kept_as_it_is() -> None:
    raw = np.cumsum(np.tile([0.03, 0.04, 0.033, 0.066], 15))
    clock = measure_clock(raw.tolist(), None)
    np.testing.assert_allclose(clock.times, raw - raw[0])
    assert clock.warnings == ()


def test_an_assumed_rate_is_reported_unless_the_user_gives_one() -> None:
    assumed = assumed_clock(10, 30.0, "its pictures")
    assert "--input-fps" in assumed.warnings[0]
    assert measure_clock([None] * 10, 24.0).warnings and measure_clock([None] * 10, 24.0).fps == 24.0
    assert assumed.adjusted(InputOptions(input_fps=10.0)).warnings == ()
    assert assumed_clock(1, 30.0, "its pictures").warnings == ()
