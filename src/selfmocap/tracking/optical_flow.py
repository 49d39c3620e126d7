"""Optical flow of a crop to the next frame, with its confidence."""

import threading
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from selfmocap.geometry.camera import CROP_SIZE
from selfmocap.tracking.detectors.window import RgbImage

WORK_SIZE = 3 * CROP_SIZE // 2
"""Side of the crops on which flow is computed, px. At 1.5 times the crop's size, the photometric error on real crops is
15 percent less than at the crop's own size, and no less at twice the size."""

_SIZE = (CROP_SIZE, CROP_SIZE)
_PHOTOMETRIC_SCALE = 30.0
"""Photometric error at which the confidence falls to 1/e, grey levels of 255."""
_OUTSIDE_FLOW_PX = 1e3
"""Backward flow outside the crop, so large that no pixel passes the forward-backward check with it."""

_RAFT_REMEDY = (
    "install torchvision (pip install torchvision) and let it download the weights once while the network is "
    "reachable: python -c 'from torchvision.models.optical_flow import raft_small; raft_small(weights=\"DEFAULT\")'"
)

Flow = Float32[np.ndarray, "height width 2"]
"""Displacement (x, y) of each pixel, px per frame."""
FlowMethod = Callable[[RgbImage, RgbImage], Flow]


class CropFlow(NamedTuple):
    """The flow of one crop."""

    flow: Flow
    """px of the 128 px crop per frame (x, y)."""
    confidence: Float32[np.ndarray, "height width"]
    """In [0, 1]: the forward-backward consistency times the photometric consistency."""
    error: float
    """Mean absolute difference of the first image and the next one warped by the flow, grey levels of 255."""
    zero_flow_error: float
    """Mean absolute difference of the two images, grey levels of 255."""


def crop_flow(before: RgbImage, after: RgbImage, method: FlowMethod) -> CropFlow:
    """Compute the flow between two crops of WORK_SIZE, cut from consecutive frames with the same window."""
    import cv2

    forward, back = _resized(method(before, after)), _resized(method(after, before))
    first, second = (cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA) for image in (before, after))
    difference = cv2.absdiff(first, warp_back(second, forward)).astype(np.float32).mean(axis=-1)
    photometric = np.exp(-np.square(cv2.blur(difference, (3, 3)) / _PHOTOMETRIC_SCALE))
    return CropFlow(
        flow=forward,
        confidence=_round_trip_confidence(forward, back) * photometric,
        error=float(difference.mean()),
        zero_flow_error=float(cv2.absdiff(first, second).mean()),
    )


def _resized(flow: Flow) -> Float32[np.ndarray, "small small 2"]:
    import cv2

    return cv2.resize(flow, _SIZE, interpolation=cv2.INTER_AREA) * np.float32(CROP_SIZE / len(flow))


def warp_back(after: RgbImage, flow: Flow) -> RgbImage:
    """Sample the next image where the flow moves each pixel; with the true flow, this is the first image."""
    import cv2

    x, y = _targets(flow)
    return cv2.remap(after, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _targets(flow: Flow) -> tuple[Float32[np.ndarray, "height width"], Float32[np.ndarray, "height width"]]:
    """Return the x and y positions to which the flow moves each pixel."""
    height, width = flow.shape[:2]
    grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32) + flow
    return grid[..., 0], grid[..., 1]


def dis_flow(before: RgbImage, after: RgbImage) -> Flow:
    """Compute flow with dense inverse search (Kroeger et al. 2016), down to the finest scale.

    OpenCV's presets stop at a half or a quarter of the size, where for crops they are worse than zero flow."""
    import cv2

    grey = (cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (before, after))
    return _dis().calc(*grey, None)


_thread = threading.local()


def _dis() -> Any:
    """Return the search of this thread; a search is not safe to share."""
    if not hasattr(_thread, "dis"):
        _thread.dis = _new_dis()
    return _thread.dis


def _new_dis() -> Any:
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    return search


@cache
def raft_flow() -> FlowMethod:
    """Load torchvision's RAFT (small) and return it as a function.

    An ImportError or FileNotFoundError says how to get the package or its weights."""
    import torch

    try:
        from torchvision.models.optical_flow import Raft_Small_Weights, raft_small  # pyright: ignore
    except ImportError as error:
        raise ImportError(f"flow by RAFT needs torchvision: {_RAFT_REMEDY}") from error
    try:
        network = raft_small(weights=Raft_Small_Weights.DEFAULT).eval()
    except OSError as error:
        raise FileNotFoundError(
            f"the weights of RAFT cannot be downloaded ({error}); {_RAFT_REMEDY}"
        ) from error

    def method(before: RgbImage, after: RgbImage) -> Flow:
        pair = (torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (before, after))
        with torch.inference_mode():
            return network(*pair)[-1][0].permute(1, 2, 0).numpy()

    return method


def _round_trip_confidence(forward: Flow, back: Flow) -> Float32[np.ndarray, "height width"]:
    """Compute the forward-backward consistency: 1 where the backward flow returns each pixel to its position."""
    import cv2

    x, y = _targets(forward)
    returned = cv2.remap(
        back,
        x,
        y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(_OUTSIDE_FLOW_PX, _OUTSIDE_FLOW_PX),
    )
    missed = np.square(forward + returned).sum(axis=-1)
    length = np.square(forward).sum(axis=-1) + np.square(returned).sum(axis=-1)
    return np.exp(-missed / (0.25 + 0.05 * length)).astype(np.float32)
