"""The export formats, and a check of names that a user gives."""

from collections.abc import Sequence
from types import ModuleType

from selfmocap.export.blender import blender_command

FORMAT_SUFFIXES = {
    "bvh": ".bvh", "glb": ".glb", "usd": ".usd", "amass": "_amass.npz", "smpl": "_smpl.npz", "csv": ".csv",
    "trc": ".trc", "fbx": ".fbx", "blend": ".blend",
}  # fmt: skip
"""Endings of the file names by format."""
DEFAULT_FORMATS = ("bvh", "glb")
BLENDER_FORMATS = frozenset({"fbx", "blend"})
"""Formats that Blender writes."""


def check_formats(formats: Sequence[str]) -> None:
    """Raise ValueError for an unknown format, ImportError for one whose package is not installed."""
    if unknown := [name for name in formats if name not in FORMAT_SUFFIXES]:
        raise ValueError(
            f"no format {', '.join(map(repr, unknown))}; choose from {', '.join(FORMAT_SUFFIXES)}"
        )
    if "usd" in formats:
        usd_library()
    if BLENDER_FORMATS & set(formats):
        blender_command()


def usd_library() -> ModuleType:
    """Import the package `pxr`. Raises ImportError with the remedy if it is not installed."""
    try:
        import pxr  # pyright: ignore
    except ImportError as error:
        raise ImportError(
            "the format usd needs the package usd-core, which is not installed; run: pip install 'selfmocap[usd]'"
        ) from error
    return pxr
