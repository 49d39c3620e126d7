"""MediaPipe's own two models, from its wheel, as two graphs: where are people, and what is in this window.

The wheel's `PoseLandmarker` task chains the same two graphs, but chooses the windows itself; a tracker of several
people has to choose them.
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
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import MASK_SIDE, Pose
from selfmocap.tracking.detectors.protocol import AT_ONCE
from selfmocap.tracking.detectors.window import Window, cut

_DETECTOR, _LANDMARKER = "pose_detection/pose_detection.tflite", "pose_landmark/pose_landmark_full.tflite"
_DETECTOR_SIDE, _LANDMARK_SIDE = 224, 256
_WINDOW_SCALE = 2.5
"""Side of a window over the radius of the circle around the hips that holds the person: MediaPipe's own choice."""
_TORSO_CONFIDENCE = 0.8
"""Shoulders and hips are always reported as seen, hidden or not: this is the most that they are believed."""
_CANDIDATE = 0.2
"""The detector's score from which a window is looked into; the landmarker's score then decides."""
_LOG_LINE = re.compile(r"[IWE]\d{4} \d\d:|INFO: |W\d{4} 00:|WARNING: All log messages before absl")


class MediaPipeTasks:
    """MediaPipe 0.10.21's person detector and pose landmarker through its Tasks graphs, models from the wheel."""

    name = "mediapipe-tasks"
    points: KeypointSet = keypoint_set("mediapipe-33")
    follows = True

    def __init__(self) -> None:
        with quiet_stderr():
            self._find, self._land = _at_once(_detector_graph), _at_once(_landmarker_graph)

    def search(self, image: UInt8[np.ndarray, "height width 3"], tile: Window) -> list[Window]:
        """Windows of the people found in a square tile of the image."""
        from mediapipe.python import packet_getter as packets

        found = self._find(cut(image, tile, _DETECTOR_SIDE))["detections"]
        if found.is_empty():
            return []
        detections: list[Any] = packets.get_proto_list(found)
        return [
            _window(*tile.to_image(_fractions(d.location_data.relative_keypoints[:2]))) for d in detections
        ]

    def look(self, image: UInt8[np.ndarray, "height width 3"], window: Window) -> Pose | None:
        """The person in a window, or None where the landmarker sees nobody."""
        from mediapipe.python import packet_getter as packets

        found = self._land(cut(image, window, _LANDMARK_SIDE))
        if found["landmarks"].is_empty() or found["mask"].is_empty():
            return None
        landmarks, circle = (_landmarks(packets.get_proto(found[name])) for name in ("landmarks", "circle"))
        keypoints = window.to_image(_fractions(landmarks))
        seen = np.array([point.visibility * point.presence for point in landmarks])
        return Pose(
            keypoints=keypoints.astype(np.float32),
            confidence=believed(keypoints, seen, image.shape[1], image.shape[0], self.points),
            score=float(packets.get_float(found["score"])),
            window=_window(*window.to_image(_fractions(circle[:2]))),
            mask=small_mask(packets.get_image(found["mask"]).numpy_view()),
            mask_window=window,
        )

    def everybody(self, frame: Frame) -> list[Pose]:
        """Not asked of a detector that follows."""
        raise NotImplementedError


def believed(
    keypoints: Float[np.ndarray, "n 2"],
    seen: Float[np.ndarray, " n"],
    width: int,
    height: int,
    points: KeypointSet,
) -> Float[np.ndarray, " n"]:
    """What to believe of keypoints: how far they are `seen` (visibility, not hidden, times presence, in the image);
    0 outside the frame; shoulders and hips, of which the models know nothing, at most _TORSO_CONFIDENCE."""
    most = [_TORSO_CONFIDENCE if name.endswith(("shoulder", "hip")) else 1.0 for name in points.names]
    inside = ((keypoints >= -0.5) & (keypoints <= np.array([width, height]) - 0.5)).all(axis=-1)
    return np.where(inside, np.minimum(seen, most), 0.0).astype(np.float32)


def _window(hips: Float[np.ndarray, " 2"], rim: Float[np.ndarray, " 2"]) -> Window:
    """From the middle of the hips and the point above the head on the circle that holds the person."""
    across, down = rim - hips
    side = _WINDOW_SCALE * max(float(np.hypot(across, down)), 2.0)
    return Window(float(hips[0]), float(hips[1]), side, math.atan2(across, -down))


def _landmarks(message: Any) -> Any:
    return message.landmark


def _fractions(landmarks: Any) -> Float[np.ndarray, "n 2"]:
    return np.array([[point.x, point.y] for point in landmarks])


def small_mask(mask: Float[np.ndarray, "side side"]) -> UInt8[np.ndarray, "small small"]:
    """A map of probabilities at the size at which masks are kept, times 255."""
    import cv2

    small = cv2.resize(np.ascontiguousarray(mask), (MASK_SIDE, MASK_SIDE), interpolation=cv2.INTER_AREA)
    return np.rint(small * 255).astype(np.uint8)


# ---- graphs ---------------------------------------------------------------------------------------------------

Graph = Callable[[UInt8[np.ndarray, "height width 3"]], dict[str, Any]]


def _at_once(made: Callable[[], Graph]) -> Graph:
    """AT_ONCE graphs that have been run, as one: of as many threads at once, each gets its own."""
    idle: queue.SimpleQueue[Graph] = queue.SimpleQueue()
    for _ in range(AT_ONCE):
        graph = made()
        graph(np.zeros((_LANDMARK_SIDE, _LANDMARK_SIDE, 3), np.uint8))
        idle.put(graph)

    def run(image: UInt8[np.ndarray, "height width 3"]) -> dict[str, Any]:
        graph = idle.get()
        try:
            return graph(image)
        finally:
            idle.put(graph)

    return run


def _detector_graph() -> Graph:
    from mediapipe.tasks.cc.vision.pose_detector.proto import pose_detector_graph_options_pb2 as messages

    options = _made(messages, "PoseDetectorGraphOptions")(min_detection_confidence=_CANDIDATE, num_poses=8)
    options.base_options.CopyFrom(_base_options(_DETECTOR, mean=127.5, deviation=127.5))
    name = "mediapipe.tasks.vision.pose_detector.PoseDetectorGraph"
    return _graph(name, options, whole_window=False, outputs={"DETECTIONS": "detections"})


def _landmarker_graph() -> Graph:
    from mediapipe.tasks.cc.vision.pose_landmarker.proto import (
        pose_landmarks_detector_graph_options_pb2 as messages,
    )

    options = _made(messages, "PoseLandmarksDetectorGraphOptions")(min_detection_confidence=0.5)
    options.base_options.CopyFrom(_base_options(_LANDMARKER, mean=0.0, deviation=255.0))
    name = "mediapipe.tasks.vision.pose_landmarker.SinglePoseLandmarksDetectorGraph"
    outputs = {
        "LANDMARKS": "landmarks",
        "AUXILIARY_LANDMARKS": "circle",
        "PRESENCE_SCORE": "score",
        "SEGMENTATION_MASK": "mask",
    }
    return _graph(name, options, whole_window=True, outputs=outputs)


def _made(module: Any, name: str) -> Any:
    """A message class, which protobuf makes when its module is imported."""
    return getattr(module, name)


def _base_options(model: str, mean: float, deviation: float) -> Any:
    """The options that hold a model of the wheel, with the metadata that Tasks asks for and the wheel's lacks."""
    from mediapipe.tasks.python.core.base_options import BaseOptions
    from mediapipe.tasks.python.metadata.metadata_writers.metadata_writer import MetadataWriter

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # MediaPipe's writer leaves its temporary file open.
        writer = MetadataWriter.create(bytearray((_wheel() / "modules" / model).read_bytes()))
        writer.add_general_info("pose", "")
        writer.add_image_input([mean], [deviation])
        whole = bytes(writer.populate()[0])
    return BaseOptions(model_asset_buffer=whole).to_pb2()


def _wheel() -> Path:
    found = importlib.util.find_spec("mediapipe")
    if found is None or not found.submodule_search_locations:
        raise ImportError("mediapipe is not installed; run: pip install mediapipe==0.10.21")
    return Path(found.submodule_search_locations[0])


def _graph(name: str, options: Any, whole_window: bool, outputs: dict[str, str]) -> Graph:
    """A running graph of one node, as a function from an image to packets."""
    import mediapipe as mp
    from mediapipe.framework import calculator_pb2
    from mediapipe.framework.formats import rect_pb2
    from mediapipe.python import packet_creator
    from mediapipe.python._framework_bindings import task_runner

    inputs = ["IMAGE:image"] + (["NORM_RECT:window"] if whole_window else [])
    streams = [f"{tag}:{stream}" for tag, stream in outputs.items()]
    config = _made(calculator_pb2, "CalculatorGraphConfig")(input_stream=inputs, output_stream=streams)
    node = config.node.add(calculator=name, input_stream=inputs, output_stream=streams)
    node.options.Extensions[type(options).ext].CopyFrom(options)
    runner = task_runner.TaskRunner.create(config)
    whole = _made(rect_pb2, "NormalizedRect")(x_center=0.5, y_center=0.5, width=1.0, height=1.0)
    window = packet_creator.create_proto(whole)

    def run(image: UInt8[np.ndarray, "height width 3"]) -> dict[str, Any]:
        packets = {
            "image": packet_creator.create_image(mp.Image(image_format=mp.ImageFormat.SRGB, data=image))
        }
        return runner.process(packets | ({"window": window} if whole_window else {}))

    return run


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keeps the start-up chatter of MediaPipe's C++ off stderr; every other line is passed on afterwards."""
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
