"""How the pixels of a crop move to the next frame, and how far that can be trusted."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, UInt8

from selfmocap.camera import CROP_SIZE

WORK_SIZE = 2 * CROP_SIZE
"""Flow is measured at twice the crop's size: the thin parts of a body are then wide enough to be matched."""

_RAFT_REMEDY = (
    "install torchvision (pip install torchvision) and let it fetch the weights once while the network is reachable: "
    "python -c 'from torchvision.models.optical_flow import raft_small; raft_small(weights=\"DEFAULT\")'"
)

Image = UInt8[np.ndarray, "height width 3"]
Flow = Float32[np.ndarray, "height width 2"]
FlowMethod = Callable[[Image, Image], Flow]


def crop_flow(
    before: Image, after: Image, method: FlowMethod
) -> tuple[Flow, Float32[np.ndarray, "height width"]]:
    """Flow in px of the 128 px crop (x, y) and its confidence in [0, 1], from two cuts of WORK_SIZE px a side of
    consecutive frames by ONE window. Confidence: how well the flow back undoes the flow there, and how much better
    than no motion it explains the next picture."""
    import cv2

    there, back = method(before, after), method(after, before)
    confidence = _round_trip(there, back) * _explains(before, after, there)
    small = cv2.resize(there, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
    trust = cv2.resize(confidence, (CROP_SIZE, CROP_SIZE), interpolation=cv2.INTER_AREA)
    return small * np.float32(CROP_SIZE / len(before)), trust


def warped(after: Image, flow: Flow) -> Image:
    """The next picture seen at where `flow` says that each pixel went: equal to the first one if it is right."""
    import cv2

    height, width = flow.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32) + flow
    return cv2.remap(after, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def dis(before: Image, after: Image) -> Flow:
    """Dense inverse search (Kroeger et al. 2016) down to the finest scale: the presets stop at a half or a quarter
    of the size, where for crops they are worse than no motion."""
    import cv2

    grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    return _dis().calc(*grey, None)


@cache
def _dis() -> Any:
    import cv2

    search = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    return search


@cache
def raft() -> FlowMethod:
    """RAFT (small) of torchvision, if it and its weights are on disk or can be fetched; an ImportError or
    FileNotFoundError says how to get them."""
    import torch

    try:
        from torchvision.models.optical_flow import Raft_Small_Weights, raft_small
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
        back, grid, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(1e3, 1e3)
    )
    missed = np.square(there + returned).sum(axis=-1)
    length = np.square(there).sum(axis=-1) + np.square(returned).sum(axis=-1)
    return np.exp(-missed / (1.0 + 0.05 * length)).astype(np.float32)


def _explains(before: Image, after: Image, flow: Flow) -> Float[np.ndarray, "height width"]:
    """One where the warped next picture is as like this one as noise allows, falling with the difference."""
    import cv2

    difference = np.abs(warped(after, flow).astype(np.float32) - before).mean(axis=-1)
    return np.exp(-np.square(cv2.blur(difference, (5, 5)) / 30.0))
