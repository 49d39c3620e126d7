"""A video of a person goes in; the 3D motion of a body model comes out."""

from typing import TYPE_CHECKING, Any

from selfmocap._version import __version__

if TYPE_CHECKING:
    from selfmocap.body_model.body import Body, BodyParameters
    from selfmocap.body_model.motion import Motion
    from selfmocap.export.options import ExportOptions
    from selfmocap.geometry.camera import Camera
    from selfmocap.pipeline.capture import capture
    from selfmocap.pipeline.config import CaptureConfig
    from selfmocap.tracking.observations import Observations

__all__ = [
    "Body",
    "BodyParameters",
    "Camera",
    "CaptureConfig",
    "ExportOptions",
    "Motion",
    "Observations",
    "__version__",
    "capture",
]

_HOME = {
    "Body": "selfmocap.body_model.body",
    "BodyParameters": "selfmocap.body_model.body",
    "Camera": "selfmocap.geometry.camera",
    "CaptureConfig": "selfmocap.pipeline.config",
    "ExportOptions": "selfmocap.export.options",
    "Motion": "selfmocap.body_model.motion",
    "Observations": "selfmocap.tracking.observations",
    "capture": "selfmocap.pipeline.capture",
}


def __getattr__(name: str) -> Any:
    """Loads the public names when they are first used, so that the command line starts without torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'selfmocap' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
