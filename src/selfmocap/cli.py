"""The command line: one thin command a procedure. A user's mistake ends in one line and exit code 2."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from tyro.conf import arg

from selfmocap import __version__

_console = Console()
_errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)


def body(
    out: Annotated[Path, arg(aliases=["-o"])],
    pose: str = "t",
    betas: tuple[float, ...] = (),
    model: Path | None = None,
    yaw: float = 20.0,
) -> None:
    """Pose the body and write a picture or a mesh.

    Args:
        out: The file to write: .png, .glb, .ply, .obj or .stl.
        pose: The name of a pose, a motion.npz (its first frame), or a .json file {joint: [x, y, z]} of rotation
            vectors in degrees.
        betas: Shape coefficients.
        model: Your own SMPL, SMPL-H or SMPL-X file (.npz, .pkl) instead of the default body.
        yaw: For a picture: degrees that the body is turned about the vertical, to its left.
    """
    from selfmocap.pose_body import pose_body

    pose_body(out, pose, betas, model, yaw)
    _console.print(f"wrote [bold]{out}[/]")


def doctor(as_json: Annotated[bool, arg(name="json")] = False) -> int:
    """Say what this machine has of what selfmocap needs, each missing thing with its remedy.

    Args:
        as_json: Print JSON.
    """
    from selfmocap.doctor import examine

    checks = examine()
    missing = any(not check.ok for check in checks)
    if as_json:
        _console.print_json(
            json.dumps({"selfmocap": __version__, "ok": not missing, "checks": [*map(asdict, checks)]})
        )
        return int(missing)
    _console.print(f"selfmocap {__version__}")
    for check in checks:
        _console.print(
            f"{'[green]ok[/]' if check.ok else '[red]missing[/]':<14} [bold]{check.name}[/] {check.found}"
        )
        if not check.ok:
            _console.print(f"{'':8}remedy: {check.remedy}")
    return int(missing)


_COMMANDS = {"body": body, "doctor": doctor}


def main(args: list[str] | None = None) -> None:
    """Runs one command; the process' exit code is 0, 1 where a check failed, 2 for a user's mistake."""
    try:
        code = tyro.extras.subcommand_cli_from_dict(
            _COMMANDS, prog="selfmocap", args=args, config=(tyro.conf.OmitArgPrefixes,)
        )
    except (ValueError, OSError) as error:
        _errors.print(f"selfmocap: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        _errors.print("selfmocap: interrupted")
        sys.exit(130)
    sys.exit(code or 0)
