"""Read PHALP and 4D-Humans (`results/demo_*.pkl`, joblib): people by frame, SMPL in the camera of each image.

Source: `phalp/trackers/PHALP.py` (what is stored), `phalp/models/hmar/hmar.py` (the camera)."""

from collections import defaultdict
from typing import Any

import numpy as np

from selfmocap.datasets.results.record import (
    ResultPerson,
    ResultSource,
    SystemResult,
    camera_of_middle,
    frame_numbers,
    keys_of,
    mean_betas,
    numbers,
    rotations_from_matrices,
    tensor,
)

_KEYS = {"time", "tid", "smpl", "camera", "size"}
_FOCAL, _RENDERED_SIDE = 5000.0, 256
"""px of the focal length in an image whose longer side has so many px (`EXTRA.FOCAL_LENGTH`, `render.res`)."""


def is_phalp(data: Any) -> bool:
    """Test whether the data is a dict of frames, each a dict with lists by person."""
    return bool(keys_of(data)) and all(keys_of(frame) >= _KEYS for frame in data.values())


def read_phalp(source: ResultSource) -> SystemResult:
    """Read the people of all frames. Frames in which a person is only predicted (`tracked_time` above 0) are left out.

    The camera is PHALP's: a focal length of 5000 px at a longer side of 256 px, so distances are large."""
    rows: defaultdict[str, list[tuple[int, Any, Any]]] = defaultdict(list)
    size = None
    for name, frame in source.data.items():
        count = len(frame["tid"])
        lists = {key: frame[key] for key in ("smpl", "camera", "size")}
        lists["tracked_time"] = frame.get("tracked_time", [0] * count)
        if any(len(values) != count for values in lists.values()):
            raise ValueError(
                f"{source.path}: {name}: {count} people in tid, another number in {', '.join(lists)}"
            )
        for tid, smpl, camera, shape, age in zip(frame["tid"], *lists.values(), strict=True):
            height, width = (int(n) for n in numbers(source, shape, "size", (2,)))
            size = (width, height)
            if age == 0:
                rows[str(tid)].append((frame["time"], smpl, camera))
    if not rows or size is None:
        raise ValueError(f"{source.path}: no person in {len(source.data)} frames; track another video")
    focal = _FOCAL * max(size) / _RENDERED_SIDE
    people = [_person(source, name, person) for name, person in rows.items()]
    return SystemResult("PHALP", camera_of_middle(source, focal, size, "weak perspective"), people)


def _person(source: ResultSource, name: str, rows: list[tuple[int, Any, Any]]) -> ResultPerson:
    parameters = [smpl for _, smpl, _ in rows]
    if missing := {"betas", "body_pose", "global_orient"} - set.intersection(*map(keys_of, parameters)):
        raise ValueError(f"{source.path}: smpl of person {name} lacks {', '.join(sorted(missing))}")
    poses = [
        np.concatenate([np.reshape(p["global_orient"], (1, 3, 3)), np.reshape(p["body_pose"], (-1, 3, 3))])
        for p in parameters
    ]
    betas = mean_betas(source, [np.ravel(p["betas"]) for p in parameters], "betas", len(rows))
    camera = numbers(source, [np.ravel(camera) for *_, camera in rows], "camera", (len(rows), 3))
    return ResultPerson(
        name,
        frame_numbers(source, [time for time, *_ in rows], "time"),
        betas,
        rotations_from_matrices(source, poses, "body_pose", 24, len(rows)),
        tensor(camera) + source.rest_joints(betas)[0],
    )
