"""A person's skeleton, skin and animation as another program has them: its joints, bone axes and rest pose."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.fingers import body_for
from selfmocap.body_model.skeleton import (
    ALL_JOINT_NAMES,
    ALL_JOINT_PARENTS,
    ALL_JOINTS,
    FINGER_JOINT_NAMES,
    HAND_SIDES,
    JOINT,
    JOINT_PARENTS,
)
from selfmocap.body_model.skinning import forward_kinematics
from selfmocap.export.characters.alignment import aligned_axes, arc, limb_directions
from selfmocap.export.names import joint_names
from selfmocap.export.options import METRES, ExportOptions, Unit, UpAxis
from selfmocap.export.presets import PRESETS, SkeletonPreset, preset_names
from selfmocap.export.rig import rotation_to_output
from selfmocap.export.rig_options import RigOptions
from selfmocap.export.segments import Segment

ROOT_BONE = "root"


@dataclass(frozen=True, eq=False)
class AnimatedSkeleton:
    """A skinned skeleton over time, in the unit and axes of the output, in float64."""

    names: tuple[str, ...]
    parents: tuple[int, ...]
    """Each before its children; -1 for the first."""
    R_world_rest: Float[ndarray, "joints 3 3"]
    p_world_rest: Float[ndarray, "joints 3"]
    """The rest pose stands on the floor, at the place of the first frame."""
    vertices: Float[ndarray, "vertices 3"]
    """In the rest pose."""
    weights: Float[ndarray, "vertices joints"]
    R_parent_joint: Float[ndarray, "time joints 3 3"]
    positions: dict[int, Float[ndarray, "time 3"]]
    """Of the joints that move in their parents: the hips, and the root bone if there is one."""
    times: Float[ndarray, " time"]
    """s, on the video's clock."""
    fps: float
    up_axis: UpAxis
    metres: float
    """Metres per unit of length."""

    def rest_transforms(self) -> tuple[Float[ndarray, "joints 3 3"], Float[ndarray, "joints 3"]]:
        """Compute the rotation and the position of each joint in its parent in the rest pose."""
        R, p = self.R_world_rest.copy(), self.p_world_rest.copy()
        for joint, parent in enumerate(self.parents):
            if parent >= 0:
                R_above = self.R_world_rest[parent].T
                R[joint] = R_above @ self.R_world_rest[joint]
                p[joint] = R_above @ (self.p_world_rest[joint] - self.p_world_rest[parent])
        return R, p


def animated_skeleton(segment: Segment, body: Body, options: ExportOptions, unit: Unit) -> AnimatedSkeleton:
    """Return a segment on the skeleton of the options; `unit` is the default unit of the format.

    While the body rests in its T-pose, the joints have the preset's axes, turned by the smallest rotations that align
    the bones of its arms and legs with the body's. In the rest pose they have exactly the preset's. The body's joint
    at the knuckles, which only SMPL has, becomes part of the wrist."""
    preset, rig, body = PRESETS[options.rig.skeleton], options.rig, body_for(segment.parameters, body)
    all_joints = ALL_JOINT_NAMES[: len(body.weights)]
    labels = preset_names(preset, rig.prefix, all_joints)
    if rig.skeleton == "smpl" and options.names != "smpl":
        labels = dict(zip(all_joints, joint_names(options.names), strict=False))
    joints = [ALL_JOINTS[name] for name in labels]
    shaped = body.to(torch.float64).shape(segment.parameters.betas)
    rest = shaped.joints.numpy()
    segment = _prepared(segment, float(shaped.rest[1].min()), rest, rig)
    axes = {name: preset.joint_axes(name) for name in labels if name in JOINT}
    of_body = limb_directions({name: rest[index] for name, index in JOINT.items()})
    aligned = aligned_axes(axes, preset.limb_directions() or of_body, of_body)
    for name in labels.keys() & set(FINGER_JOINT_NAMES):
        axes[name], aligned[name] = (
            _finger_axes(name, axes, aligned, body) if preset.axes else (np.eye(3),) * 2
        )
    P, A = (np.stack([table[name] for name in labels]) for table in (axes, aligned))
    R_body, _ = forward_kinematics(
        segment.parameters.R_parent_joint, shaped.joints, segment.parameters.p_world_root
    )
    R_world = R_body[:, joints].numpy() @ A
    parents = [_parent(joint, joints) for joint in joints]
    p_rest, vertices = _rest_pose(P @ A.swapaxes(1, 2), joints, parents, rest, shaped.rest.T.numpy(), body)
    hips = segment.parameters.p_world_root.numpy()
    shift = hips[0] * [1, 0, 1] - p_rest[0] * [1, 0, 1] - [0, vertices[:, 1].min(), 0]
    skeleton = AnimatedSkeleton(
        names=tuple(labels.values()),
        parents=tuple(parents),
        R_world_rest=P,
        p_world_rest=p_rest + shift,
        vertices=vertices + shift,
        weights=_folded_weights(body, joints),
        R_parent_joint=_local(R_world, parents),
        positions={0: hips},
        times=segment.times.numpy(),
        fps=segment.fps,
        up_axis="y",
        metres=1.0,
    )
    if rig.root_bone or preset.root:
        skeleton = _with_root_bone(skeleton, preset, rig)
    return _in_output(skeleton, options, not preset.axes, METRES[options.unit or unit])


def _prepared(
    segment: Segment, sole: float, rest: Float[ndarray, "all_joints 3"], rig: RigOptions
) -> Segment:
    """Apply the options of the path, and prepend the T-pose."""
    parameters = segment.parameters
    p = parameters.p_world_root
    first = p[:1] * torch.tensor([1.0, 0.0, 1.0], dtype=p.dtype)
    if rig.in_place:
        p = p * torch.tensor([0.0, 1.0, 0.0], dtype=p.dtype) + first
    if rig.origin == "first-frame":
        p, first = p - first, torch.zeros_like(first)
    R = parameters.R_parent_joint
    if not rig.t_pose:
        return replace(segment, parameters=BodyParameters(parameters.betas, R, p))
    standing = first + torch.tensor([0.0, float(rest[0, 1]) - sole, 0.0], dtype=p.dtype)
    return Segment(
        BodyParameters(
            parameters.betas,
            torch.cat([torch.eye(3, dtype=R.dtype).expand_as(R[:1]), R]),
            torch.cat([standing, p]),
        ),
        times=torch.cat([segment.times[:1], segment.times + 1 / segment.fps]),
        fps=segment.fps,
        confidence=torch.cat([segment.confidence[:1], segment.confidence]),
        filled=torch.cat([segment.filled[:1], segment.filled]),
    )


def _parent(joint: int, joints: list[int]) -> int:
    """Return the row of the nearest joint above that the skeleton has, -1 for the first."""
    above = ALL_JOINT_PARENTS[joint]
    while above >= 0 and above not in joints:
        above = ALL_JOINT_PARENTS[above]
    return joints.index(above) if above >= 0 else -1


def _finger_axes(
    name: str, axes: dict[str, ndarray], aligned: dict[str, ndarray], body: Body
) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3 3"]]:
    """Return the axes of a finger joint in the skeleton's rest pose and in the body's: the wrist's, turned by the
    smallest rotation that aligns them with the finger's bone."""
    wrist, rest = f"{name.split('_')[0]}_wrist", body.J_template.double().numpy()
    row = min(ALL_JOINTS[name], ALL_JOINTS[f"{name[:-1]}2"])
    hand, finger = (
        rest[ALL_JOINT_PARENTS[ALL_JOINTS[f"{name[:-1]}1"]]] - rest[JOINT[wrist]],
        rest[row + 1] - rest[row],
    )
    in_body = arc(hand, finger) @ aligned[wrist]
    return axes[wrist] @ aligned[wrist].T @ in_body, in_body


def _rest_pose(
    Q: Float[ndarray, "joints 3 3"],
    joints: list[int],
    parents: list[int],
    rest: Float[ndarray, "all_joints 3"],
    vertices: Float[ndarray, "vertices 3"],
    body: Body,
) -> tuple[Float[ndarray, "joints 3"], Float[ndarray, "vertices 3"]]:
    """Pose the body's T-pose by the rotations Q in the world: positions of the joints, and the skin."""
    p = rest[joints].copy()
    for row, parent in enumerate(parents):
        if parent >= 0:
            p[row] = p[parent] + Q[parent] @ (rest[joints[row]] - rest[joints[parent]])
    weights = _folded_weights(body, joints)
    turned = np.einsum("jab,vb->vja", Q, vertices) - np.einsum("jab,jb->ja", Q, rest[joints]) + p
    return p, np.einsum("vj,vja->va", weights, turned)


def _folded_weights(body: Body, joints: list[int]) -> Float[ndarray, "vertices joints"]:
    """Return the skinning weights of the joints; those of a joint that is left out go to its parent."""
    weights = body.weights.double().numpy().copy()
    for side in HAND_SIDES:
        hand = JOINT[f"{side}_hand"]
        if hand not in joints:
            weights[JOINT_PARENTS[hand]] += weights[hand]
    return weights[joints].T


def _local(
    R_world: Float[ndarray, "time joints 3 3"], parents: list[int]
) -> Float[ndarray, "time joints 3 3"]:
    R = R_world.copy()
    R[:, 1:] = R_world[:, parents[1:]].swapaxes(-1, -2) @ R_world[:, 1:]
    return R


def _with_root_bone(skeleton: AnimatedSkeleton, preset: SkeletonPreset, rig: RigOptions) -> AnimatedSkeleton:
    """Put a bone on the floor below the hips in front of the joints; it moves along the floor and does not turn."""
    hips = skeleton.positions[0]
    place = np.concatenate([skeleton.p_world_rest[:1] * [1, 0, 1], skeleton.p_world_rest])
    prefix = preset.prefix if rig.prefix is None else rig.prefix
    return replace(
        skeleton,
        names=(prefix + ROOT_BONE, *skeleton.names),
        parents=(-1, *(parent + 1 for parent in skeleton.parents)),
        R_world_rest=np.concatenate([np.eye(3)[None], skeleton.R_world_rest]),
        p_world_rest=place,
        weights=np.concatenate([np.zeros((len(skeleton.weights), 1)), skeleton.weights], axis=1),
        R_parent_joint=np.concatenate(
            [np.broadcast_to(np.eye(3), (len(hips), 1, 3, 3)), skeleton.R_parent_joint], axis=1
        ),
        positions={0: hips * [1, 0, 1], 1: hips * [0, 1, 0]},
    )


def _in_output(
    skeleton: AnimatedSkeleton, options: ExportOptions, world_axes: bool, metres: float
) -> AnimatedSkeleton:
    """Convert to the axes and the unit of the output. Joints whose axes are the world's keep the output's."""
    R_out = rotation_to_output(options).numpy()
    turned_rest, R = R_out @ skeleton.R_world_rest, skeleton.R_parent_joint
    if world_axes:
        turned_rest, R = turned_rest @ R_out.T, R_out @ R @ R_out.T
    else:
        R = R.copy()
        R[:, 0] = R_out @ R[:, 0]
    (first, path), *inner = skeleton.positions.items()
    in_parent = R_out if world_axes else np.eye(3)
    positions = {first: path @ R_out.T / metres} | {j: p @ in_parent.T / metres for j, p in inner}
    return replace(
        skeleton,
        R_world_rest=turned_rest,
        p_world_rest=skeleton.p_world_rest @ R_out.T / metres,
        vertices=skeleton.vertices @ R_out.T / metres,
        R_parent_joint=R,
        positions=positions,
        up_axis=options.up_axis,
        metres=metres,
    )
