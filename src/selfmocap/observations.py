"""What is seen of one person in one clip."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from selfmocap.camera import CROP_SIZE
from selfmocap.files import check_format, check_shapes, read_npz, write_npz
from selfmocap.skeleton import keypoint_set

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
    def load(cls, path: Path | str) -> "Observations":
        """Reads `observations.npz`; a ValueError names what is wrong with a damaged or foreign file."""
        arrays = read_npz(path)
        check_format(path, arrays, FORMAT, VERSION, set(_SHAPES))
        images = {name: shape for name, shape in _IMAGE_SHAPES.items() if name in arrays}
        check_shapes(path, arrays, _SHAPES | images)
        for name in _PACKED & arrays.keys():
            arrays[name] = np.unpackbits(arrays[name], axis=-1).astype(bool)
        for name in _HALF & arrays.keys():
            arrays[name] = arrays[name].astype(np.float32)
        width, height = (int(n) for n in arrays.pop("image_size"))
        tensors: dict[str, Any] = {
            name: torch.from_numpy(arrays[name])
            for name in (_SHAPES.keys() | images) & arrays.keys() - {"keypoint_set"}
        }
        return cls(image_size=(width, height), keypoint_set=str(arrays["keypoint_set"]), **tensors)
