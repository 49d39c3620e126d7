"""Penn Action (`labels/*.mat` beside `frames/`): people in short films, with 13 joints a frame in the image.

Joints are the twelve of COCO's that the set has; its head, in the middle of a head, is no landmark of ours. The set
calls left what is on the left of somebody who faces the camera: its `left` is the person's right, as the release of
Kanazawa et al. 2019 reads it too. The set's boxes are not read: windows are cut around joints.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from selfmocap.body_model.skeleton import KEYPOINT_SETS
from selfmocap.datasets.matlab import read_mat
from selfmocap.datasets.text import MAX_FRAMES

KEYPOINTS = KEYPOINT_SETS["coco-17"]
MAX_FILES = 100_000
_MAX_BYTES = 1 << 26
_PARTS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
_JOINTS = (None, *(f"{side}_{part}" for part in _PARTS for side in ("right", "left")))
"""What each column is; the first is the head."""
_KEYS = ("x", "y", "visibility", "train", "dimensions", "nframes")
_FARTHEST = 1e5


@dataclass(frozen=True, eq=False)
class PennClip:
    """One film of the set; frame i is `frames/NAME/` picture i + 1."""

    name: str
    is_train: bool
    """Whether it is for training; the others are for tests."""
    image_size: tuple[int, int]
    """Width and height, px."""
    keypoints: Float[Tensor, "time 17 2"]
    """px; of the set KEYPOINTS."""
    seen: Bool[Tensor, "time 17"]

    def __len__(self) -> int:
        return len(self.keypoints)


def label_files(path: Path) -> list[Path]:
    """The files with labels of the set's folder, or of its `labels`, or one of them; none where it is not Penn Action.
    A ValueError for too many."""
    if path.suffix.lower() == ".mat":
        return [path]
    folder = path if path.name == "labels" else path / "labels"
    found = sorted(folder.glob("*.mat"))
    if len(found) > MAX_FILES:
        raise ValueError(f"{folder}: {len(found)} files, more than {MAX_FILES}; split the folder")
    return found


def read_penn_action(path: Path | str) -> PennClip:
    """The film whose labels are at `path`.

    Raises FileNotFoundError, or ValueError naming the file, the key, and what was expected there."""
    path = Path(path)
    arrays = read_mat(path, _KEYS, _MAX_BYTES)
    if missing := [key for key in _KEYS if key not in arrays]:
        raise ValueError(
            f"{path}: lacks {', '.join(missing)}; expected a file of Penn Action's labels: unpack it again"
        )
    (frames,) = _whole(path, arrays, "nframes", 1, 1, MAX_FRAMES)
    height, width, _ = _whole(path, arrays, "dimensions", 3, 1, MAX_FRAMES)
    (train,) = _whole(path, arrays, "train", 1, -1, 1)
    x, y, visible = (_table(path, arrays, key, frames) for key in ("x", "y", "visibility"))
    keypoints, seen = (
        np.zeros((frames, len(KEYPOINTS.names), 2)),
        np.zeros((frames, len(KEYPOINTS.names)), bool),
    )
    for column, name in enumerate(_JOINTS):
        if name is not None:
            place = KEYPOINTS.index(name)
            keypoints[:, place] = np.stack([x[:, column], y[:, column]], axis=1)
            seen[:, place] = visible[:, column] > 0
    return PennClip(
        path.stem, train > 0, (width, height), torch.from_numpy(keypoints).float(), torch.from_numpy(seen)
    )


def _table(path: Path, arrays: dict[str, np.ndarray], key: str, frames: int) -> np.ndarray:
    array = arrays[key]
    if array.dtype.kind not in "biuf" or array.shape != (frames, len(_JOINTS)):
        raise ValueError(
            f"{path}: {key} is {array.dtype} of shape {array.shape}; expected numbers ({frames}, {len(_JOINTS)}), as "
            "nframes says: unpack it again"
        )
    if not (np.abs(array.astype(np.float64)) <= _FARTHEST).all():
        raise ValueError(
            f"{path}: {key} holds what is not finite, or beyond {_FARTHEST:.0f} px: unpack it again"
        )
    return array.astype(np.float64)


def _whole(
    path: Path, arrays: dict[str, np.ndarray], key: str, count: int, least: int, most: int
) -> list[int]:
    array = arrays[key]
    if (
        array.dtype.kind not in "biuf"
        or array.size != count
        or not ((array >= least) & (array <= most)).all()
    ):
        raise ValueError(
            f"{path}: {key} is {array.dtype} of shape {array.shape}; expected {count} numbers from {least} to {most}: "
            "unpack it again"
        )
    return [int(value) for value in array.ravel()]
