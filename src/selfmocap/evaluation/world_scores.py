"""Scores of motions in the world, as the field computes them for moving cameras (Ye et al. 2023, SLAHMR; Shin et al.
2024, WHAM)."""

import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import DEFAULT_KEYPOINTS, JOINT
from selfmocap.evaluation.scores import FrameErrors
from selfmocap.losses.metrics import absolute_error

CHUNK_FRAMES = 100
"""Frames that are aligned together."""
_FOOT_POINTS = ("left_heel", "left_big_toe", "right_heel", "right_big_toe")
_MAX_CONTACT_STEP = 0.01
"""Metres per frame: a true foot point that moves less is in contact."""


def world_errors(estimate: Motion, truth: Motion, fps: float) -> FrameErrors:
    """Compute the scores of two motions with the same frames in their worlds; fewer than two frames have none.

    `w_mpjpe_mm`: per joint, after the similarity that aligns the first two frames of each chunk of 100. `wa_mpjpe_mm`:
    after the one that aligns the whole chunk. `rte_percent`: distance of the roots after a rigid alignment of the whole
    path, over the length of the true path. `jitter_10m_per_s3`: third derivative of the estimated joints.
    `foot_slide_mm`: motion per frame of estimated heels and toes while the true ones stand. `camera_rotation_error_deg`
    and `camera_ate_mm`, of moving cameras: after the rotation that aligns the worlds best, and after a similarity."""
    if len(truth) < 2:
        return {}
    joints, true_joints = (m.camera.to_world(m.joints_cam).double() for m in (estimate, truth))
    starts = range(0, len(joints), CHUNK_FRAMES)
    first, whole = [], []
    for start in starts:
        rows = slice(start, start + CHUNK_FRAMES)
        part, true_part = joints[rows], true_joints[rows]
        first.append(absolute_error(_aligned(part, part[:2], true_part[:2], True), true_part).mean(-1))
        whole.append(absolute_error(_aligned(part, part, true_part, True), true_part).mean(-1))
    third = joints.diff(n=3, dim=0).norm(dim=-1).mean(-1) * fps**3
    return {
        "w_mpjpe_mm": 1000 * torch.cat(first),
        "wa_mpjpe_mm": 1000 * torch.cat(whole),
        "rte_percent": _root_errors(joints[:, JOINT["pelvis"]], true_joints[:, JOINT["pelvis"]]),
        "jitter_10m_per_s3": third / 10,
        "foot_slide_mm": _foot_slide(estimate, truth),
        **_camera_errors(estimate, truth),
    }


def _aligned(points: Tensor, fitted: Tensor, truth: Tensor, scaled: bool) -> Tensor:
    """Apply the similarity (or rigid motion) that brings the points `fitted` nearest to `truth`."""
    fitted, truth = fitted.reshape(-1, 3), truth.reshape(-1, 3)
    scaled = scaled and bool((fitted - fitted.mean(0)).norm() > 0)
    found = roma.rigid_points_registration(fitted, truth, compute_scaling=scaled)
    R, t, scale = (torch.as_tensor(part) for part in (*found, 1.0)[:3])
    return scale * points @ R.T + t


def _root_errors(root: Float[Tensor, "time 3"], true_root: Float[Tensor, "time 3"]) -> Float[Tensor, " _"]:
    length = true_root.diff(dim=0).norm(dim=-1).sum()
    if length == 0:
        return root.new_zeros(0)
    return 100 * (_aligned(root, root, true_root, False) - true_root).norm(dim=-1) / length


def _foot_slide(estimate: Motion, truth: Motion) -> Float[Tensor, " _"]:
    columns = [DEFAULT_KEYPOINTS.index(name) for name in _FOOT_POINTS]
    feet, true_feet = (m.camera.to_world(m.keypoints_cam)[:, columns].double() for m in (estimate, truth))
    steps, true_steps = (points.diff(dim=0).norm(dim=-1) for points in (feet, true_feet))
    follows = (truth.frame_index.diff() == 1)[:, None]
    return 1000 * steps[(true_steps < _MAX_CONTACT_STEP) & follows]


def _camera_errors(estimate: Motion, truth: Motion) -> FrameErrors:
    if truth.camera.R_cam_world.ndim == 2:
        return {}
    frames = len(truth)
    R, true_R = (m.camera.R_cam_world.double().expand(frames, 3, 3) for m in (estimate, truth))
    world = torch.as_tensor(roma.special_procrustes((true_R.mT @ R).sum(0)))
    angle = torch.rad2deg(roma.rotmat_to_rotvec(true_R @ world @ R.mT).norm(dim=-1))
    eye, true_eye = (m.camera.p_world_cam.double().expand(frames, 3) for m in (estimate, truth))
    errors = {"camera_rotation_error_deg": angle}
    if (true_eye - true_eye[0]).norm() > 0:
        errors["camera_ate_mm"] = 1000 * (_aligned(eye, eye, true_eye, True) - true_eye).norm(dim=-1)
    return errors
