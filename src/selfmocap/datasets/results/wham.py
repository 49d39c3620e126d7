"""Read WHAM (`wham_output.pkl`, joblib): people by id, SMPL in the camera and in a world that is y up.

Source: `demo.py` (what is stored), `lib/models/smpl.py` (the world's origin is the middle of the hips)."""

from typing import Any

import numpy as np

from selfmocap.body_model.skeleton import JOINT
from selfmocap.datasets.results.record import (
    ResultPerson,
    ResultSource,
    SystemResult,
    camera_of_middle,
    frame_numbers,
    keys_of,
    mean_betas,
    numbers,
    person_in_camera_and_world,
    rotations_from_vectors,
    tensor,
)

_KEYS = {"pose", "trans", "pose_world", "trans_world", "betas", "frame_ids"}
_DEFAULT_SIZE = (1920, 1080)


def is_wham(data: Any) -> bool:
    """Test whether the data is a dict of people with WHAM's keys."""
    return bool(keys_of(data)) and all(keys_of(person) >= _KEYS for person in data.values())


def read_wham(source: ResultSource) -> SystemResult:
    """Read all people. The focal length, which the file does not hold, is the user's, or the diagonal of the video:
    WHAM's without `--calib`."""
    size = source.image_size or _DEFAULT_SIZE
    people = [_person(source, str(name), person) for name, person in source.data.items()]
    return SystemResult("WHAM", camera_of_middle(source, source.focal or np.hypot(*size), size), people)


def _person(source: ResultSource, name: str, data: dict[str, Any]) -> ResultPerson:
    index = frame_numbers(source, data["frame_ids"], "frame_ids")
    frames = len(index)
    R = rotations_from_vectors(source, data["pose"], "pose", 24, frames)
    R_world_root = rotations_from_vectors(source, data["pose_world"], "pose_world", 24, frames)[:, 0]
    betas = mean_betas(source, data["betas"], "betas", frames)
    joints = source.rest_joints(betas)
    to_hips = (joints[JOINT["left_hip"]] + joints[JOINT["right_hip"]]) / 2 - joints[0]
    trans = tensor(numbers(source, data["trans"], "trans", (frames, 3)))
    p_world_hips = tensor(numbers(source, data["trans_world"], "trans_world", (frames, 3)))
    person = ResultPerson(name, index, betas, R, trans + joints[0])
    return person_in_camera_and_world(person, R_world_root, p_world_hips - R_world_root @ to_hips)
