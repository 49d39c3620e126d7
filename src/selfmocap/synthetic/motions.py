"""Which motion a synthetic person makes: a piece of a recording, or of a procedural stand-in, at the wanted rate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.named_poses import NAMED_POSES, named_pose
from selfmocap.body_model.skeleton import JOINT, JOINT_PARENTS
from selfmocap.datasets.motions_folder import MotionClip as Recording
from selfmocap.datasets.retargeting.retarget import reshaped
from selfmocap.geometry.rotations import interpolate, interpolate_frames


@runtime_checkable
class MotionClip(Protocol):
    """What a motion must offer."""

    @property
    def name(self) -> str:
        """What the motion is called."""
        ...

    @property
    def fps(self) -> float:
        """Frames a second."""
        ...

    @property
    def R_parent_joint(self) -> Tensor:
        """(time, 24, 3, 3); the root's parent is the world, which is y up."""
        ...

    @property
    def p_world_root(self) -> Tensor:
        """(time, 3) metres, the ground at y = 0, for the mean body."""
        ...


@dataclass(frozen=True, eq=False)
class ProceduralMotion:
    """A motion of the mean body."""

    name: str
    fps: float
    R_parent_joint: Float[Tensor, "time 24 3 3"]
    p_world_root: Float[Tensor, "time 3"]


def from_recording(clip: Recording, body: Body) -> ProceduralMotion:
    """A recording that `readers` read, as the mean body would move: its root's path fits the mean body's legs."""
    parameters = reshaped(clip.parameters, body, torch.zeros(body.num_betas))
    return ProceduralMotion(clip.name, clip.fps, parameters.R_parent_joint, parameters.p_world_root)


_SECONDS_A_POSE = 0.7
_WANDERING_DEG = {"shoulder": 25.0, "elbow": 20.0, "hip": 12.0, "knee": 10.0, "collar": 5.0, "neck": 10.0}
"""Standard deviation of what is added to a named pose."""


def procedural_motions(body: Body, count: int = 48, poses: int = 6, seed: int = 0) -> list[ProceduralMotion]:
    """Motions that pass smoothly through wandering variants of the named poses, feet on the ground."""
    generator = torch.Generator().manual_seed(seed)
    return [_procedural(body, f"procedural-{i}", poses, generator) for i in range(count)]


def _procedural(
    body: Body, name: str, poses: int, generator: torch.Generator, fps: float = 30.0
) -> ProceduralMotion:
    names = list(NAMED_POSES)
    chosen = torch.randint(len(names), (poses,), generator=generator).tolist()
    wandering = torch.tensor([_WANDERING_DEG.get(joint.split("_")[-1], 3.0) for joint in JOINT])
    angles = torch.randn(poses, len(JOINT), 3, generator=generator) * wandering[:, None] * (math.pi / 180)
    keys = torch.stack([named_pose(names[i]) for i in chosen]) @ roma.rotvec_to_rotmat(angles)
    position = torch.arange(round((poses - 1) * _SECONDS_A_POSE * fps)) / (_SECONDS_A_POSE * fps)
    before = position.floor().long()
    share = position - before
    R = interpolate(keys[before], keys[before + 1], (3 * share**2 - 2 * share**3)[:, None])
    return ProceduralMotion(name, fps, R, _standing(body, R))


def _standing(body: Body, R_parent_joint: Float[Tensor, "time 24 3 3"]) -> Float[Tensor, "time 3"]:
    """Where the root is when the lowest vertex touches the ground."""
    time = len(R_parent_joint)
    place = torch.zeros(time, 3)
    with torch.no_grad():
        posed = body.pose(BodyParameters(torch.zeros(1, body.num_betas), R_parent_joint, place))
    place[:, 1] = -posed.vertices[..., 1].amin(-1)
    return place


@dataclass(frozen=True, eq=False)
class Poses:
    """Pieces of motion of mean-sized people, each turned to a random side, its middle over the world's origin."""

    R_parent_joint: Float[Tensor, "clips frames 24 3 3"]
    p_world_root: Float[Tensor, "clips frames 3"]


def sample_poses(
    rng: np.random.Generator, motions: Sequence[MotionClip], clips: int, frames: int, fps: float
) -> Poses:
    """`clips` pieces of `frames` frames, drawn in proportion to the recordings' lengths. A piece of a recording that
    is too short is held at its last frame. A ValueError where there is no motion."""
    if not motions:
        raise ValueError("no motions to draw from; give recordings, or use procedural_motions")
    seconds = np.array([len(motion.p_world_root) / motion.fps for motion in motions])
    chosen = rng.choice(len(motions), clips, p=seconds / seconds.sum())
    start, speed = rng.random(clips), np.exp(rng.normal(0, 0.15, clips))
    pieces = [
        _piece(motions[chosen[i]], float(start[i]), frames, fps / float(speed[i])) for i in range(clips)
    ]
    R, p = (torch.stack(parts) for parts in zip(*pieces, strict=True))
    turn = torch.zeros(clips, 3)
    turn[:, 1] = torch.from_numpy(rng.uniform(-np.pi, np.pi, clips)).float()
    R_turn = roma.rotvec_to_rotmat(turn)[:, None]
    p = p - p.mean(1, keepdim=True) * torch.tensor([1.0, 0.0, 1.0])
    R[:, :, 0] = R_turn @ R[:, :, 0]
    return Poses(R, (R_turn @ p[..., None]).squeeze(-1))


def _piece(motion: MotionClip, start: float, frames: int, fps: float) -> tuple[Tensor, Tensor]:
    R, p = motion.R_parent_joint, motion.p_world_root
    last = len(p) - 1
    step = motion.fps / fps
    begin = round(start * max(0.0, last - (frames - 1) * step))
    position = (begin + torch.arange(frames) * step).clamp(max=last)
    before = position.floor().long()
    share, after = position - before, (before + 1).clamp(max=last)
    if not (share > 1e-3).any():
        return R[before].float().clone(), p[before].float()
    rotations, path = interpolate_frames(R, p, before, after, share)
    return rotations.float(), path.float()


def scaled_root(
    body: Body, betas: Float[Tensor, "clips betas"], p_world_root: Float[Tensor, "clips frames 3"]
) -> Float[Tensor, "clips frames 3"]:
    """The root's path for bodies of other sizes: scaled with the length of their legs, so that feet stay where the
    ground is."""
    joints = body.shape(betas).joints
    length = _leg_length(joints) / _leg_length(body.J_template)
    return p_world_root * length[:, None, None]


def _leg_length(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch"]:
    chain, joint = joints.new_zeros(joints.shape[:-2]), JOINT["left_ankle"]
    while joint > 0:
        chain = chain + (joints[..., joint, :] - joints[..., JOINT_PARENTS[joint], :]).norm(dim=-1)
        joint = JOINT_PARENTS[joint]
    return chain
