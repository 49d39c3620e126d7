"""The interface between detectors and the tracker."""

from typing import Protocol, runtime_checkable

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Detection
from selfmocap.tracking.detectors.window import RgbImage, Window

DETECTOR_THREADS = 2
"""Threads that call `propose_rois` or `detect_in_roi` at the same time."""


@runtime_checkable
class Detector(Protocol):
    """A person detector with one of two interfaces.

    If `supports_roi` is true, the tracker calls `propose_rois` and `detect_in_roi`, from several threads; otherwise it
    calls `detect` once a frame. The methods of the other interface raise NotImplementedError."""

    name: str
    points: KeypointSet
    """The keypoints of its detections."""
    supports_roi: bool

    def detect(self, frame: Frame) -> list[Detection]:
        """Detect all people of a frame."""
        ...

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return a region of interest for each person found in a square tile of the image."""
        ...

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if there is none."""
        ...
