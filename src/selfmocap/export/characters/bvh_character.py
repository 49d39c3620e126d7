"""Read the character of a BVH file, and write its animation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from selfmocap.export.characters.alignment import arc
from selfmocap.export.characters.animation import CharacterAnimation
from selfmocap.export.characters.bones import named_nodes, recognise_bones
from selfmocap.export.characters.character import Character, person_rotation, rotation_part, world_transforms
from selfmocap.export.characters.soles import sole_points
from selfmocap.export.euler import continuous_euler
from selfmocap.geometry import lazy_roma as roma
from selfmocap.io.atomic import atomic_write
from selfmocap.io.bvh_syntax import BvhText

_UP = np.array([0.0, 1.0, 0.0])


def bvh_character(path: Path, text: BvhText, given: Mapping[str, str]) -> Character:
    """Return the character of a BVH file: its offsets without rotations are the rest pose.

    The feet stand on the height of their lowest end. A skeleton that rests along z is turned y up. `given` are names of
    joints by the body's joint. Raises ValueError for a file without a person's skeleton, and where the root or a bone
    has no channels to move it."""
    names = tuple(joint.name for joint in text.joints)
    parents = tuple(joint.parent for joint in text.joints)
    local = np.tile(np.eye(4), (len(names), 1, 1))
    local[1:, :3, 3] = [joint.offset for joint in text.joints[1:]]
    bones = recognise_bones(names, parents, named_nodes(names, given))
    still = [
        names[node] for node in bones.joints.values() if _rotation_order(text.joints[node].channels) is None
    ]
    if still or "Xposition" not in text.joints[0].channels or bones.joints["pelvis"] != 0:
        raise ValueError(
            f"{path}: expected the hips as the root, with position channels, and rotation channels for each bone; "
            f"found the root {names[0]!r}, and no rotation channels for {', '.join(still) or 'none'}"
        )
    movable = {f: n for f, n in bones.fingers.items() if _rotation_order(text.joints[n].channels) is not None}
    bones = replace(bones, fingers=movable)
    up = person_rotation(bones, world_transforms(parents, local)[:, :3, 3])[:, 1]
    local[0, :3, :3] = arc(up, _UP)
    return Character(
        names, parents, local, bones, sole_points(parents, world_transforms(parents, local), bones, [])
    )


def write_bvh_animation(
    path: Path, text: BvhText, animation: CharacterAnimation, character: Character
) -> None:
    """Write the file's hierarchy, with its names, offsets and channels, and the animation as its motion.

    The root's offset is 0, so that readers that add it to the position and those that replace it agree."""
    R_file = rotation_part(character.local[0]).T
    columns = []
    for node, joint in enumerate(text.joints):
        R = np.tile(np.eye(3), (len(animation.times), 1, 1))
        if node in animation.rotations:
            R = roma.unitquat_to_rotmat(torch.from_numpy(animation.rotations[node])).numpy()
        if node == 0:
            R = R_file @ R
        columns.append(
            _channels(joint.channels, R, animation.root_positions @ R_file.T if node == 0 else joint.offset)
        )
    lines = ["HIERARCHY", *_lines(text, 0), "MOTION", f"Frames: {len(animation.times)}"]
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write("\n".join([*lines, f"Frame Time: {1 / animation.fps:.9f}"]) + "\n")
        np.savetxt(file, np.concatenate(columns, axis=1), fmt="%.6f")


def _rotation_order(channels: list[str]) -> str | None:
    order = "".join(name[0] for name in channels if name.endswith("rotation"))
    return order if len(order) == 3 else None


def _channels(
    channels: list[str], R: Float[ndarray, "time 3 3"], position: Float[ndarray, "*time 3"] | list[float]
) -> Float[ndarray, "time channels"]:
    """Return the numbers of a joint's channels in the order of its columns."""
    table = np.zeros((len(R), len(channels)))
    order = _rotation_order(channels) or ""
    angles_deg = continuous_euler(R, order) if order else np.zeros((len(R), 0))
    for column, name in enumerate(channels):
        if order and name.endswith("rotation"):
            table[:, column] = angles_deg[:, order.index(name[0])]
        elif name.endswith("position"):
            table[:, column] = np.broadcast_to(position, (len(R), 3))[:, "XYZ".index(name[0])]
    return table


def _lines(text: BvhText, node: int) -> list[str]:
    joint = text.joints[node]
    children = [child for child, other in enumerate(text.joints) if other.parent == node]
    offset = [0.0, 0.0, 0.0] if node == 0 else joint.offset
    inner = ["OFFSET " + " ".join(f"{number:.6f}" for number in offset)]
    if joint.channels:
        inner.append(f"CHANNELS {len(joint.channels)} {' '.join(joint.channels)}")
    title = f"{'ROOT' if node == 0 else 'JOINT'} {joint.name}"
    if not joint.channels and not children:
        title = "End Site"
    inner += [line for child in children for line in _lines(text, child)]
    return [title, "{", *(f"  {line}" for line in inner), "}"]
