"""A character: a skeleton with its rest pose, its bones and its soles, whatever file it comes from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.skeleton import HAND_SIDES
from selfmocap.export.characters.bones import Bones

_MAX_SNAP_DEG = 35.0
"""A person within this angle of a pose along the axes stands along the axes."""


@dataclass(frozen=True, eq=False)
class Character:
    """A rigged character. Positions are in its own unit of length; its world is y up."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """Of each node; -1 for roots."""
    local: Float[ndarray, "nodes 4 4"]
    """Transform of each node in its parent in the rest pose."""
    bones: Bones
    soles: dict[str, tuple[tuple[int, Float[ndarray, "_ 3"]], ...]]
    """By side: nodes and points that move with them, in their axes and the unit of the world. The lowest points touch
    the floor."""


def world_transforms(
    parents: Sequence[int], local: Float[ndarray, "*time nodes 4 4"]
) -> Float[ndarray, "*time nodes 4 4"]:
    """Compute the transform of each node in the world from those in its parent."""
    world = np.empty_like(local)
    for node in downwards(parents):
        parent = parents[node]
        world[..., node, :, :] = (
            local[..., node, :, :] if parent < 0 else world[..., parent, :, :] @ local[..., node, :, :]
        )
    return world


def rest_soles(character: Character, side: str) -> Float[ndarray, "points 3"]:
    """Compute the points of a sole in the world in the rest pose."""
    world = world_transforms(character.parents, character.local)
    return np.concatenate(
        [p @ rotation_part(world[node]).T + world[node, :3, 3] for node, p in character.soles[side]]
    )


def downwards(parents: Sequence[int]) -> list[int]:
    """Return all nodes, each after its parent."""
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(parents):
        children.setdefault(parent, []).append(node)
    order = list(children.get(-1, []))
    for node in order:
        order += children.get(node, [])
    return order


def rotation_part(T: Float[ndarray, "*batch 4 4"]) -> Float[ndarray, "*batch 3 3"]:
    """Return the rotations nearest to the linear parts of transforms."""
    U, _, Vt = np.linalg.svd(T[..., :3, :3])
    return U @ Vt


def check_scales(names: Sequence[str], T: Float[ndarray, "nodes 4 4"]) -> None:
    """Raise ValueError for a node of the skeleton that is mirrored, flat, or scaled differently along its axes."""
    scales = np.linalg.svd(T[:, :3, :3], compute_uv=False)
    mirrored = np.linalg.det(T[:, :3, :3]) <= 0
    wrong = mirrored | (scales[:, 0] > 1.02 * scales[:, 2]) | (scales[:, 2] < 1e-9)
    if wrong.any():
        raise ValueError(
            f"the bone {names[int(wrong.argmax())]!r} is mirrored or scaled differently along its axes; apply the "
            "scale to the skeleton in the program that made it, and export it again"
        )


def person_rotation(bones: Bones, p_world: Float[ndarray, "nodes 3"]) -> Float[ndarray, "3 3"]:
    """Compute the rotation from a person's axes (x left, y up, z forward) to the world, from a rest pose.

    A rest pose that stands nearly along the axes of the world stands along them."""

    def mean(part: str) -> Float[ndarray, "3"]:
        return np.mean([p_world[bones.joints[f"{side}_{part}"]] for side in HAND_SIDES], axis=0)

    left = sum(
        p_world[bones.joints[f"left_{p}"]] - p_world[bones.joints[f"right_{p}"]] for p in ("hip", "shoulder")
    )
    up = mean("shoulder") - mean("hip")
    forward = np.cross(left, up)
    size = np.linalg.norm(up)
    if np.linalg.norm(forward) < 1e-3 * size * size or not size > 0:
        raise ValueError(
            "the hips and shoulders of the rest pose do not span a person; expected a character that stands in a T "
            "or an A pose"
        )
    frame = np.stack([np.cross(up, forward), up, forward], axis=1)
    frame /= np.linalg.norm(frame, axis=0)
    snapped = nearest_axes(frame)
    angle = np.degrees(np.arccos(np.clip((np.trace(snapped.T @ frame) - 1) / 2, -1, 1)))
    return snapped if angle < _MAX_SNAP_DEG else frame


def nearest_axes(R: Float[ndarray, "3 3"]) -> Float[ndarray, "3 3"]:
    """Return the rotation nearest to R that maps axes to axes."""
    snapped, left = np.zeros((3, 3)), np.abs(R)
    for _ in range(2):
        row, column = np.unravel_index(left.argmax(), (3, 3))
        snapped[row, column] = np.sign(R[row, column])
        left[row], left[:, column] = -1, -1
    (column,) = np.flatnonzero(~snapped.any(0))
    snapped[:, column] = np.cross(snapped[:, (column + 1) % 3], snapped[:, (column + 2) % 3])
    return snapped
