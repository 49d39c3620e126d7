"""Create detectors by name."""

import logging

from selfmocap.tracking.detectors.mediapipe import MediaPipeTasks
from selfmocap.tracking.detectors.mediapipe_legacy import MediaPipeLegacy
from selfmocap.tracking.detectors.protocol import Detector
from selfmocap.tracking.detectors.rtmpose import RtmPose

_LIBGL_REMEDY = (
    "OpenCV or MediaPipe cannot be loaded ({error}). On a machine without a screen, either install the system's "
    "libraries (Debian: apt install libgl1 libglib2.0-0) or replace OpenCV with its headless build: pip uninstall -y "
    "opencv-contrib-python && pip install --no-deps opencv-contrib-python-headless==4.11.0.86"
)

_log = logging.getLogger(__name__)


def create_detector(name: str) -> Detector:
    """Create the detector `mediapipe`, `mediapipe-legacy` or `rtmpose`.

    `mediapipe` uses MediaPipe's Tasks graphs, or its legacy interface if the graphs cannot be built; the detector's
    `name` states which. An ImportError says how to install a missing package."""
    if name == "rtmpose":
        return RtmPose()
    if name not in ("mediapipe", "mediapipe-legacy"):
        raise ValueError(f"detector: {name!r}; expected 'mediapipe', 'mediapipe-legacy' or 'rtmpose'")
    try:
        import cv2  # noqa: F401
        import mediapipe  # noqa: F401
    except ImportError as error:
        raise ImportError(_LIBGL_REMEDY.format(error=error)) from error
    return MediaPipeLegacy() if name == "mediapipe-legacy" else _tasks_or_legacy()


def _tasks_or_legacy() -> Detector:
    try:
        return MediaPipeTasks()
    except (ImportError, AttributeError, RuntimeError, ValueError, OSError) as error:
        _log.warning("MediaPipe's Tasks graphs cannot be built (%s); using its legacy interface", error)
        return MediaPipeLegacy()
