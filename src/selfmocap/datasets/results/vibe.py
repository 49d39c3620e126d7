"""Read VIBE (`vibe_output.pkl`, joblib): people by id, SMPL under a weak-perspective camera of the whole image.

Source: `demo.py` (what is stored), `lib/utils/demo_utils.py` and `lib/utils/renderer.py` (the camera)."""

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
    rotations_from_vectors,
    tensor,
)

_KEYS = {"pred_cam", "orig_cam", "pose", "betas", "bboxes", "frame_ids"}
FOCAL_RATIO = 1.2
"""Focal length, in longer sides of the image, at which a weak-perspective camera gets a distance."""


def is_vibe(data: Any) -> bool:
    """Test whether the data is a dict of people with VIBE's keys."""
    return bool(keys_of(data)) and all(keys_of(person) >= _KEYS for person in data.values())


def read_vibe(source: ResultSource) -> SystemResult:
    """Read all people. The distance is that at which a focal length of 1.2 longer sides shows the person as large."""
    size = _image_size(source)
    people = [_person(source, str(name), person, size) for name, person in source.data.items()]
    return SystemResult(
        "VIBE", camera_of_middle(source, FOCAL_RATIO * max(size), size, "weak perspective"), people
    )


def _image_size(source: ResultSource) -> tuple[int, int]:
    """Return the image's size, which the cameras of the crop and of the image determine together."""
    sizes = []
    for person in source.data.values():
        crop = numbers(source, person["pred_cam"], "pred_cam", (-1, 3))
        boxes = numbers(source, person["bboxes"], "bboxes", (len(crop), 4))
        image = numbers(source, person["orig_cam"], "orig_cam", (len(crop), 4))
        if (image[:, :2] <= 0).any():
            raise ValueError(f"{source.path}: orig_cam has a scale of 0 or below; run the system again")
        sizes.append(crop[:, :1] * boxes[:, 2:3] / image[:, :2])
    width, height = np.median(np.concatenate(sizes), axis=0)
    return max(round(width), 1), max(round(height), 1)


def _person(source: ResultSource, name: str, data: dict[str, Any], size: tuple[int, int]) -> ResultPerson:
    index = frame_numbers(source, data["frame_ids"], "frame_ids")
    frames = len(index)
    betas = mean_betas(source, data["betas"], "betas", frames)
    sx, _, tx, ty = numbers(source, data["orig_cam"], "orig_cam", (frames, 4)).T
    pelvis = source.rest_joints(betas)[0].numpy()
    depth = FOCAL_RATIO * max(size) / (sx * size[0] / 2)
    return ResultPerson(
        name,
        index,
        betas,
        rotations_from_vectors(source, data["pose"], "pose", 24, frames),
        tensor(np.stack([pelvis[0] + tx, pelvis[1] + ty, depth], axis=1)),
    )
