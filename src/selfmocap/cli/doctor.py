"""What this machine has of what the project needs, each missing thing with its remedy."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib import import_module, metadata

import torch

from selfmocap.body_model.body import Body


@dataclass(frozen=True)
class Check:
    """One thing that is needed, or that is good to know."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


_MODULES = ("numpy", "scipy", "numba", "torch", "roma", "av", "safetensors", "trimesh")
_OPENCV_REMEDY = (
    "pip uninstall -y opencv-contrib-python; pip install --no-deps opencv-contrib-python-headless==4.11.0.86 "
    "(or install the system's libGL and glib: on Debian, apt install libgl1 libglib2.0-0)"
)


def examine() -> list[Check]:
    """All checks, in the order in which a new user meets them."""
    return [
        _python(),
        *(_module(name, f"pip install {name}") for name in _MODULES),
        _module("cv2", _OPENCV_REMEDY, "opencv-contrib-python-headless", "opencv-contrib-python"),
        _module("mediapipe", f"pip install mediapipe==0.10.21; if it asks for libGL: {_OPENCV_REMEDY}"),
        _processor(),
        _gpu(),
        _body(),
    ]


def _python() -> Check:
    ok = (3, 10) <= sys.version_info[:2] < (3, 13)
    return Check(
        "python", ok, platform.python_version(), "use Python 3.10, 3.11 or 3.12 (MediaPipe has no other)"
    )


def _module(name: str, remedy: str, *distributions: str) -> Check:
    try:
        import_module(name)
    except (ImportError, OSError) as error:
        return Check(name, False, str(error), remedy)
    versions = [_version(distribution) for distribution in distributions or (name,)]
    return Check(name, True, next((version for version in versions if version), "unknown version"))


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> Check:
    return Check(
        "cpu", True, f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} torch threads"
    )


def _gpu() -> Check:
    found = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: everything runs on the CPU"
    return Check("gpu", True, found)


def _body() -> Check:
    try:
        body = Body.load()
    except (FileNotFoundError, ValueError) as error:
        return Check(
            "body", False, str(error), "install selfmocap again: its embedded body is missing or damaged"
        )
    return Check("body", True, f"{body.identity}, {len(body.vertex_joint)} vertices, {body.num_betas} betas")
