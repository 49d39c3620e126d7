"""The interfaces between detectors and the tracker."""

from typing import Protocol, runtime_checkable

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Detection, PersonBox
from selfmocap.tracking.detectors.window import RgbImage, Window


@runtime_checkable
class FrameDetector(Protocol):
    """A detector that returns all people of a frame."""

    name: str
    points: KeypointSet
    """The keypoints of its detections."""

    def detect(self, frame: Frame) -> list[Detection]:
        """Detect all people of a frame."""
        ...


@runtime_checkable
class RoiDetector(Protocol):
    """A detector that works on regions of interest, which the tracker chooses; several threads call it."""

    name: str
    points: KeypointSet
    """The keypoints of its detections."""

    def find_people(self, image: RgbImage, region: Window | None) -> list[PersonBox]:
        """Return a box for each person found in the image, or in a square region of it."""
        ...

    def rois_of_box(self, image: RgbImage, box: PersonBox) -> list[Window]:
        """Return regions of interest for the person in a found box, the most promising first."""
        ...

    def propose_rois(self, image: RgbImage, tile: Window) -> list[Window]:
        """Return a region of interest for each person found in a square tile of the image."""
        ...

    def detect_in_roi(self, image: RgbImage, roi: Window) -> Detection | None:
        """Detect the person in a region of interest; None if there is none."""
        ...


Detector = FrameDetector | RoiDetector
