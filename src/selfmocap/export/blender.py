"""Convert files with Blender, in a process of its own."""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from selfmocap.io.atomic import atomic_write

_SCRIPT = Path(__file__).with_name("blender_conversion.py")
_PYTHONS = ("3.11", "3.13")
"""Versions of Python for which there are packages of Blender."""
_MAX_SECONDS = 3600.0
_MAX_MESSAGE_BYTES = 20_000


def blender_command() -> list[str]:
    """Return the command that runs a script in Blender: in its package `bpy`, else in the program `blender`.

    Raises ImportError with the remedy if neither is installed."""
    if importlib.util.find_spec("bpy") is not None:
        return [sys.executable, "-I"]
    if program := shutil.which("blender"):
        return [program, "--background", "--factory-startup", "--python-exit-code", "1", "--python"]
    version = ".".join(platform.python_version_tuple()[:2])
    remedy = (
        "run: pip install 'selfmocap[fbx]'"
        if version in _PYTHONS
        else f"its package needs Python {' or '.join(_PYTHONS)}, found {version}: use one of these"
    )
    raise ImportError(
        f"the formats fbx and blend need Blender, which is not installed; {remedy}, or install Blender 4.4 or later so "
        "that the command blender starts it"
    )


def convert_with_blender(sources: Sequence[Path], out: Path, fps: float = 30.0) -> None:
    """Convert `.glb` or `.fbx` files, as one scene, to a `.fbx`, `.glb` or `.blend`; `fps` is the rate of a `.glb`.

    Raises ImportError without Blender, ValueError that names the file if Blender cannot convert it."""
    command = [*blender_command(), str(_SCRIPT), "--"]
    with TemporaryDirectory() as folder, atomic_write(out) as temporary:
        made, messages = Path(folder) / out.name, Path(folder) / "messages"
        # Settings and add-ons of the user's Blender are left out.
        environment = os.environ | {"BLENDER_USER_RESOURCES": folder}
        try:
            with messages.open("wb") as stderr:
                subprocess.run(
                    [*command, str(made), repr(fps), *(str(path.resolve()) for path in sources)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=stderr,
                    cwd=folder,
                    env=environment,
                    timeout=_MAX_SECONDS,
                    check=True,
                )
            shutil.copyfile(made, temporary)
        except (subprocess.SubprocessError, FileNotFoundError) as error:
            raise ValueError(
                f"{sources[0]}: Blender failed to convert it to {out.suffix} ({_last_message(messages) or error}); "
                "check that Blender opens the file, or use glb"
            ) from error


def _last_message(messages: Path) -> str:
    """Return the last error in Blender's messages; empty if there is none."""
    lines = messages.read_bytes()[-_MAX_MESSAGE_BYTES:].decode(errors="replace").splitlines()
    found = [line.strip() for line in lines if "Error: " in line and not line.startswith("Location")]
    return found[-1][:300] if found else ""
