"""Align the rest pose of a character with that of the body, so that equal rotations mean equal poses.

A bone of an arm or a leg is turned by the smallest rotation that gives it the direction of the body's in its T-pose,
along the limb from its root. Thus A poses, bent elbows and splayed legs need no special case. The trunk, the neck and
the head keep their rest orientation, since all rigs rest upright. Feet keep it but for their heading, since all rigs
rest with flat feet, whatever the height of the ankle."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.skeleton import HAND_SIDES

_LIMBS = (("shoulder", "elbow", "wrist", "hand"), ("hip", "knee", "ankle"))
_UP = np.array([0.0, 1.0, 0.0])

Directions = Mapping[str, Float[ndarray, "3"]]
"""The direction of the bone that begins at each joint of the limbs, in the person's axes (x left, y up, z forward).
Those of `wrist` and `ankle` may be absent."""


def limb_directions(points: Mapping[str, Float[ndarray, "3"]]) -> dict[str, Float[ndarray, "3"]]:
    """Compute the directions of the limbs' bones from the positions of joints."""
    ends = {
        "shoulder": "elbow",
        "elbow": "wrist",
        "wrist": "hand",
        "hip": "knee",
        "knee": "ankle",
        "ankle": "foot",
    }
    directions = {}
    for side in HAND_SIDES:
        for start, end in ends.items():
            if f"{side}_{end}" in points:
                bone = points[f"{side}_{end}"] - points[f"{side}_{start}"]
                if (length := np.linalg.norm(bone)) > 0:
                    directions[f"{side}_{start}"] = bone / length
    return directions


def aligned_axes(
    R_person_joint: Mapping[str, Float[ndarray, "3 3"]], directions: Directions, body: Directions
) -> dict[str, Float[ndarray, "3 3"]]:
    """Compute the axes that each joint of a character has while the body rests.

    `R_person_joint` are its axes in its own rest pose, `directions` and `body` the directions of the limbs in both
    rest poses. All are in the person's axes."""
    aligned = dict(R_person_joint)
    for side in HAND_SIDES:
        for joints in _LIMBS:
            turned = np.eye(3)
            for part in joints[:-1]:
                name = f"{side}_{part}"
                if name in directions and name in body:
                    turned = arc(turned @ directions[name], body[name]) @ turned
                aligned[name] = turned @ R_person_joint[name]
        heading = _heading(directions, body, f"{side}_ankle")
        for part in ("ankle", "foot"):
            if f"{side}_{part}" in R_person_joint:
                aligned[f"{side}_{part}"] = heading @ R_person_joint[f"{side}_{part}"]
    return aligned


def _heading(directions: Directions, body: Directions, name: str) -> Float[ndarray, "3 3"]:
    """Compute the rotation about the vertical from the heading of a character's foot to that of the body's."""
    if name not in directions or name not in body:
        return np.eye(3)
    a, b = directions[name] * [1, 0, 1], body[name] * [1, 0, 1]
    if min(np.linalg.norm(a), np.linalg.norm(b)) < 1e-3:
        return np.eye(3)
    return rotation_about(_UP, np.arctan2(np.cross(a, b) @ _UP, a @ b))


def arc(a: Float[ndarray, "*batch 3"], b: Float[ndarray, "*batch 3"]) -> Float[ndarray, "*batch 3 3"]:
    """Compute the smallest rotations from the directions of a to those of b. For opposite ones any half turn."""
    normal = np.cross(a, b)
    sine, cosine = np.linalg.norm(normal, axis=-1), (a * b).sum(-1)
    along_x = np.abs(a[..., :1]) > 0.6 * np.linalg.norm(a, axis=-1, keepdims=True)
    other = np.cross(a, np.where(along_x, [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]))
    opposite = (sine < 1e-9 * np.abs(cosine))[..., None]
    axis = np.where(opposite, other, normal)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = axis / np.where(length > 0, length, 1)
    return rotation_about(axis, np.arctan2(sine, cosine))


def rotation_about(
    axis: Float[ndarray, "*batch 3"], angle: Float[ndarray, "*batch"] | float
) -> Float[ndarray, "*batch 3 3"]:
    """Compute rotations by angles (radians) about unit axes (Rodrigues)."""
    x, y, z = np.moveaxis(axis, -1, 0)
    zero = np.zeros_like(x)
    K = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*np.shape(x), 3, 3)
    angle = np.asarray(angle)[..., None, None]
    return np.eye(3) + np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
