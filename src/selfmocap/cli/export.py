"""The command `export`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import ERRORS, OUTPUT, bold
from selfmocap.export.formats import DEFAULT_FORMATS
from selfmocap.export.options import ExportOptions


def export_command(
    motions: Annotated[Positional[tuple[Path, ...]], arg(metavar="MOTION")],
    options: Annotated[ExportOptions, arg(name="")],
    formats: tuple[str, ...] = DEFAULT_FORMATS,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
    video: Path | None = None,
) -> None:
    """Export motions, or other systems' results, to files of other programs.

    Args:
        motions: A motion.npz; of several of one video, scene.glb and so on hold all people and the camera. Or a
            result of PHALP, 4D-Humans, WHAM, GVHMR, TRAM, PromptHMR, ROMP, BEV, VIBE, EasyMocap, SAM 3D Body, AMASS,
            smplx or BVH.
        formats: Formats to export: bvh, glb, fbx, blend, usd, amass, smpl, csv, trc.
        out: Output folder; None uses the folder of each motion, and the one above for the scene.
        video: Video of a result, for the exact times of its frames.
    """
    from selfmocap.pipeline.export_files import export_files

    paths, warnings = export_files(motions, out, formats, options, video)
    for warning in warnings:
        ERRORS.print(f"selfmocap: warning: {warning}")
    OUTPUT.print("wrote " + ", ".join(bold(path) for path in paths))
