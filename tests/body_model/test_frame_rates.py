import numpy as np
import pytest
import torch

from selfmocap.body_model.frame_rates import nominal_fps


@pytest.mark.parametrize(
    ("times", "rate"),
    [
        ([0.0, 0.033, 0.067, 0.1, 0.133, 0.167, 0.2], 30.0),
        (np.arange(3000) * 1001 / 30000, 30000 / 1001),
        (np.round(np.arange(100) / 12.5, 3), 12.5),
        ([0.0, 0.04, 0.08, 0.12, 0.5, 0.54], 25.0),
        ([3.0], 30.0),
    ],
)
def test_the_rate_is_the_common_one_that_fits_the_times(times: list[float], rate: float) -> None:
    found = nominal_fps(torch.arange(len(times)), torch.tensor(times, dtype=torch.float64))
    assert found == pytest.approx(rate, abs=1e-9 if rate != 12.5 else 1e-3)
