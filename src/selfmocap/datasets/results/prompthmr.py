"""Read PromptHMR-Vid (`results.pkl`, joblib): SMPL-X in the camera, and the camera in a world that is y up.

Source: `pipeline/phmr_vid.py`, `pipeline/world.py` and `pipeline/pipeline.py`. The video is reduced to a height of 896
px, to which the intrinsics refer."""

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

_CAMERA_KEYS = {"img_focal", "img_center"}
_WORLD_KEYS = {"Rcw", "Tcw"}
_PERSON_KEYS = {"frames", "smplx_cam"}
_SMPLX_JOINTS = 55


def is_prompthmr(data: Any) -> bool:
    """Test whether the data has a camera and people with SMPL-X's parameters in the camera."""
    people = data.get("people") if isinstance(data, dict) else None
    return (
        isinstance(people, dict)
        and bool(people)
        and keys_of(data.get("camera")) >= _CAMERA_KEYS
        and all(keys_of(person) >= _PERSON_KEYS for person in people.values())
    )


def read_prompthmr(source: ResultSource) -> SystemResult:
    """Read all people."""
    camera, world = source.data["camera"], source.data.get("camera_world")
    R_cam_world = t_cam_world = None
    if keys_of(world) >= _WORLD_KEYS:
        R_cam_world = tensor(numbers(source, world["Rcw"], "Rcw", (-1, 3, 3)))
        t_cam_world = tensor(numbers(source, world["Tcw"], "Tcw", (len(R_cam_world), 3)))
    people = [
        _person(source, str(name), person, R_cam_world, t_cam_world)
        for name, person in source.data["people"].items()
    ]
    focal = numbers(source, np.ravel(camera["img_focal"])[:1], "img_focal", (1,))
    center = numbers(source, np.ravel(camera["img_center"]), "img_center", (2,))
    size = (round(2 * center[0]), round(2 * center[1]))
    seen_by = ResultCamera(tensor(np.repeat(focal, 2)), tensor(center - 0.5), size)
    return SystemResult("PromptHMR", seen_by, people, model="smplx")


def _person(
    source: ResultSource,
    name: str,
    data: dict[str, Any],
    R_cam_world: torch.Tensor | None,
    t_cam_world: torch.Tensor | None,
) -> ResultPerson:
    index, body = frame_numbers(source, data["frames"], "frames"), data["smplx_cam"]
    frames = len(index)
    if missing := sorted({"rotmat", "shape", "trans"} - keys_of(body)):
        raise ValueError(f"{source.path}: smplx_cam of person {name} lacks {', '.join(missing)}")
    if R_cam_world is not None and index.max() >= len(R_cam_world):
        raise ValueError(
            f"{source.path}: frame {int(index.max())} of person {name}, but cameras of {len(R_cam_world)} frames"
        )
    betas = mean_betas(source, body["shape"], "shape", frames)
    trans = tensor(numbers(source, np.reshape(body["trans"], (frames, -1)), "trans", (frames, 3)))
    return ResultPerson(
        name,
        index,
        betas,
        rotations_from_matrices(source, body["rotmat"], "rotmat", _SMPLX_JOINTS, frames),
        trans + source.rest_joints(betas)[0],
        None if R_cam_world is None else R_cam_world[index],
        None if t_cam_world is None else t_cam_world[index],
    )
