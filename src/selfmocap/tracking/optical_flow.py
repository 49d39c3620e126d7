"""How the pixels of a crop move to the next frame, and how far that can be trusted."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from selfmocap.geometry.camera import CROP_SIZE

WORK_SIZE = 3 * CROP_SIZE // 2
"""Flow is measured at one and a half times the crop's size: its photometric error on real crops is 15 percent less
than at the crop's own size, and no less at twice the size."""

_SIZE = (CROP_SIZE, CROP_SIZE)
_NOISE = 30.0
"""Difference of colours, in grey levels of 255, at which flow is believed by 1/e."""

_RAFT_REMEDY = (
    "install torchvision (pip install torchvision) and let it fetch the weights once while the network is reachable: "
    "python -c 'from torchvision.models.optical_flow import raft_small; raft_small(weights=\"DEFAULT\")'"
)

Image = UInt8[np.ndarray, "height width 3"]
Flow = Float32[np.ndarray, "height width 2"]
FlowMethod = Callable[[Image, Image], Flow]


class CropFlow(NamedTuple):
    """Flow of one crop."""

    flow: Flow
    """px of the 128 px crop per frame (x, y)."""
    confidence: Float32[np.ndarray, "height width"]
    """In [0, 1]: how well the flow back undoes the flow there, times how well it explains the next picture."""
    error: float
    """Mean absolute difference of the first picture and the next one warped by the flow, grey levels of 255."""
    still_error: float
    """The same if nothing moved."""


def crop_flow(before: Image, after: Image, method: FlowMethod) -> CropFlow:
    """Flow between two cuts of WORK_SIZE px a side, of consecutive frames by ONE window."""
    import cv2

    there, back = _small(method(before, after)), _small(method(after, before))
    first, second = (cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA) for image in (before, after))
    difference = cv2.absdiff(first, warped(second, there)).astype(np.float32).mean(axis=-1)
    return CropFlow(
        flow=there,
        confidence=_round_trip(there, back) * np.exp(-np.square(cv2.blur(difference, (3, 3)) / _NOISE)),
        error=float(difference.mean()),
        still_error=float(cv2.absdiff(first, second).mean()),
    )


def _small(flow: Flow) -> Float32[np.ndarray, "small small 2"]:
    import cv2

    return cv2.resize(flow, _SIZE, interpolation=cv2.INTER_AREA) * np.float32(CROP_SIZE / len(flow))


def warped(after: Image, flow: Flow) -> Image:
    """The next picture seen at where `flow` says that each pixel went: equal to the first one if it is right."""
    import cv2

    height, width = flow.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32) + flow
    return cv2.remap(after, grid[..., 0], grid[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def dis(before: Image, after: Image) -> Flow:
    """Dense inverse search (Kroeger et al. 2016) down to the finest scale: the presets stop at a half or a quarter
    of the size, where for crops they are worse than no motion."""
    import cv2

    grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    return _dis().calc(*grey, None)


@cache
def _dis() -> Any:
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    return search


@cache
def raft() -> FlowMethod:
    """RAFT (small) of torchvision, if it and its weights are on disk or can be fetched; an ImportError or
    FileNotFoundError says how to get them."""
    import torch

    try:
        from torchvision.models.optical_flow import Raft_Small_Weights, raft_small  # pyright: ignore
    except ImportError as error:
        raise ImportError(f"flow by RAFT needs torchvision: {_RAFT_REMEDY}") from error
    try:
        network = raft_small(weights=Raft_Small_Weights.DEFAULT).eval()
    except OSError as error:
        raise FileNotFoundError(f"the weights of RAFT cannot be fetched ({error}); {_RAFT_REMEDY}") from error

    def method(before: Image, after: Image) -> Flow:
        pair = (torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (before, after))
        with torch.inference_mode():
            return network(*pair)[-1][0].permute(1, 2, 0).numpy()

    return method


def _round_trip(there: Flow, back: Flow) -> Float32[np.ndarray, "height width"]:
    import cv2

    height, width = there.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32) + there
    returned = cv2.remap(
        back,
        grid[..., 0],
        grid[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(1e3, 1e3),
    )
    missed = np.square(there + returned).sum(axis=-1)
    length = np.square(there).sum(axis=-1) + np.square(returned).sum(axis=-1)
    return np.exp(-missed / (0.25 + 0.05 * length)).astype(np.float32)
