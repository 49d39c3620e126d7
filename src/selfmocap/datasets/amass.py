"""Read AMASS (`.npz`): SMPL-H or SMPL-X parameters, z up."""

import math
from pathlib import Path

import numpy as np
import torch

from selfmocap.datasets.smpl_motion import SmplMotion, smpl_rotations
from selfmocap.geometry.rotations import R_YUP_ZUP
from selfmocap.io.npz import check_shapes, read_npz

_KEYS = ("trans", "poses", "betas", "gender")
_RATES = ("mocap_framerate", "mocap_frame_rate")
_BETAS = 10
_POSE_SIZES = (72, 156, 165)
"""Numbers per frame of SMPL, SMPL-H and SMPL-X."""


def read_amass(path: Path | str, subject: str = "") -> SmplMotion:
    """Read the motion of an AMASS file, rotated from z up to y up.

    Raises ValueError that names the file, the key and the expected content."""
    path = Path(path)
    arrays = read_npz(path, only={*_KEYS, *_RATES})
    if missing := [key for key in _KEYS if key not in arrays]:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected an AMASS motion (not shape.npz or *_stagei.npz)"
        )
    rate = next((float(arrays[key]) for key in _RATES if key in arrays and arrays[key].ndim == 0), math.nan)
    if not 1 <= rate <= 1000:
        raise ValueError(
            f"{path}: expected {' or '.join(_RATES)} as one number of frames per second, found {rate}"
        )
    check_shapes(
        path, arrays, {"trans": ("time", 3), "poses": ("time", "pose"), "betas": ("betas",), "gender": ()}
    )
    if (
        arrays["poses"].shape[1] not in _POSE_SIZES
        or len(arrays["betas"]) < _BETAS
        or not len(arrays["trans"])
    ):
        raise ValueError(
            f"{path}: poses of shape {arrays['poses'].shape} and {len(arrays['betas'])} betas; expected "
            f"{', '.join(map(str, _POSE_SIZES))} numbers a frame, and at least {_BETAS} betas"
        )
    for key in ("trans", "poses", "betas"):
        if arrays[key].dtype.kind != "f" or not np.isfinite(arrays[key]).all():
            raise ValueError(f"{path}: {key} contains values that are not finite numbers; download it again")
    return _to_y_up(path, arrays, rate, subject)


def _to_y_up(path: Path, arrays: dict[str, np.ndarray], rate: float, subject: str) -> SmplMotion:
    R = smpl_rotations(arrays["poses"])
    R[:, 0] = R_YUP_ZUP @ R[:, 0]
    gender = arrays["gender"].item()
    return SmplMotion(
        name=path.stem,
        subject=subject or path.parent.name,
        gender=gender.decode("latin1") if isinstance(gender, bytes) else str(gender),
        fps=rate,
        betas=torch.from_numpy(arrays["betas"][:_BETAS].astype(np.float64)),
        R_parent_joint=R,
        transl=torch.from_numpy(arrays["trans"].astype(np.float64)),
        R_world_file=R_YUP_ZUP,
    )
