"""Check the installation. This module imports only the standard library: everything else may be missing."""

import json
import os
import platform
import sys
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from types import ModuleType
from typing import Literal

from selfmocap._version import __version__


@dataclass(frozen=True)
class Check:
    """The result of one check."""

    name: str
    ok: bool
    found: str
    remedy: str = ""


PYTHONS = ((3, 10), (3, 14))
"""First and last version of Python that the package supports."""
REQUIREMENTS = {
    "numpy": "numpy>=1.26,<3",
    "scipy": "scipy>=1.13",
    "numba": "numba>=0.61",
    "torch": "torch>=2.6",
    "lightning_fabric": "lightning-fabric>=2.5,<2.7",
    "roma": "roma>=1.5",
    "jaxtyping": "jaxtyping>=0.3",
    "beartype": "beartype>=0.20",
    "ai_edge_litert": "ai-edge-litert>=2.1",
    "av": "av>=17,<20",
    "PIL": "pillow>=11.3",
    "matplotlib": "matplotlib>=3.10",
    "safetensors": "safetensors>=0.5",
    "tensorboard": "tensorboard>=2.19",
    "trimesh": "trimesh>=4.6",
    "rich": "rich>=13",
    "tyro": "tyro>=1.0",
    "cv2": "opencv-python-headless>=4.10,<5",
}
"""The package's requirements, by the module that is imported."""


def doctor_command(format: Literal["text", "json"] = "text") -> int:
    """Check the installation and suggest fixes. Exit code 1 if something is missing.

    Args:
        format: Output as text, or as JSON for bug reports.
    """
    checks = check_installation()
    is_complete = all(check.ok for check in checks)
    if format == "json":
        report = {"selfmocap": __version__, "ok": is_complete, "checks": [asdict(check) for check in checks]}
        lines = [json.dumps(report, indent=2)]
    else:
        lines = [f"selfmocap {__version__}", *(line for check in checks for line in _lines(check))]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return int(not is_complete)


def _lines(check: Check) -> list[str]:
    line = f"{'ok' if check.ok else 'missing':<8}{check.name} {check.found}"
    return [line] if check.ok else [line, f"{'':8}remedy: {check.remedy}"]


def check_installation() -> list[Check]:
    """Run all checks."""
    return [
        _check_python(),
        *(_check_module(name, requirement) for name, requirement in REQUIREMENTS.items()),
        *_check_processors(),
        _check_body(),
    ]


def _check_python() -> Check:
    first, last = PYTHONS
    ok = first <= sys.version_info[:2] <= last
    remedy = f"use Python {first[0]}.{first[1]} to {last[0]}.{last[1]}"
    return Check("python", ok, platform.python_version(), remedy)


def _check_module(name: str, requirement: str) -> Check:
    module = _import(name)
    if isinstance(module, str):
        # Other builds of OpenCV write the same files and may need libGL: the headless one is installed over them.
        options = "--force-reinstall --no-deps " if name == "cv2" else ""
        return Check(name, False, module, f"pip install {options}'{requirement}'")
    return Check(name, True, _version(requirement.partition(">")[0]))


def _import(name: str) -> ModuleType | str:
    """Import a module; return the error in one line if that fails."""
    try:
        return import_module(name)
    # A damaged or incompatible package fails with any error, and the other checks still have to run.
    except Exception as error:  # noqa: BLE001
        return " ".join(str(error).split()) or type(error).__name__


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "unknown version"


def _check_processors() -> list[Check]:
    torch = _import("torch")
    cpu = f"{platform.machine()}, {os.cpu_count()} cores"
    if isinstance(torch, str):
        return [Check("cpu", True, cpu), Check("gpu", True, "unknown without torch")]
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: everything runs on the CPU"
    return [Check("cpu", True, f"{cpu}, {torch.get_num_threads()} torch threads"), Check("gpu", True, gpu)]


def _check_body() -> Check:
    module = _import("selfmocap.body_model.body")
    if isinstance(module, str):
        return Check("body", False, module, "install the packages above")
    try:
        body = module.Body.load()
    except (OSError, ValueError) as error:
        remedy = "install selfmocap again: its embedded body is missing or damaged"
        return Check("body", False, str(error), remedy)
    return Check("body", True, f"{body.identity}, {len(body.vertex_joint)} vertices, {body.num_betas} betas")
