"""Observations of one person in one clip: the record, and its file."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from selfmocap.body_model.frame_rates import median_fps
from selfmocap.body_model.skeleton import HAND_KEYPOINTS, HAND_SIDES, KEYPOINT_SETS, keypoint_set
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.npz import (
    MAX_ARRAY_BYTES,
    NamedBytesIO,
    check_format,
    check_kinds,
    check_numbers,
    check_shapes,
    npz_names,
    npz_rows,
    read_npz,
    write_npz,
)

OBSERVATIONS_FORMAT, OBSERVATIONS_VERSION = "selfmocap-observations", 1

_PACKED = {"masks", "mask_certain"}
_HALF = {"flow", "flow_confidence"}
_SHAPES: dict[str, tuple[str | int, ...]] = {
    "image_size": (2,),
    "keypoint_set": (),
    "frame_index": ("time",),
    "frame_times": ("time",),
    "boxes": ("time", 3),
    "keypoints": ("time", "keypoints", 2),
    "keypoint_confidence": ("time", "keypoints"),
}
_IMAGE_SHAPES: dict[str, tuple[str | int, ...]] = {
    "crops": ("time", CROP_SIZE, CROP_SIZE, 3),
    "masks": ("time", CROP_SIZE, CROP_SIZE // 8),
    "mask_certain": ("time", CROP_SIZE, CROP_SIZE // 8),
    "flow": ("time", CROP_SIZE, CROP_SIZE, 2),
    "flow_confidence": ("time", CROP_SIZE, CROP_SIZE),
}
_HAND_SHAPES: dict[str, tuple[str | int, ...]] = {
    "hand_keypoints": ("time", len(HAND_SIDES), len(HAND_KEYPOINTS.names), 2),
    "hand_positions": ("time", len(HAND_SIDES), len(HAND_KEYPOINTS.names), 3),
    "hand_confidence": ("time", len(HAND_SIDES)),
}
IMAGE_FIELDS = tuple(_IMAGE_SHAPES)
"""The fields with an image per frame: nearly all of the memory."""
_TENSORS = (
    "frame_index",
    "frame_times",
    "boxes",
    "keypoints",
    "keypoint_confidence",
    *_HAND_SHAPES,
    *IMAGE_FIELDS,
)
_KINDS = dict.fromkeys(_TENSORS, "f") | dict.fromkeys(("crops", *_PACKED), "u") | {"frame_index": "i"}
_SINGLE_FRAME_FPS = 30.0
_ROWS_PER_READ = 64


@dataclass(frozen=True, eq=False)
class Observations:
    """Observations of one person in the frames in which they are detected.

    Images are crops: the square window `boxes` of the frame, resized to 128 x 128 px. A field of images or hands is
    None if it was not measured."""

    frame_index: Int[Tensor, " time"]
    """Index of each frame in its video, strictly increasing; frames without the person are absent."""
    frame_times: Float[Tensor, " time"]
    """Presentation times, s (float64), strictly increasing."""
    image_size: tuple[int, int]
    """Width and height of the video's frames, px."""
    boxes: Float[Tensor, "time 3"]
    """Square windows: centre x, centre y, half side; px of the frame."""
    keypoint_set: str
    """Name of the keypoint set."""
    keypoints: Float[Tensor, "time keypoints 2"]
    """px of the frame (not of the crop)."""
    keypoint_confidence: Float[Tensor, "time keypoints"]
    """In [0, 1]; 0 if a keypoint is not detected."""
    crops: UInt8[Tensor, "time height width 3"] | None = None
    """RGB, colours as in the video, black outside the frame."""
    masks: Bool[Tensor, "time height width"] | None = None
    """True for the pixels of the crop that belong to the person."""
    mask_certain: Bool[Tensor, "time height width"] | None = None
    """True for the certain pixels of the mask: not at its edges, not outside the frame."""
    flow: Float[Tensor, "time height width 2"] | None = None
    """Optical flow (x, y) to the next frame of the video, px of the crop per frame; both frames are cut with THIS
    frame's window."""
    flow_confidence: Float[Tensor, "time height width"] | None = None
    """In [0, 1]; 0 where the flow fails the forward-backward check, and in frames without a next one."""
    hand_keypoints: Float[Tensor, "time hands 21 2"] | None = None
    """Keypoints (HAND_KEYPOINTS) of the left and the right hand, px of the frame; 0 if not detected."""
    hand_positions: Float[Tensor, "time hands 21 3"] | None = None
    """The same in metres from the middle of the hand, along the image's axes: x right, y down, z away from the
    camera."""
    hand_confidence: Float[Tensor, "time hands"] | None = None
    """Probability that a hand is there, in [0, 1]; 0 if it is not detected."""

    def __post_init__(self) -> None:
        expected = len(keypoint_set(self.keypoint_set).names)
        if self.keypoints.shape[-2] != expected:
            raise ValueError(
                f"keypoint set {self.keypoint_set}: expected {expected} keypoints, found {self.keypoints.shape[-2]}"
            )

    def __len__(self) -> int:
        return len(self.frame_index)

    @property
    def fps(self) -> float:
        """Frame rate of the video; 30 for a single frame."""
        return median_fps(self.frame_times, self.frame_index) or _SINGLE_FRAME_FPS

    def __getitem__(self, frames: Any) -> "Observations":
        """Select frames with a slice, a mask or a list of indices."""
        return self._map(lambda value: value[frames])

    def to(self, *args: Any) -> "Observations":
        """Move all tensors to a device."""
        return self._map(lambda value: value.to(*args))

    def in_set(self, name: str) -> "Observations":
        """Convert to another keypoint set; keypoints that these observations lack get confidence 0.

        Raises ValueError if the two sets have no keypoint in common."""
        wanted, present = keypoint_set(name), keypoint_set(self.keypoint_set)
        columns = wanted.indices_in(present)
        if all(column is None for column in columns):
            raise ValueError(
                f"expected observations with keypoints of {wanted.name}, found {present.name}, which shares none; "
                "observe the video with another detector"
            )
        indices = torch.tensor([column or 0 for column in columns], device=self.keypoints.device)
        known = torch.tensor([column is not None for column in columns], device=indices.device)
        return replace(
            self,
            keypoint_set=name,
            keypoints=self.keypoints[:, indices],
            keypoint_confidence=self.keypoint_confidence[:, indices] * known,
        )

    def _map(self, change: Any) -> "Observations":
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{name: change(value) for name, value in tensors.items() if isinstance(value, Tensor)}
        )

    def save(self, path: Path | str) -> None:
        """Write `observations.npz` atomically, with masks as packed bits and flow in half precision."""
        arrays: dict[str, Any] = {"format": OBSERVATIONS_FORMAT, "version": OBSERVATIONS_VERSION}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            array = value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
            if field.name in _PACKED:
                array = np.packbits(array, axis=-1)
            elif field.name in _HALF:
                array = array.astype(np.float16)
            arrays[field.name] = array
        write_npz(path, arrays)

    @classmethod
    def load(
        cls,
        path: Path | str | NamedBytesIO,
        images: Collection[str] = IMAGE_FIELDS,
        max_bytes: int = MAX_ARRAY_BYTES,
    ) -> "Observations":
        """Read `observations.npz` with the given image fields.

        Raises ValueError for a damaged or foreign file, or one that needs more than `max_bytes` of memory."""
        arrays = read_npz(path, {"format", "version", *_SHAPES, *_HAND_SHAPES, *images}, max_bytes)
        check_format(path, arrays, OBSERVATIONS_FORMAT, OBSERVATIONS_VERSION, set(_SHAPES))
        optional = {n: shape for n, shape in (_HAND_SHAPES | _IMAGE_SHAPES).items() if n in arrays}
        check_shapes(path, arrays, _SHAPES | optional)
        check_numbers(path, arrays, [name for name in arrays if name in _TENSORS or name == "image_size"])
        check_kinds(path, arrays, {name: kind for name, kind in _KINDS.items() if name in arrays})
        name = str(arrays["keypoint_set"])
        if name not in KEYPOINT_SETS:
            raise ValueError(f"{path}: no keypoint set {name!r}, expected one of {', '.join(KEYPOINT_SETS)}")
        width, height = (int(n) for n in arrays["image_size"])
        return cls(
            image_size=(width, height),
            keypoint_set=name,
            **_tensors({name: arrays[name] for name in _TENSORS if name in arrays}),
        )


def concat_observations(parts: Sequence[Observations]) -> Observations:
    """Concatenate records of one person along the time axis."""
    fields_of_parts = {name: [getattr(part, name) for part in parts] for name in _TENSORS}
    tensors: dict[str, Any] = {
        name: torch.cat(values) for name, values in fields_of_parts.items() if values[0] is not None
    }
    return replace(parts[0], **tensors)


def iterate_windows(
    path: Path | str, length: int, overlap: int = 0, images: Collection[str] = IMAGE_FIELDS
) -> Iterator[tuple[int, Observations]]:
    """Yield an `observations.npz` in windows of frames, each with the row in which it begins.

    A window holds the last `overlap` frames of the one before and `length` new ones, with the given image fields.
    Memory does not grow with the file, except for the fields without images. Errors as in `Observations.load`."""
    light = Observations.load(path, images=())
    shapes = {name: shape for name, shape in _IMAGE_SHAPES.items() if name in npz_names(path) & set(images)}
    shapes["frame_index"] = _SHAPES["frame_index"]
    kept: dict[str, np.ndarray] = {}
    end = 0
    for part in npz_rows(path, shapes.keys(), length):
        held = {name: np.concatenate([kept[name], rows]) if kept else rows for name, rows in part.items()}
        check_shapes(path, held, shapes)
        end += len(part["frame_index"])
        begin = end - len(held["frame_index"])
        yield begin, replace(light[begin:end], **_tensors(held))
        kept = {name: rows[max(len(rows) - overlap, 0) :] for name, rows in held.items()}


def load_rows(
    path: Path | str, rows: Int[Tensor, " rows"], images: Collection[str] = IMAGE_FIELDS
) -> Observations:
    """Read some rows, in increasing order, of an `observations.npz` in one pass through the file."""
    parts = []
    for first, window in iterate_windows(path, _ROWS_PER_READ, images=images):
        parts.append(window[rows[(rows >= first) & (rows < first + len(window))] - first])
    return concat_observations(parts)


def spread_rows(count: int, max_rows: int, block: int) -> Int[Tensor, " rows"]:
    """Return all rows of `count`, or blocks of consecutive rows at even distances, about `max_rows` in all."""
    if count <= max_rows:
        return torch.arange(count)
    starts = torch.linspace(0, count - block, max(max_rows // block, 1)).round().long()
    return (starts[:, None] + torch.arange(block)).flatten().unique()


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Convert the arrays of a file to tensors; masks are unpacked, flow is converted to single precision."""
    unpacked = {
        name: np.unpackbits(array, axis=-1).astype(bool)
        if name in _PACKED
        else array.astype(np.float32)
        if name in _HALF
        else array
        for name, array in arrays.items()
    }
    return {name: torch.from_numpy(array) for name, array in unpacked.items()}
