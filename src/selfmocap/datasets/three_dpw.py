"""Read 3D Poses in the Wild (`sequenceFiles/*/*.pkl`): one or two people, a moving camera."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.datasets.smpl_motion import SmplMotion, smpl_rotations
from selfmocap.geometry.camera import Camera
from selfmocap.io.pickles import read_pickle

THREE_DPW_FPS = 30.0
_KEYS = {"sequence", "poses", "trans", "betas", "genders", "cam_poses", "cam_intrinsics", "campose_valid"}
OPENPOSE_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
"""The keypoints of `poses2d`, in order."""
_GENDERS = {"m": "male", "f": "female"}
_BETAS = 10


@dataclass(frozen=True, eq=False)
class ThreeDPWPerson:
    """One person of one sequence, at the frame rate of the video."""

    motion: SmplMotion
    camera: Camera
    """One camera per frame."""
    camera_valid: Bool[Tensor, " time"]
    """Frames whose camera was aligned with the image; the others are not for evaluation."""
    keypoints: Float[Tensor, "time 18 3"] | None
    """OPENPOSE_18 as detected: x and y, px, and the score; None for a file without them."""


def read_three_dpw(path: Path | str) -> list[ThreeDPWPerson]:
    """Read the people of a 3DPW sequence file. No code of the pickle is run.

    Raises ValueError that names the file, the key and the expected content."""
    path = Path(path)
    data = read_pickle(path)
    if not isinstance(data, dict) or not data.keys() >= _KEYS:
        lacks = sorted(_KEYS - data.keys()) if isinstance(data, dict) else sorted(_KEYS)
        raise ValueError(f"{path}: not a 3DPW sequence, it lacks {', '.join(lacks)}")
    by_person = ("poses", "trans", "betas", "genders", "campose_valid")
    if wrong := [key for key in by_person if not _is_list(data[key])]:
        raise ValueError(f"{path}: expected a list by person in {', '.join(wrong)}; download it again")
    people = len(data["poses"])
    for key in by_person:
        if len(data[key]) != people:
            raise ValueError(
                f"{path}: {key} is for {len(data[key])} people, poses for {people}; download it again"
            )
    return [_person(path, data, person) for person in range(people)]


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 0)


def _person(path: Path, data: dict[str, Any], person: int) -> ThreeDPWPerson:
    poses = _numbers(path, data["poses"][person], f"poses[{person}]", (-1, 72))
    frames = len(poses)
    extrinsics = torch.from_numpy(_numbers(path, data["cam_poses"], "cam_poses", (frames, 4, 4)))
    K = torch.from_numpy(_numbers(path, data["cam_intrinsics"], "cam_intrinsics", (3, 3)))
    betas = np.ravel(data["betas"][person])[:_BETAS]
    gender = str(data["genders"][person])
    if gender not in _GENDERS:
        raise ValueError(f"{path}: genders[{person}] is {gender!r}; expected one of {', '.join(_GENDERS)}")
    motion = SmplMotion(
        name=f"{path.stem}_{person}",
        subject=f"{path.stem}_{person}",
        gender=_GENDERS[gender],
        fps=THREE_DPW_FPS,
        betas=torch.from_numpy(_numbers(path, betas, f"betas[{person}]", (_BETAS,))),
        R_parent_joint=smpl_rotations(poses),
        transl=torch.from_numpy(_numbers(path, data["trans"][person], f"trans[{person}]", (frames, 3))),
        R_world_file=torch.eye(3, dtype=torch.float64),
    )
    camera = Camera(
        focal=K.diagonal()[:2],
        center=K[:2, 2],
        R_cam_world=extrinsics[:, :3, :3],
        t_cam_world=extrinsics[:, :3, 3],
    )
    valid = _numbers(path, data["campose_valid"][person], f"campose_valid[{person}]", (frames,)) > 0.5
    detected = data.get("poses2d")
    keypoints = None
    if detected is not None:
        if not _is_list(detected) or len(detected) <= person:
            raise ValueError(f"{path}: expected a list by person in poses2d; download it again")
        shape = (frames, 3, len(OPENPOSE_18))
        keypoints = torch.from_numpy(_numbers(path, detected[person], f"poses2d[{person}]", shape)).mT.float()
    return ThreeDPWPerson(motion, camera.to(torch.float32), torch.from_numpy(valid), keypoints)


def _numbers(path: Path, value: Any, key: str, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    """Convert to finite float64 of this shape (-1: any length except zero)."""
    array = np.asarray(value)
    fits = array.ndim == len(shape) and all(
        n in (m, -1) and m for n, m in zip(shape, array.shape, strict=True)
    )
    if array.dtype.kind not in "biuf" or not fits or not np.isfinite(array).all():
        raise ValueError(
            f"{path}: {key} is {array.dtype} of shape {array.shape}; expected finite numbers {shape}"
        )
    return array.astype(np.float64)
