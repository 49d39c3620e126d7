"""The command `export`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold
from selfmocap.export.formats import DEFAULT_FORMATS
from selfmocap.export.options import ExportOptions


def export_command(
    motions: Annotated[Positional[tuple[Path, ...]], arg(metavar="MOTION")],
    options: Annotated[ExportOptions, arg(name="")],
    formats: tuple[str, ...] = DEFAULT_FORMATS,
    out: Annotated[Path | None, arg(aliases=["-o"])] = None,
) -> None:
    """Export motions to files of other programs.

    Args:
        motions: A motion.npz; of several of one video, scene.glb and scene.usd hold all people and the camera.
        formats: Formats to export: bvh, glb, usd, amass, smpl, csv, trc.
        out: Output folder; None uses the folder of each motion, and the one above for the scene.
    """
    from selfmocap.body_model.body import Body
    from selfmocap.body_model.motion import Motion
    from selfmocap.export.scene import export_scene
    from selfmocap.export.write import export_motion, motion_names

    if not motions:
        raise ValueError("expected at least one motion.npz, found none")
    people, body, paths = dict(zip(motion_names(motions), motions, strict=True)), Body.load(), []
    loaded = {name: Motion.load(path) for name, path in people.items()}
    for name, motion in loaded.items():
        folder = people[name].parent if out is None else out / name if len(people) > 1 else out
        folder.mkdir(parents=True, exist_ok=True)
        paths += export_motion(motion, body, folder, formats, options)
    if len(people) > 1:
        folder = motions[0].resolve().parent.parent if out is None else out
        paths += export_scene(loaded, body, folder, formats, options)
    OUTPUT.print("wrote " + ", ".join(bold(path) for path in paths))
