"""Read AMASS (`.npz`): SMPL-H or SMPL-X parameters, z up."""

import logging
import math
from pathlib import Path

import numpy as np
import roma
import torch
from jaxtyping import Float
from torch import Tensor

from selfmocap.datasets.smpl_motion import SmplMotion, smpl_rotations
from selfmocap.geometry.rotations import R_YUP_ZUP
from selfmocap.io.npz import check_shapes, read_npz

_KEYS = ("trans", "poses", "betas", "gender")
_RATES = ("mocap_framerate", "mocap_frame_rate", "framerate", "frame_rate", "fps")
_LENGTH = "mocap_time_length"
_PARTS_OF_POSES = ("root_orient", "pose_body")
_BETAS = 10
_POSE_SIZES = {66: "smplh", 72: "smpl", 156: "smplh", 165: "smplx"}
"""Numbers per frame, and the models that have as many: the body's joints without hands, SMPL, SMPL-H and SMPL-X."""
_GENDERS = {"f": "female", "m": "male", "n": "neutral"}
_MAX_BETAS_CHANGE = 0.05
_RATE_TOLERANCE = 0.05
"""Relative difference between the declared frame rate and the frames by the declared length."""
_UPRIGHT_COSINE, _MIN_UPRIGHT_FRACTION = 0.8, 0.8
_MAX_LYING_TRANSLATION, _STANDING_TRANSLATIONS = 0.7, (0.8, 1.6)
"""Metres of `trans` along the axis that is up, of a person who lies on the floor and of one who stands on it. The
pelvis of SMPL's rest pose is 0.23 m below the origin."""

_log = logging.getLogger(__name__)


def read_amass(path: Path | str, fps: float | None = None, subject: str = "") -> SmplMotion:
    """Read the motion of an AMASS file, rotated from z up to y up.

    A file whose person stands along y is y up already, as some tools write it; a warning says so. `fps` overrides the
    file's rate. Raises ValueError that names the file, the key and the expected content."""
    path = Path(path)
    arrays = read_npz(path, only={*_KEYS, *_RATES, *_PARTS_OF_POSES, _LENGTH})
    if "poses" not in arrays and arrays.keys() >= set(_PARTS_OF_POSES):
        arrays["poses"] = np.concatenate([_as_rows(arrays[key]) for key in _PARTS_OF_POSES], axis=1)
    if missing := [key for key in _KEYS if key not in arrays]:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected an AMASS motion (not shape.npz or *_stagei.npz)"
        )
    arrays |= {"poses": _as_rows(arrays["poses"]), "gender": _as_scalar(arrays["gender"])}
    check_shapes(path, arrays, {"trans": ("time", 3), "poses": ("time", "pose"), "gender": ()})
    for key in ("trans", "poses", "betas"):
        if arrays[key].dtype.kind not in "fiu" or not np.isfinite(arrays[key]).all():
            raise ValueError(f"{path}: {key} contains values that are not finite numbers; download it again")
    betas = _betas(path, arrays)
    if arrays["poses"].shape[1] not in _POSE_SIZES or not len(arrays["trans"]):
        raise ValueError(
            f"{path}: poses of shape {arrays['poses'].shape}; expected {', '.join(map(str, _POSE_SIZES))} numbers a "
            "frame"
        )
    return _motion(path, arrays, betas, _rate(path, arrays) if fps is None else fps, subject)


def _as_rows(array: np.ndarray) -> np.ndarray:
    """Flatten (time, joints, 3) to (time, 3 joints)."""
    return array.reshape(len(array), -1) if array.ndim == 3 and array.shape[2] == 3 else array


def _as_scalar(array: np.ndarray) -> np.ndarray:
    """Flatten an array of one element to a number or text."""
    return array.reshape(()) if array.size == 1 else array


def _betas(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return one row of betas: those of all frames where they are equal, their mean where they are nearly equal."""
    betas = arrays["betas"]
    rows = betas.reshape(-1, betas.shape[-1]) if betas.ndim in (1, 2) and betas.size else betas
    if rows.ndim != 2 or len(rows) not in (1, len(arrays["trans"])) or rows.shape[1] < _BETAS:
        raise ValueError(
            f"{path}: betas has shape {betas.shape}, expected at least {_BETAS} betas, once or in each frame"
        )
    if np.ptp(rows, axis=0).max() > _MAX_BETAS_CHANGE:
        raise ValueError(
            f"{path}: betas change by {np.ptp(rows, axis=0).max():.2f} between the frames; expected one person: "
            "split the file, or give their mean"
        )
    return rows.mean(0, dtype=np.float64) if len(rows) > 1 else rows[0].astype(np.float64)


def _rate(path: Path, arrays: dict[str, np.ndarray]) -> float:
    rates = {key: _as_scalar(arrays[key]) for key in _RATES if key in arrays}
    numbers = {key: float(rate) for key, rate in rates.items() if rate.ndim == 0 and rate.dtype.kind in "fiu"}
    key, rate = next(iter(numbers.items()), ("", math.nan))
    if not 1 <= rate <= 1000:
        raise ValueError(
            f"{path}: expected {' or '.join(_RATES[:2])} as one number of frames per second, found "
            f"{rate if numbers else 'none'}; give the rate as fps in motions.csv"
        )
    if (seconds := arrays.get(_LENGTH)) is not None and seconds.size == 1 and seconds.dtype.kind in "fiu":
        measured = len(arrays["trans"]) / max(float(seconds.item()), 1e-9)
        if abs(measured / rate - 1) > _RATE_TOLERANCE:
            raise ValueError(
                f"{path}: {key} is {rate:g}, but {len(arrays['trans'])} frames in {_LENGTH} {float(seconds.item()):g} "
                f"s make {measured:.4g} frames per second; give the true rate as fps in motions.csv"
            )
    return rate


def _motion(
    path: Path, arrays: dict[str, np.ndarray], betas: np.ndarray, fps: float, subject: str
) -> SmplMotion:
    R = smpl_rotations(arrays["poses"])
    trans = arrays["trans"].astype(np.float64)
    R_world_file = R_YUP_ZUP
    if _is_y_up(R[:, 0].numpy(), trans):
        _log.warning("%s: its world is y up, not z up as AMASS's; it is read so", path)
        R_world_file = torch.eye(3, dtype=torch.float64)
    R[:, 0] = R_world_file @ R[:, 0]
    gender = arrays["gender"].item()
    gender = (gender.decode("latin1") if isinstance(gender, bytes) else str(gender)).strip().lower()
    return SmplMotion(
        name=path.stem,
        subject=subject or path.parent.name,
        gender=_GENDERS.get(gender, gender),
        fps=fps,
        betas=torch.from_numpy(betas[:_BETAS]),
        R_parent_joint=R,
        transl=torch.from_numpy(trans),
        R_world_file=R_world_file,
        model=_POSE_SIZES[arrays["poses"].shape[1]],
        R_straight_finger=_fingers(arrays["poses"]),
    )


def _fingers(poses: np.ndarray) -> Float[Tensor, "time 30 3 3"] | None:
    """Return the last 30 joints of SMPL-H; None for another model, and where all fingers are straight."""
    fingers = poses[:, 66:].astype(np.float64)
    if _POSE_SIZES[poses.shape[1]] != "smplh" or not fingers.any():
        return None
    return roma.rotvec_to_rotmat(torch.from_numpy(fingers).unflatten(1, (-1, 3)))


def _is_y_up(R_file_pelvis: np.ndarray, trans: np.ndarray) -> bool:
    """Test whether the person stands along y, and does not lie along y on a floor that is z up."""
    standing = (R_file_pelvis[:, 1, 1] > _UPRIGHT_COSINE).mean() >= _MIN_UPRIGHT_FRACTION
    y, z = np.median(trans[:, 1]), np.median(trans[:, 2])
    low, high = _STANDING_TRANSLATIONS
    lying = 0 < z < _MAX_LYING_TRANSLATION and not low < y < high
    return bool(standing and not lying)
