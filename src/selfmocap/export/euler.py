"""Euler angles that are continuous from frame to frame.

R = R_i(a) R_j(b) R_k(c) for an order ijk of three different axes. A rotation has two triples of angles, each up to
whole turns. The triple nearest to that of the previous frame is chosen, so that no angle jumps. Where b is 90 degrees
only a combination of a and c is determined: c is kept from the previous frame. In every frame the angles give the
rotation exactly.
"""

import numpy as np

ORDERS = ("ZXY", "ZYX", "XYZ", "XZY", "YXZ", "YZX")
_GIMBAL_LOCK_COSINE = 1e-5
"""Cosine of the middle angle below which it counts as 90 degrees."""


def continuous_euler(R: np.ndarray, order: str) -> np.ndarray:
    """Convert (time, 3, 3) rotations to (time, 3) angles in degrees, in the sequence of `order`."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    middle_cosine = np.hypot(R[:, i, i], R[:, i, j])
    a = np.arctan2(-sign * R[:, j, k], R[:, k, k])
    b = np.arctan2(sign * R[:, i, k], middle_cosine)
    c = np.arctan2(-sign * R[:, i, j], R[:, i, i])
    chosen = np.stack([a, b, c], axis=1)
    previous = np.zeros(3)
    for frame, angles in enumerate(chosen):
        if middle_cosine[frame] < _GIMBAL_LOCK_COSINE:
            column = sign * np.sin(previous[2]) * R[frame, :, i] + np.cos(previous[2]) * R[frame, :, j]
            angles[:] = np.arctan2(sign * column[k], column[j]), angles[1], previous[2]
        previous = _nearest_triple(angles, previous)
        chosen[frame] = previous
    return np.degrees(chosen)


def _nearest_triple(angles: np.ndarray, previous: np.ndarray) -> np.ndarray:
    """Return the triple of the same rotation that is nearest to the previous one."""
    twin = np.array([angles[0] + np.pi, np.pi - angles[1], angles[2] + np.pi])
    candidates = np.stack([angles, twin])
    candidates += 2 * np.pi * np.round((previous - candidates) / (2 * np.pi))
    return candidates[np.abs(candidates - previous).sum(1).argmin()]
