"""People who are posed before a camera but not rendered, for training."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import roma
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.body import Body, BodyParameters
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS
from selfmocap.geometry.camera import project
from selfmocap.io.progress import ProgressCallback, no_progress
from selfmocap.synthetic.batches import inside_image
from selfmocap.synthetic.cameras import CameraConfig, sample_views
from selfmocap.synthetic.motion_augmentation import mirror_rotations
from selfmocap.synthetic.motions import MotionClip, PoseSequences, scale_root_path
from selfmocap.synthetic.pose_variety import PoseVariety, sample_varied_poses
from selfmocap.synthetic.scene import sample_betas
from selfmocap.training.temporal_data import CLIP_FPS

_FRAMES_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class PosedPeople:
    """People before a camera; clips and frames in one axis, but for the lens."""

    truth: BodyParameters
    """In the camera frame."""
    points: Float[Tensor, "frames keypoints 3"]
    """Keypoints, metres, camera frame."""
    pixels: Float[Tensor, "clips time keypoints 2"]
    """Keypoints, px of the image."""
    inside: Bool[Tensor, "clips time keypoints"]
    """Whether they lie in the image."""
    focal: Float[Tensor, "clips 2"]
    center: Float[Tensor, "clips 2"]
    """The principal point, which is the centre of the image."""


@torch.no_grad()
def sample_posed_people(
    rng: np.random.Generator, poses: PoseSequences, count: int, body: Body, proxy: Body, cameras: CameraConfig
) -> PosedPeople:
    """Draw sequences of `poses` with a new heading, half of them mirrored, and bodies and cameras.

    `proxy` is the `keypoint_proxy` of the body."""
    chosen = torch.from_numpy(rng.integers(len(poses.p_world_root), size=count))
    R, p = poses.R_parent_joint[chosen], poses.p_world_root[chosen]
    frames = p.shape[1]
    mirrored = torch.from_numpy(rng.random(count) < 0.5)[:, None, None]
    R = torch.where(mirrored[..., None, None], mirror_rotations(R), R)
    p = torch.where(mirrored, p * torch.tensor([-1.0, 1.0, 1.0]), p)
    heading = torch.from_numpy(rng.uniform(-np.pi, np.pi, (count, 1, 1)) * [0.0, 1.0, 0.0]).float()
    R_heading = roma.rotvec_to_rotmat(heading)
    betas = sample_betas(rng, body, count)
    p = scale_root_path(body, betas, (R_heading @ p[..., None]).squeeze(-1))
    views = sample_views(rng, cameras, p, CLIP_FPS)
    camera = views.camera
    R[:, :, 0] = camera.R_cam_world @ R_heading @ R[:, :, 0]
    p_cam_root = camera.to_camera(p[:, :, None])[:, :, 0]
    truth = BodyParameters(betas.repeat_interleave(frames, 0), R.flatten(0, 1), p_cam_root.flatten(0, 1))
    points = proxy.keypoints(proxy.pose(truth).vertices, DEFAULT_KEYPOINTS.name)
    focal, center = camera.focal[:, 0], camera.center[:, 0]
    lens = (x.repeat_interleave(frames, 0) for x in (focal, center))
    pixels = project(points, *lens).unflatten(0, (count, frames))
    inside = inside_image(pixels.numpy(), views.size.numpy()[:, None, None])
    return PosedPeople(truth, points, pixels, torch.from_numpy(inside), focal, center)


def sample_sequences(
    motions: Sequence[MotionClip],
    body: Body,
    count: int,
    frames: int,
    seed: int,
    progress: ProgressCallback = no_progress,
) -> PoseSequences:
    """Draw at least `count` sequences of `frames` frames with the default `PoseVariety`."""
    rng, parts = np.random.default_rng(seed), []
    at_once = max(1, _FRAMES_AT_ONCE // frames)
    for done in range(0, count, at_once):
        progress("draw poses", done, count)
        parts.append(sample_varied_poses(rng, PoseVariety(), motions, at_once, frames, CLIP_FPS, body))
    return PoseSequences(
        torch.cat([part.R_parent_joint for part in parts]), torch.cat([part.p_world_root for part in parts])
    )
