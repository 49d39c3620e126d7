"""Settings of a capture and of exported files as the page sends them, and the project's own configurations of them."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from selfmocap.export.formats import DEFAULT_FORMATS, check_formats
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig_options import RigOptions
from selfmocap.io.input_options import InputOptions
from selfmocap.io.lens_options import LensOptions
from selfmocap.pipeline.config import CaptureConfig

_CAPTURE = {"people": str, "quality": str, "height": str, "static_camera": str, "focal": float}
_LENS = {"fov": float, "lens_mm": float}
_INPUT = {"rotate": int, "mirror": bool, "slow_motion": float, "start": float, "end": float}


@dataclass(frozen=True)
class ProgramFiles:
    """The files that a program reads best."""

    formats: tuple[str, ...]
    rig: RigOptions


PROGRAMS = {
    "blender": ProgramFiles(("glb", "bvh"), RigOptions()),
    "unreal": ProgramFiles(("glb",), RigOptions(skeleton="unreal")),
    "unity": ProgramFiles(("glb", "bvh"), RigOptions(skeleton="mixamo")),
    "godot": ProgramFiles(("glb",), RigOptions(skeleton="vrm", root_bone=True)),
}


def input_settings() -> list[str]:
    """Return the names of the settings of the input that this version has."""
    known = {field.name for field in fields(InputOptions)}
    return [name for name in _INPUT if name in known]


def capture_config(settings: Mapping[str, Any]) -> CaptureConfig:
    """Return the configuration of a capture. Raises ValueError for an unknown or invalid setting."""
    allowed_input = {name: _INPUT[name] for name in input_settings()}
    known = _CAPTURE | _LENS | allowed_input
    for name, value in settings.items():
        if name not in known:
            raise ValueError(f"no setting {name!r}; expected one of {', '.join(known)}")
        numeric = (
            known[name] in (int, float) and isinstance(value, int | float) and not isinstance(value, bool)
        )
        if not (numeric or type(value) is known[name]):
            raise ValueError(f"{name}: {value!r}; expected a value of type {known[name].__name__}")

    def given(names: Mapping[str, type]) -> dict[str, Any]:
        return {name: settings[name] for name in names if name in settings}

    return CaptureConfig(
        **given(_CAPTURE), lens=LensOptions(**given(_LENS)), input=InputOptions(**given(allowed_input))
    )


def export_choice(program: str | None, formats: list[str]) -> tuple[tuple[str, ...], ExportOptions]:
    """Return the formats and options of a program, or of the formats without one. Raises ValueError for an unknown
    program."""
    check_formats(formats)
    if program is None:
        return tuple(formats) or DEFAULT_FORMATS, ExportOptions()
    if program not in PROGRAMS:
        raise ValueError(f"no program {program!r}; expected one of {', '.join(PROGRAMS)}")
    return PROGRAMS[program].formats, ExportOptions(rig=PROGRAMS[program].rig)
