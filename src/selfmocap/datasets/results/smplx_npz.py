"""Read parameters under the names of the `smplx` library (`.npz`, `.pkl`, `.pt`): `global_orient`, `body_pose`,
`betas`, `transl`; one person in a world."""

from typing import Any

import numpy as np
import torch

from selfmocap.datasets.results.record import (
    ResultPerson,
    ResultSource,
    SystemResult,
    keys_of,
    mean_betas,
    numbers,
    result_of_world,
    rotation_to_y_up,
    rotations_from_vectors,
    tensor,
)

_KEYS = {"global_orient", "body_pose", "betas", "transl"}
_MAX_FPS = 1000


def is_smplx(data: Any) -> bool:
    """Test whether the data has the names of the `smplx` library."""
    return keys_of(data) >= _KEYS


def read_smplx(source: ResultSource) -> SystemResult:
    """Read the person. The vertical of the world is the axis along which they stand; `fps` is optional."""
    data = source.data
    transl = numbers(source, data["transl"], "transl", (-1, 3))
    frames = len(transl)
    pose = np.concatenate(
        [
            numbers(source, np.reshape(data[key], (frames, -1)), key, (frames, -1))
            for key in ("global_orient", "body_pose")
        ],
        axis=1,
    )
    if pose.shape[1] not in (66, 72):
        raise ValueError(
            f"{source.path}: global_orient and body_pose have {pose.shape[1]} numbers a frame; expected 3 and 63 "
            "(SMPL-H, SMPL-X) or 3 and 69 (SMPL) of rotation vectors"
        )
    R = rotations_from_vectors(source, pose, "body_pose", pose.shape[1] // 3, frames)
    betas = mean_betas(source, data["betas"], "betas", frames)
    p = tensor(transl) + source.rest_joints(betas)[0]
    R_yup_file = rotation_to_y_up(R[:, 0])
    R[:, 0] = R_yup_file @ R[:, 0]
    person = ResultPerson("1", torch.arange(frames), betas, R, p @ R_yup_file.T)
    fps = numbers(source, data["fps"], "fps", ()) if "fps" in data else None
    if fps is not None and not 1 <= fps <= _MAX_FPS:
        raise ValueError(f"{source.path}: fps is {float(fps):g}; expected 1 to {_MAX_FPS} frames a second")
    model = "smplx" if pose.shape[1] == 66 else "smpl"
    return result_of_world("smplx", [person], model, None if fps is None else float(fps))
