import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selfmocap.export.euler import ORDERS, continuous_euler


@pytest.mark.parametrize("order", ORDERS)
def test_angles_give_the_rotation_also_in_gimbal_lock(order: str) -> None:
    rng = np.random.default_rng(0)
    angles = rng.uniform(-180, 180, (200, 3))
    angles[::4, 1], angles[1::4, 1] = 90, -90
    R = Rotation.from_euler(order, angles, degrees=True).as_matrix()
    again = Rotation.from_euler(order, continuous_euler(R, order), degrees=True).as_matrix()
    assert np.abs(again - R).max() < 1e-9


@pytest.mark.parametrize("order", ORDERS)
def test_a_smooth_path_keeps_its_angles_through_gimbal_lock_and_over_many_turns(order: str) -> None:
    time = np.linspace(0, 1, 241)
    angles = np.stack([1000 * time, 300 * time, -500 * time], axis=1)
    R = Rotation.from_euler(order, angles, degrees=True).as_matrix()
    error = np.abs(continuous_euler(R, order) - angles).max(1)
    locked = np.abs(angles[:, 1] % 180 - 90) < 1e-9
    assert locked.sum() == 2
    assert error[~locked].max() < 1e-6
    assert error[locked].max() < 4.2, (
        "at the lock itself the outer angles are those of the frame before, at most"
    )
