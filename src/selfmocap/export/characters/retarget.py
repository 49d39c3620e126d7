"""Retarget a body's motion onto a character."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.body import Body
from selfmocap.export.characters.animation import CharacterAnimation
from selfmocap.export.characters.character import Character, world_transforms
from selfmocap.export.characters.feet import plant_feet
from selfmocap.export.characters.pose_transfer import (
    fit_rest_pose,
    pose_character,
    root_path,
    transfer_rotations,
    twist_rotations,
)
from selfmocap.export.characters.source import source_motion
from selfmocap.export.segments import Segment
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import continuous_quaternions


def retarget_onto(segment: Segment, body: Body, character: Character) -> CharacterAnimation:
    """Return the character moving like the body in a segment.

    Bones of arms and legs point where the body's do. Hips are scaled by the length of the legs, feet are planted.
    Fingers point where the body's do, if the segment has fingers. Bones that the body lacks keep their rest pose."""
    source = source_motion(segment, body)
    fit = fit_rest_pose(character, source.rest)
    turned = transfer_rotations(source, character, fit)
    turned, root = plant_feet(source, character, fit, turned, root_path(source, character, fit, turned))
    posed = pose_character(character, turned, root)
    local = {node: _above(character, posed.R_world, node).swapaxes(1, 2) @ R for node, R in turned.items()}
    local |= twist_rotations(character, fit, posed)
    pelvis = character.bones.joints["pelvis"]
    return CharacterAnimation(
        times=source.times,
        fps=source.fps,
        rotations={node: quaternions(R) for node, R in sorted(local.items())},
        root=pelvis,
        root_positions=_in_parent(character, pelvis, root),
    )


def quaternions(R: Float[ndarray, "time 3 3"]) -> Float[ndarray, "time 4"]:
    """Convert rotations to quaternions (x, y, z, w) without jumps of the sign."""
    return continuous_quaternions(torch.as_tensor(roma.special_procrustes(torch.from_numpy(R)))).numpy()


def _above(character: Character, R_world: dict[int, ndarray], node: int) -> Float[ndarray, "time 3 3"]:
    parent = character.parents[node]
    return R_world[parent] if parent >= 0 else np.broadcast_to(np.eye(3), R_world[node].shape)


def _in_parent(
    character: Character, node: int, p_world: Float[ndarray, "time 3"]
) -> Float[ndarray, "time 3"]:
    """Convert positions of a node whose ancestors keep their rest pose to the frame of its parent."""
    parent = character.parents[node]
    if parent < 0:
        return p_world
    T = world_transforms(character.parents, character.local)[parent]
    return (p_world - T[:3, 3]) @ np.linalg.inv(T[:3, :3]).T
