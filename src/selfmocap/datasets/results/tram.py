"""Read TRAM (`results/NAME/`: `camera.npy`, `hps/hps_track_*.npy`): SMPL in the camera, and the path of the camera.

Source: `lib/models/hmr_vimo.py` and `scripts/estimate_camera.py` (what is stored), `lib/pipeline/visualization.py`
(frames of reference)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap.datasets.results.record import (
    ResultCamera,
    ResultPerson,
    ResultSource,
    SystemResult,
    frame_numbers,
    keys_of,
    mean_betas,
    numbers,
    rotations_from_matrices,
    tensor,
)
from selfmocap.io.pickled_files import read_pickled_file

_KEYS = {"pred_rotmat", "pred_shape", "pred_trans", "frame"}
_CAMERA_KEYS = {"pred_cam_R", "pred_cam_T", "img_focal", "img_center"}
_MAX_PEOPLE = 100
_R_YUP_YDOWN = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


def is_tram(data: Any) -> bool:
    """Test whether the data is one person's track."""
    return keys_of(data) >= _KEYS


def tram_tracks(folder: Path) -> list[Path]:
    """Return the tracks of a folder of TRAM; none for another folder."""
    return sorted((folder / "hps").glob("hps_track_*.npy"))[:_MAX_PEOPLE]


def read_tram(source: ResultSource) -> SystemResult:
    """Read one track, or those of a folder, with `camera.npy`, which lies beside the folder `hps`.

    TRAM's world is that of the first frame's camera, unless it has aligned it with gravity (`world_cam_R`)."""
    tracks = tram_tracks(source.path) if source.path.is_dir() else [source.path]
    file = tracks[0].parent.parent / "camera.npy"
    if not file.is_file():
        raise ValueError(
            f"{source.path}: expected TRAM's camera.npy at {file}, found none; give TRAM's whole folder"
        )
    camera = read_pickled_file(file)
    if missing := sorted(_CAMERA_KEYS - keys_of(camera)):
        raise ValueError(f"{file}: lacks {', '.join(missing)}; expected TRAM's camera")
    aligned = keys_of(camera) >= {"world_cam_R", "world_cam_T"}
    names = ("world_cam_R", "world_cam_T") if aligned else ("pred_cam_R", "pred_cam_T")
    # `pred_cam_R` and `pred_cam_T` lead from the camera to the world.
    R_world_cam = tensor(numbers(source, camera[names[0]], names[0], (-1, 3, 3)))
    p_world_cam = tensor(numbers(source, camera[names[1]], names[1], (len(R_world_cam), 3)))
    if not aligned:
        R_world_cam, p_world_cam = _R_YUP_YDOWN @ R_world_cam, p_world_cam @ _R_YUP_YDOWN.T
    people = []
    for number, track in enumerate(tracks):
        data = read_pickled_file(track) if source.path.is_dir() else source.data
        if not is_tram(data):
            raise ValueError(f"{track}: expected a track of TRAM with {', '.join(sorted(_KEYS))}")
        people.append(_person(source, str(number + 1), data, R_world_cam, p_world_cam))
    focal = numbers(source, np.ravel(camera["img_focal"])[:1], "img_focal", (1,))
    center = numbers(source, np.ravel(camera["img_center"]), "img_center", (2,))
    size = (round(2 * center[0]), round(2 * center[1]))
    return SystemResult("TRAM", ResultCamera(tensor(np.repeat(focal, 2)), tensor(center - 0.5), size), people)


def _person(
    source: ResultSource,
    name: str,
    data: dict[str, Any],
    R_world_cam: torch.Tensor,
    p_world_cam: torch.Tensor,
) -> ResultPerson:
    index = frame_numbers(source, data["frame"], "frame")
    frames = len(index)
    if index.max() >= len(R_world_cam):
        raise ValueError(
            f"{source.path}: frame {int(index.max())} of a track, but cameras of {len(R_world_cam)} frames; give the "
            "camera.npy of the same video"
        )
    betas = mean_betas(source, data["pred_shape"], "pred_shape", frames)
    trans = numbers(source, np.reshape(data["pred_trans"], (frames, -1)), "pred_trans", (frames, 3))
    R_cam_world = R_world_cam[index].mT
    return ResultPerson(
        name,
        index,
        betas,
        rotations_from_matrices(source, data["pred_rotmat"], "pred_rotmat", 24, frames),
        tensor(trans) + source.rest_joints(betas)[0],
        R_cam_world,
        -(R_cam_world @ p_world_cam[index][..., None])[..., 0],
    )
