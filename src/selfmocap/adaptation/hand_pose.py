"""Fit wrists and fingers to the detected hands, after the body.

The directions of the hand's bones are the body's, their lengths those of the detected positions: a detector's joints
and the body's lie at different places along a finger.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.adaptation.hand_solver import HandPose, SeenHands, solve_hands
from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import finger_rotations, hand_bones, has_fingers, with_fingers
from selfmocap.body_model.joint_limits import coordinate_limits, to_coordinates
from selfmocap.body_model.motion import Motion, joints_and_keypoints
from selfmocap.body_model.skeleton import FINGERS, HAND_KEYPOINTS, HAND_SIDES, JOINT
from selfmocap.body_model.skinning import forward_kinematics
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import shortest_arc
from selfmocap.geometry.tensors import concat, safe_normalize
from selfmocap.tracking.observations import Observations

_WINDOW, _MARGIN = 512, 32
"""Frames that are fitted together, and frames on both sides that are fitted too, so that windows join smoothly."""
_MAX_WRIST_SWING = 1.75
"""Radians; a hand bent farther than this is a wrong detection."""
_PARTS = {f: ("cmc", "mcp", "ip", "tip") if f == "thumb" else ("mcp", "pip", "dip", "tip") for f in FINGERS}
_KEYPOINTS = [HAND_KEYPOINTS.index(f"{finger}_{part}") for finger in FINGERS for part in _PARTS[finger]]
"""The keypoints at the ends of the bones of each finger."""
_WRISTS, _ELBOWS, _HANDS = (
    [JOINT[f"{side}_{part}"] for side in HAND_SIDES] for part in ("wrist", "elbow", "hand")
)


def fit_hands(motion: Motion, body: Body, observations: Observations) -> Motion:
    """Return the motion with fingers, and with wrists and forearms turned so that the hands are as observed.

    Fingers stay within their limits and move smoothly. A hand rests while it is not seen, after a transition. Without
    an observed hand, or for a body without fingers, the motion is returned unchanged. `provenance["hands"]` has the
    number of frames in which each hand is seen.

    `body` is the motion's whole body; `observations` are those of the motion's camera, without distortion."""
    if observations.hand_confidence is None or not has_fingers(body):
        return motion
    parameters, full = motion.parameters.to(torch.float64), with_fingers(body).to(torch.float64)
    shaped = full.shape(parameters.betas)
    R, joints = parameters.R_parent_joint, shaped.joints[: len(JOINT)]
    R_world, _ = forward_kinematics(R, joints, parameters.p_world_root)
    seen, bones = _seen_hands(motion, observations, R_world[:, _ELBOWS]), hand_bones(shaped)
    bones = bones * (_bone_lengths(seen) / bones.norm(dim=-1))[..., None]
    R_observed = _observed_wrists(seen, bones)
    bent = R_observed[..., 0, 0].clamp(-1, 1).acos()
    seen = replace(seen, weight=torch.where(bent < _MAX_WRIST_SWING, seen.weight, 0.0))
    is_seen = (seen.weight > 0).any(0)
    if not is_seen.any():
        return motion
    start = torch.where((seen.weight > 0)[..., None, None], R_observed, R[:, _WRISTS])
    pose = _solve_windows(motion, seen, bones, R[:, _WRISTS], HandPose.resting(start))
    R = R.clone()
    R[:, _ELBOWS], R[:, _WRISTS] = _share_twist(R, pose.R_elbow_wrist, joints)
    R[:, torch.tensor(_HANDS)[is_seen]] = torch.eye(3, dtype=R.dtype)
    parameters = replace(parameters, R_parent_joint=R).to(motion.joints_cam.dtype)
    points = joints_and_keypoints(body, parameters)
    counts = dict(zip(HAND_SIDES, (seen.weight > 0).sum(0).tolist(), strict=True))
    return replace(
        motion,
        parameters=parameters,
        joints_cam=motion.camera.to_camera(points[0]),
        keypoints_cam=motion.camera.to_camera(points[1]),
        fingers=finger_rotations(pose.coordinates).to(motion.joints_cam.dtype),
        provenance=motion.provenance | {"hands": {"frames_seen": counts}},
    )


def _seen_hands(
    motion: Motion, observations: Observations, R_world_elbow: Float[Tensor, "time 2 3 3"]
) -> SeenHands:
    """Return the hands in the frames of the motion."""
    rows = torch.searchsorted(observations.frame_index, motion.frame_index).clamp_max(len(observations) - 1)
    observed = (observations.frame_index[rows] == motion.frame_index)[:, None]
    confidence, keypoints, positions = (
        getattr(observations, f"hand_{name}")[rows].double()
        for name in ("confidence", "keypoints", "positions")
    )
    order, camera = [HAND_KEYPOINTS.index("wrist"), *_KEYPOINTS], motion.camera.to(torch.float64)
    rays = (keypoints[:, :, order] - camera.center) / camera.focal
    rays = torch.nn.functional.pad(rays, (0, 1), value=1.0)
    middle, positions = rays.mean(2), positions[:, :, order]
    R_cam_view = shortest_arc(torch.eye(3).to(middle)[2].expand_as(middle), middle)
    rays = rays @ R_cam_view
    image = rays[..., :2] / rays[..., 2:]
    R_view_world = R_cam_view.mT @ camera.R_cam_world.unsqueeze(-3)
    return SeenHands(
        weight=confidence * observed,
        image=image - image.mean(2, keepdim=True),
        positions=positions - positions.mean(2, keepdim=True),
        depth=motion.joints_cam[:, _WRISTS].double().norm(dim=-1),
        R_view_elbow=R_view_world @ R_world_elbow,
    )


def _bone_lengths(seen: SeenHands) -> Float[Tensor, "2 5 4"]:
    """Return the median length of each bone in the frames in which its hand is seen, metres; 1 for unseen hands."""
    fingers = seen.positions[:, :, 1:].unflatten(2, (len(FINGERS), -1))
    wrist = seen.positions[:, :, :1, None].expand(-1, -1, len(FINGERS), -1, -1)
    lengths = torch.cat([wrist, fingers], dim=3).diff(dim=3).norm(dim=-1)
    of_seen = torch.where((seen.weight > 0)[..., None, None], lengths, torch.nan)
    return of_seen.nanmedian(dim=0).values.nan_to_num(nan=1.0)


def _observed_wrists(seen: SeenHands, bones: Float[Tensor, "2 5 4 3"]) -> Float[Tensor, "time 2 3 3"]:
    """Compute the rotations of the wrists that align the bones of the palm with the detected positions."""
    palm = seen.positions[:, :, 1 :: bones.shape[2]] - seen.positions[:, :, :1]
    covariance = torch.einsum("tsfi,sfj->tsij", palm, bones[:, :, 0])
    covariance = covariance + 1e-12 * torch.eye(3).to(covariance)  # Of hands that are not seen.
    return seen.R_view_elbow.mT @ torch.as_tensor(roma.special_procrustes(covariance))


def _solve_windows(
    motion: Motion,
    seen: SeenHands,
    bones: Float[Tensor, "2 5 4 3"],
    R_of_body: Float[Tensor, "time 2 3 3"],
    start: HandPose,
) -> HandPose:
    """Solve some frames at a time. Frames far from any seen hand keep the body's wrists and resting fingers."""
    rates, parts = (motion.frame_index.diff() == 1).double() * motion.fps / 30, []
    for first in range(0, len(motion), _WINDOW):
        begin, end = max(first - _MARGIN, 0), min(first + _WINDOW + _MARGIN, len(motion))
        window, inner = slice(begin, end), slice(first - begin, first - begin + _WINDOW)
        pose = HandPose.resting(R_of_body[window])
        if (seen.weight[window] > 0).any():
            pose = solve_hands(seen[window], bones, rates[begin : end - 1], R_of_body[window], start[window])
        parts.append(pose[inner])
    return concat(parts)


def _share_twist(
    R: Float[Tensor, "time 24 3 3"], R_elbow_wrist: Float[Tensor, "time 2 3 3"], joints: Float[Tensor, "24 3"]
) -> tuple[Float[Tensor, "time 2 3 3"], Float[Tensor, "time 2 3 3"]]:
    """Return the rotations of elbows and wrists after half of the change of the wrist's twist went to the forearm,
    within the limits of the elbow. The hand stays where it is."""
    axis = safe_normalize(joints[_WRISTS] - joints[_ELBOWS])
    quaternion = roma.rotmat_to_unitquat(R_elbow_wrist @ R[:, _WRISTS].mT)
    change = 2 * torch.atan2((quaternion[..., :3] * axis).sum(-1), quaternion[..., 3])
    change = torch.remainder(change + torch.pi, 2 * torch.pi) - torch.pi
    change = torch.from_numpy(np.unwrap(change.numpy(), axis=0))
    low, high = (bound[_ELBOWS, 0].double() for bound in coordinate_limits())
    twist = to_coordinates(R)[:, _ELBOWS, 0]
    share = (twist + change / 2).clamp(low.minimum(twist), high.maximum(twist)) - twist
    forearm = roma.rotvec_to_rotmat(share[..., None] * axis)
    return R[:, _ELBOWS] @ forearm, forearm.mT @ R_elbow_wrist
