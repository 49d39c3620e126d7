"""Transfer the pose of the body to a character: rotations in the world, relative to both rest poses."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.skeleton import ALL_JOINTS, HAND_SIDES, JOINT
from selfmocap.export.characters.alignment import aligned_axes, arc, limb_directions, rotation_about
from selfmocap.export.characters.character import (
    Character,
    downwards,
    person_rotation,
    rest_soles,
    rotation_part,
    world_transforms,
)
from selfmocap.export.characters.fingers import aligned_fingers
from selfmocap.export.characters.source import SourceMotion

_TWIST_WORDS = ("twist", "roll")


@dataclass(frozen=True, eq=False)
class PosedCharacter:
    """A character over time in its own unit; nodes that a person does not need are left out."""

    R_world: dict[int, Float[ndarray, "time 3 3"]]
    p_world: dict[int, Float[ndarray, "time 3"]]


@dataclass(frozen=True, eq=False)
class Fit:
    """How the body's rest pose fits a character's."""

    axes: dict[str, Float[ndarray, "3 3"]]
    """The axes of each joint's bone while the body rests, in the body's axes."""
    scale: float
    """The character's unit of length per metre of the body: the ratio of their legs."""
    unit: float
    """The power of ten next to it: the character's unit of length per metre of its world."""
    ankle_height: float
    """Of the character above its soles."""
    forward: Float[ndarray, "3"]
    """The direction that the character faces in its world."""


def fit_rest_pose(character: Character, rest: Float[ndarray, "joints 3"]) -> Fit:
    """Align the rest pose of a character with the body's. Raises ValueError for a rest pose that is not a person's."""
    world = world_transforms(character.parents, character.local)
    bones = character.bones
    R_world_person = person_rotation(bones, world[:, :3, 3])
    p_person = world[:, :3, 3] @ R_world_person
    nodes = dict(bones.joints) | {f"spine{k}": node for k, node in enumerate(bones.spine)}
    nodes |= {f"neck{k}": node for k, node in enumerate(bones.neck)} | dict(bones.fingers)
    R = {name: R_world_person.T @ rotation_part(world[node]) for name, node in nodes.items()}
    points = {name: p_person[node] for name, node in bones.joints.items()}
    for side in HAND_SIDES:
        if fingers := _knuckles(character, bones.joints[f"{side}_wrist"]):
            points[f"{side}_hand"] = p_person[fingers].mean(0)
    body = {name: rest[index] for name, index in JOINT.items()}
    axes = aligned_axes(R, limb_directions(points), limb_directions(body))
    if len(rest) > len(JOINT):
        axes |= aligned_fingers(bones.fingers, R, p_person, axes, rest)
    ankles = [p_person[bones.joints[f"{side}_ankle"], 1] for side in HAND_SIDES]
    soles = np.concatenate([rest_soles(character, side) for side in HAND_SIDES]) @ R_world_person[:, 1]
    scale = _leg_length(points) / _leg_length(body)
    return Fit(
        axes,
        scale,
        10.0 ** round(np.log10(scale)),
        float(np.mean(ankles) - soles.min()),
        R_world_person[:, 2],
    )


def transfer_rotations(
    source: SourceMotion, character: Character, fit: Fit
) -> dict[int, Float[ndarray, "time 3 3"]]:
    """Compute the rotation in the world of each bone: the body's, after the aligned axes of the bone."""
    R_body = {name: source.R_world_joint[:, index] for name, index in JOINT.items()}
    bones = character.bones
    turned = {node: R_body[name] @ fit.axes[name] for name, node in bones.joints.items()}
    if source.R_world_joint.shape[1] > len(JOINT):
        for name, node in bones.fingers.items():
            turned[node] = source.R_world_joint[:, ALL_JOINTS[name]] @ fit.axes[name]
    back = [R_body[name] for name in ("pelvis", "spine1", "spine2", "spine3")]
    for k, node in enumerate(bones.spine):
        turned[node] = _along(back, (k + 1) / len(bones.spine)) @ fit.axes[f"spine{k}"]
    neck = [R_body[name] for name in ("spine3", "neck", "head")]
    for k, node in enumerate(bones.neck):
        turned[node] = _along(neck, (k + 1) / (len(bones.neck) + 1)) @ fit.axes[f"neck{k}"]
    return turned


def root_path(
    source: SourceMotion, character: Character, fit: Fit, turned: Mapping[int, ndarray]
) -> Float[ndarray, "time 3"]:
    """Compute the position of the pelvis bone in the character's world.

    The middle of the hips moves as the body's, scaled by the length of the legs about its first place on the floor. In
    height, the distance to the ankles is scaled, and the ankles' own height is the character's."""
    hips = source.p_world_joint[:, [JOINT["left_hip"], JOINT["right_hip"]]].mean(1)
    first = hips[0] * [1, 0, 1]
    ankle = source.rest[[JOINT["left_ankle"], JOINT["right_ankle"]], 1].mean()
    place = first * fit.unit + (hips - first) * fit.scale
    place[:, 1] = (hips[:, 1] - ankle) * fit.scale + fit.ankle_height
    bones = character.bones.joints
    posed = pose_character(character, turned, np.zeros_like(place))
    middle = (posed.p_world[bones["left_hip"]] + posed.p_world[bones["right_hip"]]) / 2
    return place - middle


def pose_character(
    character: Character, turned: Mapping[int, Float[ndarray, "time 3 3"]], root: Float[ndarray, "time 3"]
) -> PosedCharacter:
    """Compute where the nodes of the person's skeleton are over time; `root` is the position of the pelvis bone."""
    needed, parents = _needed(character), character.parents
    world = world_transforms(parents, character.local)
    scale = np.cbrt(np.linalg.det(world[:, :3, :3]))
    rest, R, p = rotation_part(character.local), {}, {}
    pelvis = character.bones.joints["pelvis"]
    for node in (node for node in downwards(parents) if node in needed):
        above, offset = parents[node], character.local[node, :3, 3]
        R_above = R[above] if above >= 0 else np.broadcast_to(np.eye(3), (len(root), 3, 3))
        p_above, scale_above = (p[above], scale[above]) if above >= 0 else (np.zeros_like(root), 1.0)
        R[node] = turned[node] if node in turned else R_above @ rest[node]
        p[node] = root if node == pelvis else p_above + scale_above * (R_above @ offset)
    return PosedCharacter(R, p)


def twist_rotations(
    character: Character, fit: Fit, posed: PosedCharacter
) -> dict[int, Float[ndarray, "time 3 3"]]:
    """Compute the rotation in its parent of each twist bone: one that branches off a bone of a limb, named so.

    Skin at the root of a limb follows the trunk, skin at the wrist follows the hand: along an upper bone the twist
    grows from 0 to its own, along a lower one from 0 to that of the hand or foot."""
    rest, rotations = rotation_part(character.local), {}
    for side in HAND_SIDES:
        for upper, lower, end in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle")):
            above = {"shoulder": f"{side}_collar", "hip": "pelvis"}[upper]
            for name, child, other in ((upper, lower, above), (lower, end, f"{side}_{end}")):
                node, bone = character.bones.joints[f"{side}_{name}"], f"{side}_{name}"
                if other not in character.bones.joints:
                    continue
                axis, places = _twist_places(character, node, character.bones.joints[f"{side}_{child}"])
                D = posed.R_world[node].swapaxes(1, 2) @ posed.R_world[character.bones.joints[other]]
                change = D @ (fit.axes[bone].T @ fit.axes[other]).T
                angle = _twist(change, axis)  # Of the other bone in the frame of this one.
                for twist_node, fraction in places.items():
                    share = fraction if other == f"{side}_{end}" else 1 - fraction
                    rotations[twist_node] = (
                        rotation_about(np.broadcast_to(axis, (len(angle), 3)), share * angle)
                        @ rest[twist_node]
                    )
    return rotations


def _twist_places(
    character: Character, node: int, child: int
) -> tuple[Float[ndarray, "3"], dict[int, float]]:
    """Return the axis of a bone in its frame, and how far along it its twist bones lie."""
    tip = _offset(character, node, child)
    length = max(float(np.linalg.norm(tip)), 1e-9)
    places = {
        n: float(np.clip(character.local[n, :3, 3] @ tip / length**2, 0, 1))
        for n, parent in enumerate(character.parents)
        if parent == node and any(word in character.names[n].lower() for word in _TWIST_WORDS)
    }
    return tip / length, places


def _offset(character: Character, node: int, below: int) -> Float[ndarray, "3"]:
    """Return the position of a node in the frame of one above it, in the rest pose."""
    T = np.eye(4)
    while below != node:
        T, below = character.local[below] @ T, character.parents[below]
    return T[:3, 3]


def _twist(R: Float[ndarray, "time 3 3"], axis: Float[ndarray, "3"]) -> Float[ndarray, " time"]:
    """Compute the angle of rotations about an axis, after the smallest rotation that moves the axis (swing-twist)."""
    swing = arc(np.broadcast_to(axis, (len(R), 3)), R @ axis)
    rest = swing.swapaxes(1, 2) @ R
    sine = np.stack(
        [rest[:, 2, 1] - rest[:, 1, 2], rest[:, 0, 2] - rest[:, 2, 0], rest[:, 1, 0] - rest[:, 0, 1]], 1
    )
    return np.unwrap(np.arctan2(sine @ axis, np.trace(rest, axis1=1, axis2=2) - 1))


def _knuckles(character: Character, wrist: int) -> list[int]:
    """Return the roots of the fingers, without the thumb."""
    roots = [node for node, parent in enumerate(character.parents) if parent == wrist]
    words = ("thumb", *_TWIST_WORDS)
    long = [node for node in roots if not any(word in character.names[node].lower() for word in words)]
    return [node for node in long if np.linalg.norm(character.local[node, :3, 3]) > 0]


def _needed(character: Character) -> set[int]:
    bones = character.bones
    nodes = {*bones.joints.values(), *bones.spine, *bones.neck, *bones.fingers.values()}
    nodes |= {node for parts in character.soles.values() for node, _ in parts}
    needed = set()
    for node in nodes:
        while node >= 0 and node not in needed:
            needed.add(node)
            node = character.parents[node]
    return needed


def _along(chain: list[Float[ndarray, "time 3 3"]], fraction: float) -> Float[ndarray, "time 3 3"]:
    """Interpolate the rotation at a fraction of the way along a chain, on the shortest arc."""
    place = fraction * (len(chain) - 1)
    below = min(int(place + 1e-9), len(chain) - 2)
    change = chain[below].swapaxes(1, 2) @ chain[below + 1]
    if place - below > 1 - 1e-9:
        return chain[below + 1]
    return chain[below] @ _power(change, place - below)


def _power(R: Float[ndarray, "time 3 3"], exponent: float) -> Float[ndarray, "time 3 3"]:
    import roma
    import torch

    return roma.rotvec_to_rotmat(exponent * roma.rotmat_to_rotvec(torch.from_numpy(R))).numpy()


def _leg_length(points: Mapping[str, Float[ndarray, "3"]]) -> float:
    pairs = ((a, b) for a, b in (("hip", "knee"), ("knee", "ankle")))
    return float(
        sum(np.linalg.norm(points[f"{s}_{a}"] - points[f"{s}_{b}"]) for a, b in pairs for s in HAND_SIDES)
    )
