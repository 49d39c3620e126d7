"""Read EasyMocap (a folder of `000000.json`, ...): people by frame, SMPL in the world of the calibration.

Source: `easymocap/mytools/file_utils.py` (`write_smpl`), `easymocap/smplmodel/body_model.py`: the body in the pose
`poses` is rotated by `Rh` about the origin, not about the pelvis, and moved by `Th`."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import roma
import torch

from selfmocap.datasets.results.record import (
    ResultPerson,
    ResultSource,
    SystemResult,
    frame_numbers,
    keys_of,
    mean_betas,
    numbers,
    result_of_world,
    rotation_to_y_up,
    rotations_from_vectors,
    tensor,
)

_KEYS = {"id", "Rh", "Th", "poses", "shapes"}
_MAX_FILES = 200_000


def is_easymocap(data: Any) -> bool:
    """Test whether the data is a list of people with EasyMocap's keys."""
    people = data.get("annots") if isinstance(data, dict) else data
    return isinstance(people, list) and bool(people) and all(keys_of(person) >= _KEYS for person in people)


def easymocap_frames(folder: Path) -> list[Path]:
    """Return the numbered JSON files of a folder."""
    files = [path for path in folder.glob("*.json") if path.stem.isdigit() and len(path.stem) < 9]
    return sorted(files, key=lambda path: int(path.stem))[:_MAX_FILES]


def read_easymocap(source: ResultSource) -> SystemResult:
    """Read the frames of a folder. `source.data` has the content of each file by the number of its frame.

    The vertical of the calibration's world, which the files do not give, is the axis along which people stand."""
    rows: defaultdict[str, list[tuple[int, dict[str, Any]]]] = defaultdict(list)
    for number, people in source.data.items():
        for person in people.get("annots", []) if isinstance(people, dict) else people:
            if not keys_of(person) >= _KEYS:
                raise ValueError(
                    f"{source.path}: frame {number}: expected people with {', '.join(sorted(_KEYS))}"
                )
            rows[str(person["id"])].append((number, person))
    if not rows:
        raise ValueError(f"{source.path}: no person in {len(source.data)} frames")
    people = [_person(source, name, person) for name, person in rows.items()]
    R_yup_file = rotation_to_y_up(torch.cat([person.R_parent_joint[:, 0] for person in people]))
    return result_of_world("EasyMocap", [_turned(person, R_yup_file) for person in people])


def _person(source: ResultSource, name: str, rows: list[tuple[int, dict[str, Any]]]) -> ResultPerson:
    frames = len(rows)

    def column(key: str) -> list[np.ndarray]:
        return [np.ravel(np.asarray(person[key], dtype=object)).astype(np.float64) for _, person in rows]

    Rh, Th, poses, shapes = (column(key) for key in ("Rh", "Th", "poses", "shapes"))
    width = len(poses[0])
    if width == 69:  # Without the root, whose rotation is Rh.
        poses, width = [np.concatenate([np.zeros(3), pose]) for pose in poses], 72
    if width % 3 or width < 66:
        raise ValueError(
            f"{source.path}: poses of {width} numbers; expected 69, 72 (SMPL) or more (SMPL-H, SMPL-X)"
        )
    R = rotations_from_vectors(source, poses, "poses", width // 3, frames)
    betas = mean_betas(source, shapes, "shapes", frames)
    R_file_body = roma.rotvec_to_rotmat(tensor(numbers(source, Rh, "Rh", (frames, 3))))
    R[:, 0] = R_file_body @ R[:, 0]
    p = R_file_body @ source.rest_joints(betas)[0] + tensor(numbers(source, Th, "Th", (frames, 3)))
    return ResultPerson(name, frame_numbers(source, [n for n, _ in rows], "frame"), betas, R, p)


def _turned(person: ResultPerson, R_new_old: torch.Tensor) -> ResultPerson:
    R = person.R_parent_joint.clone()
    R[:, 0] = R_new_old @ R[:, 0]
    return replace(person, R_parent_joint=R, p_cam_root=person.p_cam_root @ R_new_old.T)
