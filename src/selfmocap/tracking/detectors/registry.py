"""Create detectors by name."""

from selfmocap.tracking.config import Quality
from selfmocap.tracking.detectors.blazepose import BlazePose
from selfmocap.tracking.detectors.ensemble import PoseEnsemble
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.detectors.rtmpose import RtmPose


def create_detector(name: str, quality: Quality = "balanced") -> Detector:
    """Create the detector `ensemble` (of a quality), `blazepose` or `rtmpose`.

    Raises ImportError with a remedy if a package is missing, and ValueError for other names."""
    if name == "rtmpose":
        return RtmPose()
    if name == "blazepose":
        return BlazePose()
    if name != "ensemble":
        raise ValueError(f"detector: {name!r}; expected 'ensemble', 'blazepose' or 'rtmpose'")
    return PoseEnsemble(quality)
