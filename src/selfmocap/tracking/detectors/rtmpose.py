"""RTMPose through the package `rtmlib`: a better detector for those who may download its weights."""

from typing import Any

import numpy as np

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Pose, window_of
from selfmocap.tracking.detectors.window import Window

_REMEDY = (
    "run: pip install --no-deps rtmlib && pip install onnxruntime tqdm (without its own OpenCV, which would overwrite "
    "the one that is installed); its weights are fetched from the network at first use"
)


class RtmPose:
    """RTMPose's 17 COCO keypoints of everybody in a frame. It measures no masks."""

    name = "rtmpose"
    points: KeypointSet = keypoint_set("coco-17")
    follows = False

    def __init__(self) -> None:
        try:
            from rtmlib import Body  # pyright: ignore
        except ImportError as error:
            raise ImportError(f"the detector rtmpose needs rtmlib: {_REMEDY}") from error
        try:
            self._body: Any = Body(mode="balanced", to_openpose=False, backend="onnxruntime", device="cpu")
        except OSError as error:
            raise FileNotFoundError(
                f"the weights of RTMPose cannot be fetched ({error}); {_REMEDY}"
            ) from error

    def everybody(self, frame: Frame) -> list[Pose]:
        """All people of a frame."""
        keypoints, scores = self._body(np.ascontiguousarray(frame.image[..., ::-1]))
        return [
            Pose(
                keypoints=points.astype(np.float32),
                confidence=np.clip(score, 0, 1).astype(np.float32),
                score=float(np.clip(score, 0, 1).mean()),
                window=window_of(points, score),
            )
            for points, score in zip(np.asarray(keypoints), np.asarray(scores), strict=True)
            if score.max() > 0
        ]

    def search(self, image: np.ndarray, tile: Window) -> list[Window]:
        """Not asked of a detector that does not follow."""
        raise NotImplementedError

    def look(self, image: np.ndarray, window: Window) -> Pose | None:
        """Not asked of a detector that does not follow."""
        raise NotImplementedError
