"""Random poses, by family: rotations (N, 24, 3, 3) of SMPL's joints relative to their parents, the root at rest.

Ranges are made by hand after the range of motion of adults; the T-pose is zero. For the left side a positive
rotation about z raises the arm (arms lie along x) and spreads the leg; a negative rotation about x lifts the thigh
forwards, a positive one bends the knee; a negative rotation about y bends the elbow and brings the arm forwards.
"""

import numpy as np
from scipy.spatial.transform import Rotation

from .rig import JOINT, JOINT_NAMES


def natural(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw everyday poses: arms mostly down, elbows to 130 degrees, hips to 100, knees to 120."""
    return _articulated(count, rng, elevation=(-85, 20), forwards=(-40, 90), hip=(-25, 100), knee=(0, 120))


def overhead(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw arms above the shoulders up to upright, legs near standing."""
    return _articulated(count, rng, elevation=(10, 85), forwards=(-20, 80), hip=(-20, 40), knee=(0, 50))


def flexed(count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw squats, sitting and kneeling: hips 70 to 130 degrees, knees 60 to 145."""
    return _articulated(count, rng, elevation=(-85, 40), forwards=(-20, 100), hip=(70, 130), knee=(60, 145))


def moderate(count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotate every joint by N(0, 0.25 rad) about each axis."""
    return _isotropic(count, rng, 0.25)


def wide(count: int, rng: np.random.Generator) -> np.ndarray:
    """Rotate every joint by N(0, 0.5 rad) about each axis, beyond human joint limits."""
    return _isotropic(count, rng, 0.5)


FAMILIES = {family.__name__: family for family in (natural, overhead, flexed, moderate, wide)}


def mixed(count: int, rng: np.random.Generator, families: tuple[str, ...] = tuple(FAMILIES)) -> np.ndarray:
    """Draw equally many poses of several families, shuffled."""
    parts = [FAMILIES[family](-(-count // len(families)), rng) for family in families]
    return rng.permutation(np.concatenate(parts))[:count]


def _isotropic(count: int, rng: np.random.Generator, deviation: float) -> np.ndarray:
    rotvecs = rng.normal(0, deviation, (count, len(JOINT_NAMES), 3))
    rotvecs[:, [JOINT["left_hand"], JOINT["right_hand"]]] *= 0.4
    rotvecs[:, 0] = 0
    return (
        Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_matrix().reshape(*rotvecs.shape, 3).astype(np.float32)
    )


def _articulated(
    count: int,
    rng: np.random.Generator,
    elevation: tuple[float, float],
    forwards: tuple[float, float],
    hip: tuple[float, float],
    knee: tuple[float, float],
) -> np.ndarray:
    """Draw poses with the given ranges in degrees (arm above the horizontal, arm forwards, thigh lifted, knee bent)."""

    def uniform(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, count)

    rotations = _isotropic(count, rng, 0.12)
    for trunk in ("spine1", "spine2", "spine3", "neck", "head"):
        bend, twist, lean = rng.normal(0, 1, (3, count))
        _rotate(rotations, trunk, "xyz", 9 * np.abs(bend), 8 * twist, 6 * lean)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        raised = uniform(*elevation)
        shrug = 0.2 * np.maximum(raised, -20)
        _rotate(rotations, f"{side}_collar", "z", sign * shrug)
        _rotate(rotations, f"{side}_shoulder", "yzx", -sign * uniform(*forwards) * np.cos(np.deg2rad(raised)),
              sign * (raised - shrug), uniform(-45, 45))  # fmt: skip
        _rotate(rotations, f"{side}_elbow", "yx", -sign * 130 * rng.beta(1, 1.5, count), uniform(-40, 40))
        _rotate(rotations, f"{side}_wrist", "zy", uniform(-45, 45), uniform(-15, 15))
        _rotate(
            rotations, f"{side}_hip", "xzy", -uniform(*hip), sign * uniform(-10, 40), sign * uniform(-20, 35)
        )
        _rotate(rotations, f"{side}_knee", "x", uniform(*knee))
        _rotate(rotations, f"{side}_ankle", "x", uniform(-20, 35))
        _rotate(rotations, f"{side}_foot", "x", uniform(-35, 10))
    return rotations


def _rotate(rotations: np.ndarray, joint: str, axes: str, *angles_deg: np.ndarray) -> None:
    """Multiply a joint's rotation from the left by rotations about the given axes, the first outermost, in place."""
    rotation = Rotation.from_euler(axes.upper(), np.stack(angles_deg, -1), degrees=True).as_matrix()
    rotations[:, JOINT[joint]] = rotation.reshape(-1, 3, 3) @ rotations[:, JOINT[joint]]
