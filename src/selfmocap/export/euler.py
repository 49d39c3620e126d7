"""Euler angles that pass continuously from frame to frame, for the formats that want them.

R = R_i(a) R_j(b) R_k(c) for an order ijk of three different axes. A rotation has two triples of angles, each up to
whole turns; the one nearest to the frame before is taken, so that nothing jumps. Where b is a quarter turn only a
combination of a and c is determined: c is kept from the frame before. The angles give the rotation back exactly in
every frame, whatever is chosen.
"""

import numpy as np

ORDERS = ("ZXY", "ZYX", "XYZ", "XZY", "YXZ", "YZX")
_LOCKED = 1e-5
"""rad from the quarter turn."""
_FAR_ENOUGH_DEG = 75.0


def continuous_euler(R: np.ndarray, order: str) -> np.ndarray:
    """(time, 3, 3) rotations to (time, 3) angles in degrees, in the sequence of `order`."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    middle_cosine = np.hypot(R[:, i, i], R[:, i, j])
    a = np.arctan2(-sign * R[:, j, k], R[:, k, k])
    b = np.arctan2(sign * R[:, i, k], middle_cosine)
    c = np.arctan2(-sign * R[:, i, j], R[:, i, i])
    chosen = np.stack([a, b, c], axis=1)
    before = np.zeros(3)
    for frame, angles in enumerate(chosen):
        if middle_cosine[frame] < _LOCKED:
            column = sign * np.sin(before[2]) * R[frame, :, i] + np.cos(before[2]) * R[frame, :, j]
            angles[:] = np.arctan2(sign * column[k], column[j]), angles[1], before[2]
        before = _nearest(angles, before)
        chosen[frame] = before
    return np.degrees(chosen)


def _nearest(angles: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Of all the triples that mean the same rotation, the nearest to the one before."""
    twin = np.array([angles[0] + np.pi, np.pi - angles[1], angles[2] + np.pi])
    both = np.stack([angles, twin])
    both += 2 * np.pi * np.round((before - both) / (2 * np.pi))
    return both[np.abs(both - before).sum(1).argmin()]


def best_order(R: np.ndarray) -> str:
    """The order for a joint's path: the first of ORDERS, unless its middle angle comes within 15 degrees of the
    quarter turn, where the outer angles spin; then the one whose middle angle stays furthest away."""
    widest = {order: _widest_middle_deg(R, order) for order in ORDERS}
    return ORDERS[0] if widest[ORDERS[0]] < _FAR_ENOUGH_DEG else min(ORDERS, key=lambda order: widest[order])


def _widest_middle_deg(R: np.ndarray, order: str) -> float:
    i, k = "XYZ".index(order[0]), "XYZ".index(order[2])
    return float(np.degrees(np.arcsin(np.abs(R[:, i, k]).clip(max=1)).max()))
