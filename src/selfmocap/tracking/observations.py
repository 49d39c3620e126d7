"""What is seen of one person in one clip."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from selfmocap.body_model.frame_rates import median_fps
from selfmocap.body_model.skeleton import keypoint_set
from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.io.npz import (
    MAX_ARRAY_BYTES,
    NamedBytesIO,
    check_format,
    check_shapes,
    npz_names,
    npz_rows,
    read_npz,
    write_npz,
)

FORMAT, VERSION = "selfmocap-observations", 1

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
IMAGES = tuple(_IMAGE_SHAPES)
"""The fields that hold a crop a frame: nearly all of the memory."""
_TENSORS = ("frame_index", "frame_times", "boxes", "keypoints", "keypoint_confidence", *IMAGES)
_FPS_OF_ONE_FRAME = 30.0
_ROWS_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Observations:
    """One person through the frames in which it is seen. Images are crops: the square window `boxes` of the frame,
    resized to 128 x 128 px; an image field is None where nothing of the kind was measured."""

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
    """In [0, 1]; 0 is not seen."""
    crops: UInt8[Tensor, "time height width 3"] | None = None
    """RGB, colours as in the video, black outside the frame."""
    masks: Bool[Tensor, "time height width"] | None = None
    """Where the person is, in the crop."""
    mask_certain: Bool[Tensor, "time height width"] | None = None
    """Where the mask can be trusted: not at its edges, not outside the frame."""
    flow: Float[Tensor, "time height width 2"] | None = None
    """Optical flow to the next frame of the video in crop px per frame (x, y), both frames cut by THIS frame's
    window."""
    flow_confidence: Float[Tensor, "time height width"] | None = None
    """In [0, 1]; 0 where the flow fails its forward-backward check, and in frames without a next one."""

    def __post_init__(self) -> None:
        expected = len(keypoint_set(self.keypoint_set).names)
        if self.keypoints.shape[-2] != expected:
            raise ValueError(
                f"{self.keypoint_set} has {expected} keypoints, these observations {self.keypoints.shape[-2]}"
            )

    def __len__(self) -> int:
        return len(self.frame_index)

    @property
    def fps(self) -> float:
        """Frames a second of the video; 30 where a single frame cannot tell."""
        return median_fps(self.frame_times, self.frame_index) or _FPS_OF_ONE_FRAME

    def __getitem__(self, frames: Any) -> "Observations":
        """The observations of some frames, chosen by a slice, or a mask or list of indices."""
        return self._map(lambda value: value[frames])

    def to(self, *args: Any) -> "Observations":
        """The same observations on another device."""
        return self._map(lambda value: value.to(*args))

    def in_set(self, name: str) -> "Observations":
        """The same with the keypoints of another set; those that this one lacks have no confidence. A ValueError where
        the two sets have no keypoint in common."""
        wanted, found = keypoint_set(name), keypoint_set(self.keypoint_set)
        columns = wanted.indices_in(found)
        if all(column is None for column in columns):
            raise ValueError(f"{wanted.name} keypoints are needed, the observations hold {found.name}")
        chosen = torch.tensor([column or 0 for column in columns], device=self.keypoints.device)
        known = torch.tensor([column is not None for column in columns], device=chosen.device)
        return replace(
            self,
            keypoint_set=name,
            keypoints=self.keypoints[:, chosen],
            keypoint_confidence=self.keypoint_confidence[:, chosen] * known,
        )

    def _map(self, change: Any) -> "Observations":
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(
            self, **{name: change(value) for name, value in tensors.items() if isinstance(value, Tensor)}
        )

    def save(self, path: Path | str) -> None:
        """Writes `observations.npz`, whole or not at all; masks as packed bits, flow in half precision."""
        arrays: dict[str, Any] = {"format": FORMAT, "version": VERSION}
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
        images: Collection[str] = IMAGES,
        max_bytes: int = MAX_ARRAY_BYTES,
    ) -> "Observations":
        """Reads `observations.npz`, of its images only those of some names; a ValueError names what is wrong with a
        damaged or foreign file, or one that takes more than `max_bytes` of memory."""
        arrays = read_npz(path, {"format", "version", *_SHAPES, *images}, max_bytes)
        check_format(path, arrays, FORMAT, VERSION, set(_SHAPES))
        check_shapes(path, arrays, _SHAPES | {n: s for n, s in _IMAGE_SHAPES.items() if n in arrays})
        width, height = (int(n) for n in arrays["image_size"])
        return cls(
            image_size=(width, height),
            keypoint_set=str(arrays["keypoint_set"]),
            **_tensors({name: arrays[name] for name in _TENSORS if name in arrays}),
        )


def joined(parts: Sequence[Observations]) -> Observations:
    """The frames of one person in several records, one after the other."""
    fields_of_parts = {name: [getattr(part, name) for part in parts] for name in _TENSORS}
    tensors: dict[str, Any] = {
        name: torch.cat(values) for name, values in fields_of_parts.items() if values[0] is not None
    }
    return replace(parts[0], **tensors)


def windows(
    path: Path | str, length: int, overlap: int = 0, images: Collection[str] = IMAGES
) -> Iterator[tuple[int, Observations]]:
    """The frames of an `observations.npz` with some of its images, a window at a time, and the row in which each
    window begins. Each holds `length` new frames after the last `overlap` of the one before. Memory does not grow
    with the file beyond what is not an image. Errors as in `Observations.load`."""
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


def chosen_rows(
    path: Path | str, rows: Int[Tensor, " chosen"], images: Collection[str] = IMAGES
) -> Observations:
    """Some rows, in increasing order, of an `observations.npz`, read in one pass through it."""
    parts = []
    for first, window in windows(path, _ROWS_AT_ONCE, images=images):
        parts.append(window[rows[(rows >= first) & (rows < first + len(window))] - first])
    return joined(parts)


def _tensors(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Masks unpacked, flow in single precision."""
    unpacked = {
        name: np.unpackbits(array, axis=-1).astype(bool)
        if name in _PACKED
        else array.astype(np.float32)
        if name in _HALF
        else array
        for name, array in arrays.items()
    }
    return {name: torch.from_numpy(array) for name, array in unpacked.items()}
