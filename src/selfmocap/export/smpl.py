"""SMPL's own parameters, as the `smplx` library takes them, and AMASS' form of them (both `.npz`)."""

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
from selfmocap.export.rig import R_ZUP_YUP
from selfmocap.export.smpl_fit import refit
from selfmocap.export.takes import Take
from selfmocap.io.npz import write_npz

_AMASS_JOINTS, _AMASS_BETAS, _AMASS_SOFT_TISSUE = 52, 16, 8


def fitted(motion: Motion, body: Body, model: Body) -> Motion:
    """The motion as that of an SMPL model, with one shape for all its frames; unchanged where it is of that model."""
    if model.identity == body.identity:
        return motion
    return replace(motion, parameters=refit(motion.parameters, body, model), body=model.identity)


@dataclass(frozen=True, eq=False)
class _SmplShape:
    betas: np.ndarray
    rest_pelvis: Float[Tensor, "3"]
    """Of the model in that shape. SMPL's translation is where the pelvis is, less this."""
    body: str


def _shape(take: Take, body: Body) -> _SmplShape:
    """The embedded body's shape means nothing for SMPL: without the user's file, rotations and path are for SMPL's
    mean shape, whose bones point some degrees elsewhere."""
    if body.identity == Body.load().identity:
        pelvis = torch.tensor(SMPL_MEAN_PELVIS, dtype=torch.float64)
        return _SmplShape(
            np.zeros(USER_BETAS), pelvis, f"SMPL's mean shape, not fitted; from {body.identity}"
        )
    betas = take.parameters.betas
    joints = body.to(torch.float64).shape(betas).joints
    return _SmplShape(betas.numpy(), joints[JOINT["pelvis"]], body.identity)


def write_smpl(path: Path, take: Take, body: Body) -> None:
    """Writes `global_orient` (T, 3), `body_pose` (T, 69), both rotation vectors, `betas` and `transl` (T, 3), metres,
    in the motion's world, which is y up; beside them the frames' times, rate and confidence."""
    smpl, parameters = _shape(take, body), take.parameters
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
            "fps": take.fps,
            "frame_times": take.times.numpy(),
            "confidence": take.confidence.numpy().astype(np.float32),
            "filled": take.filled.numpy(),
        },
    )


def write_amass(path: Path, take: Take, body: Body) -> None:
    """Writes a take at its constant rate with AMASS' keys, z up, for SMPL-H with straight fingers: SMPL's own two
    hand joints, which SMPL-H has not, are left out."""
    smpl, parameters = _shape(take, body), take.parameters
    R = parameters.R_parent_joint.clone()
    R[:, 0] = R_ZUP_YUP @ R[:, 0]
    poses = np.zeros((len(take), _AMASS_JOINTS, 3))
    shared = JOINT["left_hand"]
    poses[:, :shared] = roma.rotmat_to_rotvec(R[:, :shared]).numpy()
    betas = np.zeros(_AMASS_BETAS)
    betas[: len(smpl.betas)] = smpl.betas
    write_npz(
        path,
        {
            "trans": (parameters.p_world_root @ R_ZUP_YUP.T - smpl.rest_pelvis).numpy(),
            "poses": poses.reshape(len(take), -1),
            "betas": betas,
            "dmpls": np.zeros((len(take), _AMASS_SOFT_TISSUE)),
            "gender": "neutral",
            "mocap_framerate": float(take.fps),
            "body": smpl.body,
        },
    )
