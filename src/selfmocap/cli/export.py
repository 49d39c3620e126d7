"""The command `export`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.export.formats import DEFAULT_FORMATS
from selfmocap.export.options import ExportOptions


def export_command(
    motion: Annotated[Positional[Path], arg(metavar="MOTION")],
    options: Annotated[ExportOptions, arg(name="")],
    formats: tuple[str, ...] = DEFAULT_FORMATS,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
) -> None:
    """Export a motion to files of other programs.

    Args:
        motion: A motion.npz.
        formats: Formats to export: bvh, glb, usd, amass, smpl, csv, trc.
        out: Output folder; None uses the folder of the motion.
    """
    from selfmocap.body_model.body import Body
    from selfmocap.body_model.motion import Motion
    from selfmocap.export.write import export_motion

    folder = motion.parent if out is None else out
    folder.mkdir(parents=True, exist_ok=True)
    paths = export_motion(Motion.load(motion), Body.load(), folder, formats, options)
    OUTPUT.print("wrote " + ", ".join(bold(path) for path in paths))
