"""RTMPose through the package `rtmlib`: more accurate than BlazePose, with weights that are downloaded at first use."""

from typing import Any

import numpy as np

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.io.video import Frame
from selfmocap.tracking.confidence import confidence_of_scores
from selfmocap.tracking.detectors.detection import Detection, window_around

_REMEDY = (
    "run: pip install --no-deps rtmlib && pip install onnxruntime tqdm (without its own OpenCV, which would overwrite "
    "the one that is installed); its weights are downloaded from the network at first use"
)


class RtmPose:
    """Detect the 17 COCO keypoints of all people in a frame with RTMPose; without masks."""

    name = "rtmpose"
    points: KeypointSet = keypoint_set("coco-17")

    def __init__(self) -> None:
        try:
            from rtmlib import Body  # pyright: ignore
        except ImportError as error:
            raise ImportError(f"the detector rtmpose needs rtmlib: {_REMEDY}") from error
        try:
            self._body: Any = Body(mode="balanced", to_openpose=False, backend="onnxruntime", device="cpu")
        except OSError as error:
            raise FileNotFoundError(
                f"the weights of RTMPose cannot be downloaded ({error}); {_REMEDY}"
            ) from error

    def detect(self, frame: Frame) -> list[Detection]:
        """Detect all people of a frame."""
        keypoints, scores = self._body(np.ascontiguousarray(frame.image[..., ::-1]))
        return [
            Detection(
                keypoints=points.astype(np.float32),
                confidence=confidence_of_scores(score).astype(np.float32),
                score=float(confidence_of_scores(score).mean()),
                window=window_around(points, score),
            )
            for points, score in zip(np.asarray(keypoints), np.asarray(scores), strict=True)
            if score.max() > 0
        ]
