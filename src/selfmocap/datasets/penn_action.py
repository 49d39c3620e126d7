"""Read Penn Action (`labels/*.mat` beside `frames/`): short videos of people, with 13 joints per frame in the image.

Twelve joints are COCO's; the head is not a landmark of any keypoint set here. The set's left is the left of the image
for a person who faces the camera: its `left` is the person's right, as in the release of Kanazawa et al. 2019. The
set's boxes are not read: boxes are cut around joints."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.matlab import read_mat
from selfmocap.io.text import MAX_RECORDING_FRAMES

PENN_ACTION_KEYPOINTS = KEYPOINT_SETS["coco-17"]
MAX_LABEL_FILES = 100_000
_MAX_BYTES = 1 << 26
_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PENN_ACTION_COLUMNS = (None, *(f"{side}_{part}" for part in _PARTS for side in ("right", "left")))
"""Keypoint of each column; the first is the head."""
_KEYS = ("x", "y", "visibility", "train", "dimensions", "nframes")
_MAX_COORDINATE = 1e5
"""px."""


@dataclass(frozen=True, eq=False)
class PennActionClip:
    """One video of the set; frame i is image i + 1 of `frames/NAME/`."""

    name: str
    is_train: bool
    """Whether it belongs to the training split, or else to the test split."""
    image_size: tuple[int, int]
    """Width and height, px."""
    keypoints: Float[Tensor, "time 17 2"]
    """px; of the set PENN_ACTION_KEYPOINTS."""
    visible: Bool[Tensor, "time 17"]
    """Whether each keypoint is visible."""

    def __len__(self) -> int:
        return len(self.keypoints)


def penn_action_label_files(path: Path) -> list[Path]:
    """Find the label files of the set's folder, of its `labels` folder, or of one label file; none for other folders.
    Raises ValueError for too many files."""
    if path.suffix.lower() == ".mat":
        return [path]
    folder = path if path.name == "labels" else path / "labels"
    found = sorted(folder.glob("*.mat"))
    if len(found) > MAX_LABEL_FILES:
        raise ValueError(f"{folder}: {len(found)} files, more than {MAX_LABEL_FILES}; split the folder")
    return found


def read_penn_action(path: Path | str) -> PennActionClip:
    """Read the video with the labels at `path`.

    Raises FileNotFoundError, or ValueError that names the file, the key and the expected content."""
    path = Path(path)
    arrays = read_mat(path, _KEYS, _MAX_BYTES)
    if missing := [key for key in _KEYS if key not in arrays]:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected a label file of Penn Action; unpack it again"
        )
    (frames,) = _whole_numbers(path, arrays, "nframes", 1, 1, MAX_RECORDING_FRAMES)
    height, width, _ = _whole_numbers(path, arrays, "dimensions", 3, 1, MAX_RECORDING_FRAMES)
    (train,) = _whole_numbers(path, arrays, "train", 1, -1, 1)
    x, y, visible = (_table(path, arrays, key, frames) for key in ("x", "y", "visibility"))
    keypoints, seen = (
        np.zeros((frames, len(PENN_ACTION_KEYPOINTS.names), 2)),
        np.zeros((frames, len(PENN_ACTION_KEYPOINTS.names)), bool),
    )
    for column, name in enumerate(PENN_ACTION_COLUMNS):
        if name is not None:
            index = PENN_ACTION_KEYPOINTS.index(name)
            keypoints[:, index] = np.stack([x[:, column], y[:, column]], axis=1)
            seen[:, index] = visible[:, column] > 0
    return PennActionClip(
        path.stem, train > 0, (width, height), torch.from_numpy(keypoints).float(), torch.from_numpy(seen)
    )


def _table(path: Path, arrays: dict[str, np.ndarray], key: str, frames: int) -> np.ndarray:
    array = arrays[key]
    if array.dtype.kind not in "biuf" or array.shape != (frames, len(PENN_ACTION_COLUMNS)):
        raise ValueError(
            f"{path}: {key} is {array.dtype} of shape {array.shape}; expected numbers "
            f"({frames}, {len(PENN_ACTION_COLUMNS)}), as nframes says; unpack it again"
        )
    if not (np.abs(array.astype(np.float64)) <= _MAX_COORDINATE).all():
        raise ValueError(
            f"{path}: {key} contains values that are not finite, or beyond {_MAX_COORDINATE:.0f} px; unpack it again"
        )
    return array.astype(np.float64)


def _whole_numbers(
    path: Path, arrays: dict[str, np.ndarray], key: str, count: int, least: int, most: int
) -> list[int]:
    array = arrays[key]
    if (
        array.dtype.kind not in "biuf"
        or array.size != count
        or not ((array >= least) & (array <= most)).all()
    ):
        raise ValueError(
            f"{path}: {key} is {array.dtype} of shape {array.shape}; expected {count} numbers from {least} to {most}; "
            "unpack it again"
        )
    return [int(value) for value in array.ravel()]
