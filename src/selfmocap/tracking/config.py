"""Settings of observing a video."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from selfmocap.io.input_options import InputOptions

PixelBox = tuple[float, float, float, float]
"""Left, top, right, bottom, px."""
Quality = Literal["fast", "balanced", "best"]


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
    keypoints: Path | None = None
    """Keypoints of another program (OpenPose or COCO JSON), used instead of a detector."""
    masks: Path | None = None
    """Folder of mask images, used instead of the detector's masks."""
    flow_folder: Path | None = None
    """Folder of flow files (.flo or .npy), used instead of an optical flow method."""
    input: InputOptions = field(default_factory=InputOptions)
    """Options of reading the video."""
