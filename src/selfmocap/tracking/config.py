"""Settings of observing a video."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfmocap.io.input_options import InputOptions

PixelBox = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""
Quality = Literal["fast", "balanced", "best"]
FLOW_BLOCK = 10
"""Consecutive frames of `ObserveConfig.flow_frames`."""


@dataclass(frozen=True)
class ObserveConfig:
    """Settings that determine the observations of a video."""

    people: str = "largest"
    """People to observe: `all`, `largest`, or a number, most visible first."""
    person_box: PixelBox | None = None
    """Box around the one person to observe in the first frame: left, top, right, bottom, px."""
    detector: Literal["ensemble", "blazepose", "rtmpose"] = "ensemble"
    """Keypoint detector: BlazePose and MoveNet together, BlazePose alone, or RTMPose."""
    quality: Quality = "balanced"
    """Models of the ensemble: more exact ones are slower."""
    flow: Literal["dis", "raft"] = "dis"
    """Optical flow method."""
    flow_frames: int | None = None
    """Frames of each person in which optical flow is measured, in blocks of ten spread over the video; None measures
    it in all."""
    keypoints: Path | None = None
    """Keypoints of another program (OpenPose or COCO JSON), used instead of a detector."""
    masks: Path | None = None
    """Folder of mask images, used instead of the detector's masks."""
    flow_folder: Path | None = None
    """Folder of flow files (.flo or .npy), used instead of an optical flow method."""
    overlay: bool = True
    """Draw the observations over the video: observations.mp4."""
    input: InputOptions = field(default_factory=InputOptions)
    """Options of reading the video."""

    def __post_init__(self) -> None:
        if self.flow_frames is not None and self.flow_frames < FLOW_BLOCK:
            raise ValueError(f"flow_frames: {self.flow_frames}; expected at least {FLOW_BLOCK}")
