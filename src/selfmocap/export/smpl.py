"""Write SMPL parameters in the form of the `smplx` library and in that of AMASS (both `.npz`)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.fingers import has_fingers, relative_to_straight
from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS, USER_BETAS
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import FINGERS, HAND_SIDES, JOINT
from selfmocap.export.segments import Segment
from selfmocap.export.smpl_fit import fit_parameters
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import R_ZUP_YUP
from selfmocap.io.npz import write_npz

_AMASS_JOINTS, _AMASS_BETAS, _AMASS_SOFT_TISSUE = 52, 16, 8


def fit_to_smpl(motion: Motion, body: Body, model: Body) -> Motion:
    """Convert a motion to an SMPL model, with one shape for all frames; return a motion of that model unchanged."""
    if model.identity == body.identity:
        return motion
    parameters = fit_parameters(motion.parameters, body, model)
    fingers = None if motion.fingers is None else _straightened(motion.all_parameters.R_parent_joint, body)
    return replace(motion, parameters=parameters, body=model.identity, fingers=fingers)


def _straightened(R: Float[Tensor, "time 54 3 3"], body: Body) -> Float[Tensor, "time 30 3 3"]:
    """Return finger rotations for SMPL-H, which rests with straight fingers and has no joints of the hands."""
    fingers = R[:, len(JOINT) :].unflatten(1, (len(HAND_SIDES), len(FINGERS), -1)).clone()
    hands = [JOINT[f"{side}_hand"] for side in HAND_SIDES]
    fingers[:, :, :, 0] = R[:, hands, None] @ fingers[:, :, :, 0]
    return relative_to_straight(fingers.flatten(1, 3)) if has_fingers(body) else fingers.flatten(1, 3)


@dataclass(frozen=True, eq=False)
class _SmplShape:
    betas: np.ndarray
    rest_pelvis: Float[Tensor, "3"]
    """Pelvis of the model in that shape. SMPL's translation is the position of the pelvis minus this."""
    body: str


def _shape(segment: Segment, body: Body) -> _SmplShape:
    """Return the shape that is written.

    The shape coefficients of the embedded body have no meaning for SMPL. Without the user's file, rotations and path
    are written for SMPL's mean shape, whose bones differ in direction by some degrees."""
    if body.identity == Body.load().identity:
        pelvis = torch.tensor(SMPL_MEAN_PELVIS, dtype=torch.float64)
        return _SmplShape(
            np.zeros(USER_BETAS), pelvis, f"SMPL's mean shape, not fitted; from {body.identity}"
        )
    betas = segment.parameters.betas
    joints = body.to(torch.float64).shape(betas).joints
    return _SmplShape(betas.numpy(), joints[JOINT["pelvis"]], body.identity)


def write_smpl(path: Path, segment: Segment, body: Body) -> None:
    """Write `global_orient` (T, 3), `body_pose` (T, 69), both rotation vectors, `betas` and `transl` (T, 3), metres.

    With fingers also `left_hand_pose` and `right_hand_pose` (T, 45): rotation vectors from straight fingers, in the
    order of SMPL-H and SMPL-X (`use_pca=False`, `flat_hand_mean=True`). The world is the motion's, y up. The times,
    rate and confidence of the frames are written too."""
    smpl, parameters = _shape(segment, body), segment.parameters
    rotvec = roma.rotmat_to_rotvec(parameters.R_parent_joint[:, : len(JOINT)]).flatten(1).numpy()
    hands = {
        f"{side}_hand_pose": pose.flatten(1).numpy().astype(np.float32)
        for side, pose in zip(HAND_SIDES, _hand_poses(segment, body), strict=False)
    }
    write_npz(
        path,
        {
            "global_orient": rotvec[:, :3].astype(np.float32),
            "body_pose": rotvec[:, 3:].astype(np.float32),
            **hands,
            "betas": smpl.betas.astype(np.float32),
            "transl": (parameters.p_world_root - smpl.rest_pelvis).numpy().astype(np.float32),
            "gender": "neutral",
            "body": smpl.body,
            "fps": segment.fps,
            "frame_times": segment.times.numpy(),
            "confidence": segment.confidence.numpy().astype(np.float32),
            "filled": segment.filled.numpy(),
        },
    )


def _hand_poses(segment: Segment, body: Body) -> tuple[Float[Tensor, "time 15 3"], ...]:
    """Return the rotation vectors of the finger joints of both hands from straight fingers; none without fingers."""
    R = segment.parameters.R_parent_joint
    return () if R.shape[1] == len(JOINT) else roma.rotmat_to_rotvec(_straightened(R, body)).chunk(2, dim=1)


def write_amass(path: Path, segment: Segment, body: Body) -> None:
    """Write a segment at its constant rate with AMASS' keys, z up, for SMPL-H. Fingers that rest are straight.

    SMPL's two hand joints, which SMPL-H does not have, are left out."""
    smpl, parameters = _shape(segment, body), segment.parameters
    R = parameters.R_parent_joint.clone()
    R[:, 0] = R_ZUP_YUP @ R[:, 0]
    poses = np.zeros((len(segment), _AMASS_JOINTS, 3))
    shared = JOINT["left_hand"]
    poses[:, :shared] = roma.rotmat_to_rotvec(R[:, :shared]).numpy()
    for side, pose in enumerate(_hand_poses(segment, body)):
        poses[:, shared + 15 * side : shared + 15 * (side + 1)] = pose.numpy()
    betas = np.zeros(_AMASS_BETAS)
    betas[: len(smpl.betas)] = smpl.betas
    write_npz(
        path,
        {
            "trans": (parameters.p_world_root @ R_ZUP_YUP.T - smpl.rest_pelvis).numpy(),
            "poses": poses.reshape(len(segment), -1),
            "betas": betas,
            "dmpls": np.zeros((len(segment), _AMASS_SOFT_TISSUE)),
            "gender": "neutral",
            "mocap_framerate": float(segment.fps),
            "body": smpl.body,
        },
    )
