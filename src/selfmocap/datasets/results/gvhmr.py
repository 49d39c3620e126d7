"""Read GVHMR (`hmr4d_results.pt`): one person, SMPL-X in the camera and in a world that is y up.

Source: `hmr4d/model/gvhmr/gvhmr_pl_demo.py` (what is stored), `tools/demo/demo.py` (every frame of the video)."""

from typing import Any

import numpy as np
import torch

from selfmocap.datasets.results.record import (
    ResultCamera,
    ResultPerson,
    ResultSource,
    SystemResult,
    keys_of,
    mean_betas,
    numbers,
    person_in_camera_and_world,
    rotations_from_vectors,
    tensor,
)

_KEYS = {"smpl_params_global", "smpl_params_incam", "K_fullimg"}
_SMPL_KEYS = {"body_pose", "global_orient", "betas", "transl"}


def is_gvhmr(data: Any) -> bool:
    """Test whether the data has SMPL-X's parameters in the camera and in the world, and the intrinsics."""
    return keys_of(data) >= _KEYS and all(
        keys_of(data[key]) >= _SMPL_KEYS for key in ("smpl_params_global", "smpl_params_incam")
    )


def read_gvhmr(source: ResultSource) -> SystemResult:
    """Read the person, whose frames are all frames of the video."""
    data, incam = source.data, source.data["smpl_params_incam"]
    K = numbers(source, data["K_fullimg"], "K_fullimg", (-1, 3, 3))
    frames = len(K)
    R = _rotations(source, incam, frames)
    R_world_root = _rotations(source, data["smpl_params_global"], frames)[:, 0]
    betas = mean_betas(source, incam["betas"], "betas", frames)
    betas_world = mean_betas(source, data["smpl_params_global"]["betas"], "betas", frames)
    p_cam, p_world = (
        tensor(numbers(source, part["transl"], "transl", (frames, 3))) + source.rest_joints(shape)[0]
        for part, shape in ((incam, betas), (data["smpl_params_global"], betas_world))
    )
    person = person_in_camera_and_world(
        ResultPerson("1", torch.arange(frames), betas, R, p_cam), R_world_root, p_world
    )
    K = np.median(K, axis=0)
    if min(K[0, 0], K[1, 1], K[0, 2], K[1, 2]) <= 0:
        raise ValueError(
            f"{source.path}: K_fullimg has {K.tolist()}; expected a focal length and a centre above 0"
        )
    # GVHMR counts pixels from the corner of the image.
    camera = ResultCamera(
        tensor(K.diagonal()[:2].copy()),
        tensor(K[:2, 2] - 0.5),
        (round(2 * K[0, 2]), round(2 * K[1, 2])),
    )
    return SystemResult("GVHMR", camera, [person], model="smplx")


def _rotations(source: ResultSource, part: dict[str, Any], frames: int) -> torch.Tensor:
    orient = numbers(source, part["global_orient"], "global_orient", (frames, 3))
    pose = numbers(source, part["body_pose"], "body_pose", (frames, 63))
    return rotations_from_vectors(source, np.concatenate([orient, pose], axis=1), "body_pose", 22, frames)
