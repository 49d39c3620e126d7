"""Write SMPL parameters in the form of the `smplx` library and in that of AMASS (both `.npz`)."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.body_model.body import Body
from selfmocap.body_model.model_files import SMPL_MEAN_PELVIS, USER_BETAS
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.export.segments import Segment
from selfmocap.export.smpl_fit import fit_parameters
from selfmocap.geometry.rotations import R_ZUP_YUP
from selfmocap.io.npz import write_npz

_AMASS_JOINTS, _AMASS_BETAS, _AMASS_SOFT_TISSUE = 52, 16, 8


def fit_to_smpl(motion: Motion, body: Body, model: Body) -> Motion:
    """Convert a motion to an SMPL model, with one shape for all frames; return a motion of that model unchanged."""
    if model.identity == body.identity:
        return motion
    return replace(motion, parameters=fit_parameters(motion.parameters, body, model), body=model.identity)


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

    The world is the motion's, y up. The times, rate and confidence of the frames are written too."""
    smpl, parameters = _shape(segment, body), segment.parameters
    rotvec = roma.rotmat_to_rotvec(parameters.R_parent_joint).flatten(1).numpy()
    write_npz(
        path,
        {
            "global_orient": rotvec[:, :3].astype(np.float32),
            "body_pose": rotvec[:, 3:].astype(np.float32),
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


def write_amass(path: Path, segment: Segment, body: Body) -> None:
    """Write a segment at its constant rate with AMASS' keys, z up, for SMPL-H with straight fingers.

    SMPL's two hand joints, which SMPL-H does not have, are left out."""
    smpl, parameters = _shape(segment, body), segment.parameters
    R = parameters.R_parent_joint.clone()
    R[:, 0] = R_ZUP_YUP @ R[:, 0]
    poses = np.zeros((len(segment), _AMASS_JOINTS, 3))
    shared = JOINT["left_hand"]
    poses[:, :shared] = roma.rotmat_to_rotvec(R[:, :shared]).numpy()
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
