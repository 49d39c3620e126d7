"""The soles of a character: points that touch the floor when it rests."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.skeleton import HAND_SIDES
from selfmocap.export.characters.bones import Bones
from selfmocap.export.characters.character import rotation_part

_BAND = 0.03
"""Points within this fraction of the height from the floor to the head's joint are the sole's."""
_MAX_POINTS = 300


def sole_points(
    parents: Sequence[int],
    world: Float[ndarray, "nodes 4 4"],
    bones: Bones,
    vertices: Sequence[tuple[np.ndarray, np.ndarray]],
) -> dict[str, tuple[tuple[int, Float[ndarray, "_ 3"]], ...]]:
    """Return the points of each sole, by the node that moves them, in its axes and the unit of the world.

    They are the lowest vertices that the foot moves in the rest pose. `vertices` are the nodes and the points in their
    frames of each mesh. A foot without vertices stands on the height of its lowest joint: its points are the ankle and
    the joints below it, put down onto that height."""
    p_world = world[:, :3, 3]
    feet = {side: _subtree(bones.joints[f"{side}_ankle"], parents) for side in HAND_SIDES}
    found = {side: _vertices_of(feet[side], world, vertices) for side in HAND_SIDES}
    lows = {
        side: (p[:, 1].min() if len(p) else p_world[sorted(feet[side]), 1].min())
        for side, (_, p) in found.items()
    }
    height = p_world[bones.joints["head"], 1] - min(lows.values())
    soles = {}
    for side in HAND_SIDES:
        nodes, points = found[side]
        if len(points) == 0:
            nodes = np.array(sorted(feet[side]))
            points = p_world[nodes] * [1, 0, 1] + [0, lows[side], 0]
        low = np.flatnonzero(points[:, 1] <= lows[side] + _BAND * abs(height))
        low = low[:: max(1, len(low) // _MAX_POINTS)]
        soles[side] = tuple(
            (int(node), _in_frame(world[node], points[low][nodes[low] == node]))
            for node in np.unique(nodes[low])
        )
    return soles


def _subtree(node: int, parents: Sequence[int]) -> set[int]:
    inside = {node}
    while len(grown := inside | {n for n, parent in enumerate(parents) if parent in inside}) > len(inside):
        inside = grown
    return inside


def _vertices_of(
    foot: set[int], world: Float[ndarray, "nodes 4 4"], vertices: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the node and the position in the world of each vertex that a foot moves."""
    nodes, points = [np.zeros(0, int)], [np.zeros((0, 3))]
    for node, p in vertices:
        chosen = np.isin(node, sorted(foot))
        T = world[node[chosen]]
        nodes.append(node[chosen])
        points.append(np.einsum("vab,vb->va", T[:, :3, :3], p[chosen]) + T[:, :3, 3])
    return np.concatenate(nodes), np.concatenate(points)


def _in_frame(T: Float[ndarray, "4 4"], p_world: Float[ndarray, "points 3"]) -> Float[ndarray, "points 3"]:
    return (p_world - T[:3, 3]) @ rotation_part(T)
