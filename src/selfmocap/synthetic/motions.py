"""Motions of synthetic people: pieces of recordings, or of procedural motions, at any frame rate."""

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
from selfmocap.datasets.motions_folder import Recording
from selfmocap.datasets.retargeting.retarget import with_shape
from selfmocap.geometry.rotations import interpolate, interpolate_frames


@runtime_checkable
class MotionClip(Protocol):
    """The interface of a motion."""

    @property
    def name(self) -> str:
        """Name of the motion."""
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
        """(time, 3) metres, for the mean body; the ground is y = 0."""
        ...

    @property
    def weight(self) -> float:
        """How often a second of it is drawn, relative to other motions."""
        ...


@dataclass(frozen=True, eq=False)
class MeanBodyMotion:
    """A motion of the mean body."""

    name: str
    fps: float
    R_parent_joint: Float[Tensor, "time 24 3 3"]
    p_world_root: Float[Tensor, "time 3"]
    weight: float = 1.0


def from_recording(clip: Recording, body: Body) -> MeanBodyMotion:
    """Convert a recording to a motion of the mean body. The path of the root is scaled to the length of its legs."""
    parameters = with_shape(clip.parameters, body, torch.zeros(body.num_betas))
    return MeanBodyMotion(
        clip.name, clip.fps, parameters.R_parent_joint, parameters.p_world_root, clip.weight
    )


_SECONDS_PER_POSE = 0.7
_POSE_NOISE_DEG = {"shoulder": 25.0, "elbow": 20.0, "hip": 12.0, "knee": 10.0, "collar": 5.0, "neck": 10.0}
"""Standard deviation of the noise that is added to a named pose."""


def procedural_motions(body: Body, count: int = 48, poses: int = 6, seed: int = 0) -> list[MeanBodyMotion]:
    """Make motions that pass smoothly through noisy variants of the named poses, feet on the ground."""
    generator = torch.Generator().manual_seed(seed)
    return [_procedural(body, f"procedural-{i}", poses, generator) for i in range(count)]


def _procedural(
    body: Body, name: str, poses: int, generator: torch.Generator, fps: float = 30.0
) -> MeanBodyMotion:
    names = list(NAMED_POSES)
    chosen = torch.randint(len(names), (poses,), generator=generator).tolist()
    wandering = torch.tensor([_POSE_NOISE_DEG.get(joint.split("_")[-1], 3.0) for joint in JOINT])
    angles = torch.randn(poses, len(JOINT), 3, generator=generator) * wandering[:, None] * (math.pi / 180)
    keys = torch.stack([named_pose(names[i]) for i in chosen]) @ roma.rotvec_to_rotmat(angles)
    position = torch.arange(round((poses - 1) * _SECONDS_PER_POSE * fps)) / (_SECONDS_PER_POSE * fps)
    before = position.floor().long()
    fraction = position - before
    R = interpolate(keys[before], keys[before + 1], (3 * fraction**2 - 2 * fraction**3)[:, None])
    return MeanBodyMotion(name, fps, R, _root_on_ground(body, R))


def _root_on_ground(body: Body, R_parent_joint: Float[Tensor, "time 24 3 3"]) -> Float[Tensor, "time 3"]:
    """Compute the positions of the root at which the lowest vertex touches the ground."""
    time = len(R_parent_joint)
    p_world_root = torch.zeros(time, 3)
    with torch.no_grad():
        posed = body.pose(BodyParameters(torch.zeros(1, body.num_betas), R_parent_joint, p_world_root))
    p_world_root[:, 1] = -posed.vertices[..., 1].amin(-1)
    return p_world_root


@dataclass(frozen=True, eq=False)
class PoseSequences:
    """Pieces of motion of mean-sized people, each with a random heading, centred above the world's origin."""

    R_parent_joint: Float[Tensor, "clips frames 24 3 3"]
    p_world_root: Float[Tensor, "clips frames 3"]


def sample_poses(
    rng: np.random.Generator, motions: Sequence[MotionClip], clips: int, frames: int, fps: float
) -> PoseSequences:
    """Draw `clips` pieces of `frames` frames, with probabilities proportional to the lengths of the motions and their
    weights. A piece of a motion that is too short holds its last frame. Raises ValueError without motions."""
    if not motions:
        raise ValueError("no motions; pass recordings, or use procedural_motions")
    share = np.array([motion.weight * len(motion.p_world_root) / motion.fps for motion in motions])
    chosen = rng.choice(len(motions), clips, p=share / share.sum())
    start, speed = rng.random(clips), np.exp(rng.normal(0, 0.15, clips))
    pieces = [
        _motion_piece(motions[chosen[i]], float(start[i]), frames, fps / float(speed[i]))
        for i in range(clips)
    ]
    R, p = (torch.stack(parts) for parts in zip(*pieces, strict=True))
    heading = torch.zeros(clips, 3)
    heading[:, 1] = torch.from_numpy(rng.uniform(-np.pi, np.pi, clips)).float()
    R_heading = roma.rotvec_to_rotmat(heading)[:, None]
    p = p - p.mean(1, keepdim=True) * torch.tensor([1.0, 0.0, 1.0])
    R[:, :, 0] = R_heading @ R[:, :, 0]
    return PoseSequences(R, (R_heading @ p[..., None]).squeeze(-1))


def _motion_piece(motion: MotionClip, start: float, frames: int, fps: float) -> tuple[Tensor, Tensor]:
    R, p = motion.R_parent_joint, motion.p_world_root
    last = len(p) - 1
    step = motion.fps / fps
    begin = round(start * max(0.0, last - (frames - 1) * step))
    position = (begin + torch.arange(frames) * step).clamp(max=last)
    before = position.floor().long()
    fraction, after = position - before, (before + 1).clamp(max=last)
    if not (fraction > 1e-3).any():
        return R[before].float().clone(), p[before].float()
    rotations, path = interpolate_frames(R, p, before, after, fraction)
    return rotations.float(), path.float()


def scale_root_path(
    body: Body, betas: Float[Tensor, "clips betas"], p_world_root: Float[Tensor, "clips frames 3"]
) -> Float[Tensor, "clips frames 3"]:
    """Scale the path of the root with the length of the legs of other bodies, so that feet stay on the ground."""
    joints = body.shape(betas).joints
    length = _leg_length(joints) / _leg_length(body.J_template)
    return p_world_root * length[:, None, None]


def _leg_length(joints: Float[Tensor, "*batch 24 3"]) -> Float[Tensor, "*batch"]:
    chain, joint = joints.new_zeros(joints.shape[:-2]), JOINT["left_ankle"]
    while joint > 0:
        chain = chain + (joints[..., joint, :] - joints[..., JOINT_PARENTS[joint], :]).norm(dim=-1)
        joint = JOINT_PARENTS[joint]
    return chain
