import numpy as np

from selfmocap.training.baseline_filters import butterworth, one_euro, one_euro_both_ways


def test_filters_remove_jitter_without_lag() -> None:
    time = np.arange(90) / 30
    slow = np.sin(2 * np.pi * 0.5 * time)[:, None]
    noisy = slow + 0.1 * np.random.default_rng(0).normal(size=slow.shape)
    for smooth in (butterworth(noisy, 3.0, 30.0), one_euro_both_ways(noisy, 2.0, 0.5, 30.0)):
        assert np.abs(smooth - slow)[10:-10].mean() < 0.75 * np.abs(noisy - slow)[10:-10].mean()
    assert (
        np.abs(np.diff(one_euro(noisy, 1.0, 0.0, 30.0), 2, axis=0)).mean()
        < 0.3 * np.abs(np.diff(noisy, 2, axis=0)).mean()
    )
    late = one_euro(slow, 1.0, 0.0, 30.0)
    assert np.abs(late[24:] - slow[20:-4]).mean() < np.abs(late[24:] - slow[24:]).mean()
    constant = np.full((40, 2), 3.0)
    for smooth in (butterworth(constant, 2.0, 30.0), one_euro(constant, 2.0, 1.0, 30.0)):
        np.testing.assert_allclose(smooth, constant, atol=1e-6)
