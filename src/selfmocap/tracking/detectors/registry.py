"""Create detectors by name."""

from selfmocap.tracking.detectors.blazepose import BlazePose
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.detectors.rtmpose import RtmPose


def create_detector(name: str) -> Detector:
    """Create the detector `blazepose` or `rtmpose`.

    Raises ImportError with a remedy if a package is missing, and ValueError for other names."""
    if name == "rtmpose":
        return RtmPose()
    if name != "blazepose":
        raise ValueError(f"detector: {name!r}; expected 'blazepose' or 'rtmpose'")
    return BlazePose()
