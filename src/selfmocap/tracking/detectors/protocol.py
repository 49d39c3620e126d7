"""What every detector of people offers the tracker."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from selfmocap.body_model.skeleton import KeypointSet
from selfmocap.io.video import Frame
from selfmocap.tracking.detectors.detection import Pose
from selfmocap.tracking.detectors.window import Window

Image = UInt8[np.ndarray, "height width 3"]

AT_ONCE = 2
"""Tiles, or windows, that are looked into at the same time."""


@runtime_checkable
class Detector(Protocol):
    """Finds people. `follows`: it can look for a person in a window; otherwise it is asked for everybody in each
    frame, by `everybody`."""

    name: str
    points: KeypointSet
    follows: bool

    def search(self, image: Image, tile: Window) -> list[Window]:
        """Windows of the people found in a square tile of the image; several threads may ask at the same time."""
        ...

    def look(self, image: Image, window: Window) -> Pose | None:
        """The person in a window, or None."""
        ...

    def everybody(self, frame: Frame) -> list[Pose]:
        """All people of a frame."""
        ...
