"""MediaPipe's two models, from its wheel, as two graphs: a person detector and a pose landmarker.

The wheel's `PoseLandmarker` task chains the same two graphs but chooses the regions of interest itself. A tracker of
several people has to choose them.
"""

import contextlib
import importlib.util
import math
import os
import queue
import re
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from selfmocap.body_model.skeleton import KeypointSet, keypoint_set
from selfmocap.tracking.detectors.detection import MASK_SIDE, Detection
from selfmocap.tracking.detectors.protocol import DETECTOR_THREADS
from selfmocap.tracking.detectors.window import RgbImage, Window, crop_window

_DETECTOR, _LANDMARKER = "pose_detection/pose_detection.tflite", "pose_landmark/pose_landmark_full.tflite"
_DETECTOR_SIDE, _LANDMARKER_SIDE = 224, 256
"""Sides of the models' input images, px."""
_WINDOW_SCALE = 2.5
"""Side of a window over the radius of the circle around the hips that holds the person; MediaPipe's own value."""
_MAX_TORSO_CONFIDENCE = 0.8
"""Upper limit for shoulders and hips, which the models always report as visible, occluded or not."""
_MIN_DETECTION_SCORE = 0.2
"""Score of the person detector from which a window is passed on; the landmarker's score then decides."""
_MAX_PEOPLE_PER_TILE = 8
_LOG_LINE = re.compile(r"[IWE]\d{4} \d\d:|INFO: |W\d{4} 00:|WARNING: All log messages before absl")


class MediaPipeTasks:
    """MediaPipe 0.10.21's person detector and pose landmarker through its Tasks graphs, models from the wheel."""

    name = "mediapipe-tasks"
    points: KeypointSet = keypoint_set("mediapipe-33")

    def __init__(self) -> None:
        with quiet_stderr():
            self._run_detector, self._run_landmarker = _pooled(_detector_graph), _pooled(_landmarker_graph)

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return a region of interest for each person found in a square tile of the image."""
        from mediapipe.python import packet_getter as packets

        result = self._run_detector(crop_window(image, tile, _DETECTOR_SIDE))["detections"]
        if result.is_empty():
            return []
        detections: list[Any] = packets.get_proto_list(result)
        return [_roi(*tile.to_image(_fractions(d.location_data.relative_keypoints[:2]))) for d in detections]

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if the landmarker reports none."""
        from mediapipe.python import packet_getter as packets

        result = self._run_landmarker(crop_window(image, roi, _LANDMARKER_SIDE))
        if result["landmarks"].is_empty() or result["mask"].is_empty():
            return None
        landmarks, circle = (_landmarks(packets.get_proto(result[name])) for name in ("landmarks", "circle"))
        keypoints = roi.to_image(_fractions(landmarks))
        visibility = np.array([point.visibility * point.presence for point in landmarks])
        return Detection(
            keypoints=keypoints.astype(np.float32),
            confidence=calibrated_confidence(
                keypoints, visibility, image.shape[1], image.shape[0], self.points
            ),
            score=float(packets.get_float(result["score"])),
            window=_roi(*roi.to_image(_fractions(circle[:2]))),
            mask=mask_bytes(packets.get_image(result["mask"]).numpy_view()),
            mask_window=roi,
        )


def calibrated_confidence(
    keypoints: Float[np.ndarray, "n 2"],
    visibility: Float[np.ndarray, " n"],
    width: int,
    height: int,
    points: KeypointSet,
) -> Float[np.ndarray, " n"]:
    """Compute the confidence of keypoints from the models' outputs.

    `visibility` is the probability that a keypoint is not occluded, times the probability that it is in the image. The
    result is 0 outside the frame (of `width` x `height` px) and at most _MAX_TORSO_CONFIDENCE for shoulders and
    hips."""
    limits = [_MAX_TORSO_CONFIDENCE if name.endswith(("shoulder", "hip")) else 1.0 for name in points.names]
    inside = ((keypoints >= -0.5) & (keypoints <= np.array([width, height]) - 0.5)).all(axis=-1)
    return np.where(inside, np.minimum(visibility, limits), 0.0).astype(np.float32)


def _roi(hips: Float[np.ndarray, " 2"], rim: Float[np.ndarray, " 2"]) -> Window:
    """Compute the region of interest from the centre of the hips and the point above the head on a person's circle."""
    dx, dy = rim - hips
    side = _WINDOW_SCALE * max(float(np.hypot(dx, dy)), 2.0)
    return Window(float(hips[0]), float(hips[1]), side, math.atan2(dx, -dy))


def _landmarks(message: Any) -> Any:
    return message.landmark


def _fractions(landmarks: Any) -> Float[np.ndarray, "n 2"]:
    return np.array([[point.x, point.y] for point in landmarks])


def mask_bytes(mask: Float[np.ndarray, "side side"]) -> UInt8[np.ndarray, "small small"]:
    """Resize a probability map to MASK_SIDE and multiply it by 255."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(mask), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small * 255).astype(np.uint8)


# ---- graphs ---------------------------------------------------------------------------------------------------

_Graph = Callable[[RgbImage], dict[str, Any]]


def _pooled(create: Callable[[], _Graph]) -> _Graph:
    """Return DETECTOR_THREADS warmed-up graphs as one function; each calling thread gets a graph of its own."""
    idle: queue.SimpleQueue[_Graph] = queue.SimpleQueue()
    for _ in range(DETECTOR_THREADS):
        graph = create()
        graph(np.zeros((_LANDMARKER_SIDE, _LANDMARKER_SIDE, 3), np.uint8))
        idle.put(graph)

    def run(image: RgbImage) -> dict[str, Any]:
        graph = idle.get()
        try:
            return graph(image)
        finally:
            idle.put(graph)

    return run


def _detector_graph() -> _Graph:
    from mediapipe.tasks.cc.vision.pose_detector.proto import pose_detector_graph_options_pb2 as messages

    options = _message_class(messages, "PoseDetectorGraphOptions")(
        min_detection_confidence=_MIN_DETECTION_SCORE, num_poses=_MAX_PEOPLE_PER_TILE
    )
    options.base_options.CopyFrom(_base_options(_DETECTOR, mean=127.5, deviation=127.5))
    name = "mediapipe.tasks.vision.pose_detector.PoseDetectorGraph"
    return _graph(name, options, takes_window=False, outputs={"DETECTIONS": "detections"})


def _landmarker_graph() -> _Graph:
    from mediapipe.tasks.cc.vision.pose_landmarker.proto import (
        pose_landmarks_detector_graph_options_pb2 as messages,
    )

    options = _message_class(messages, "PoseLandmarksDetectorGraphOptions")(min_detection_confidence=0.5)
    options.base_options.CopyFrom(_base_options(_LANDMARKER, mean=0.0, deviation=255.0))
    name = "mediapipe.tasks.vision.pose_landmarker.SinglePoseLandmarksDetectorGraph"
    outputs = {
        "LANDMARKS": "landmarks",
        "AUXILIARY_LANDMARKS": "circle",
        "PRESENCE_SCORE": "score",
        "SEGMENTATION_MASK": "mask",
    }
    return _graph(name, options, takes_window=True, outputs=outputs)


def _message_class(module: Any, name: str) -> Any:
    """Return a message class; protobuf creates it when its module is imported, where type checkers do not find it."""
    return getattr(module, name)


def _base_options(model: str, mean: float, deviation: float) -> Any:
    """Return options that hold a model of the wheel with the metadata that Tasks requires and the model lacks."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import MetadataWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # MediaPipe's writer leaves its temporary file open.
        writer = MetadataWriter.create(bytearray((_wheel() / "modules" / model).read_bytes()))
        writer.add_general_info("pose", "")
        writer.add_image_input([mean], [deviation])
        model_with_metadata = bytes(writer.populate()[0])
    return BaseOptions(model_asset_buffer=model_with_metadata).to_pb2()


def _wheel() -> Path:
    spec = importlib.util.find_spec("mediapipe")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("mediapipe is not installed; run: pip install mediapipe==0.10.21")
    return Path(spec.submodule_search_locations[0])


def _graph(name: str, options: Any, takes_window: bool, outputs: dict[str, str]) -> _Graph:
    """Start a graph of one node and return it as a function from an image to packets.

    If the node `takes_window`, the window is the whole image."""
    import mediapipe as mp
    from mediapipe.framework import calculator_pb2
    from mediapipe.framework.formats import rect_pb2
    from mediapipe.python import packet_creator
    from mediapipe.python._framework_bindings import task_runner

    inputs = ["IMAGE:image"] + (["NORM_RECT:window"] if takes_window else [])
    streams = [f"{tag}:{stream}" for tag, stream in outputs.items()]
    config = _message_class(calculator_pb2, "CalculatorGraphConfig")(
        input_stream=inputs, output_stream=streams
    )
    node = config.node.add(calculator=name, input_stream=inputs, output_stream=streams)
    node.options.Extensions[type(options).ext].CopyFrom(options)
    runner = task_runner.TaskRunner.create(config)
    whole = _message_class(rect_pb2, "NormalizedRect")(x_center=0.5, y_center=0.5, width=1.0, height=1.0)
    window = packet_creator.create_proto(whole)

    def run(image: RgbImage) -> dict[str, Any]:
        packets = {
            "image": packet_creator.create_image(mp.Image(image_format=mp.ImageFormat.SRGB, data=image))
        }
        return runner.process(packets | ({"window": window} if takes_window else {}))

    return run


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Drop the start-up log lines of MediaPipe's C++ code from stderr; all other lines are printed afterwards."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines = caught.read().decode(errors="replace").splitlines()
            sys.stderr.writelines(f"{line}\n" for line in lines if not _LOG_LINE.match(line))
