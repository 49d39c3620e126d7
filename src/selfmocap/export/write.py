"""Write a motion to files of numbered formats."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.bvh import write_bvh
from selfmocap.export.fbx import write_with_blender
from selfmocap.export.formats import BLENDER_FORMATS, FORMAT_SUFFIXES, check_formats
from selfmocap.export.glb import write_glb
from selfmocap.export.options import ExportOptions
from selfmocap.export.segments import Segment, concat_segments, split_into_segments
from selfmocap.export.smpl import fit_to_smpl, write_amass, write_smpl
from selfmocap.export.tables import write_csv, write_trc
from selfmocap.export.usd import write_usd

_SMPL_FORMATS = {"smpl", "amass"}
_FORMATS_WITH_TIMES = {"smpl", "csv"}
"""Formats that store the time of each frame: one file for all segments."""


def export_motion(
    motion: Motion,
    body: Body,
    out: Path,
    formats: Sequence[str],
    options: ExportOptions | None = None,
) -> list[Path]:
    """Write `out/motion.bvh` and so on, and return the paths of the files, in the order of `formats`.

    Across gaps of more than half a second, formats with one frame rate and without gaps get one file per segment:
    `motion-1.bvh`, `motion-2.bvh`. `bvh`, `trc`, `amass`, `fbx` and `blend` begin with the segment's first frame; `glb`
    and `usd` have the times of the video. Irregular frame times are resampled to the rate of the video, or to that of
    the options; `csv`, `smpl` and `glb` keep the frames.

    Raises ValueError for an unknown format, for a body that is not the motion's, and for a motion without frames;
    FileNotFoundError if `out` does not exist; ImportError for `usd`, `fbx` and `blend` without their package."""
    options = options or ExportOptions()
    check_formats(formats)
    check_bodies([motion], body, out)
    for_body, for_smpl = (split_into_segments(motion), body), None
    if _SMPL_FORMATS & set(formats):
        model = body if options.smpl_model is None else Body.load(options.smpl_model)
        for_smpl = (split_into_segments(fit_to_smpl(motion, body, model)), model)
    paths = []
    for name in formats:
        parts, part_body = (for_smpl if name in _SMPL_FORMATS else None) or for_body
        paths += _write(name, parts, part_body, out, options)
    return paths


def check_bodies(motions: Iterable[Motion], body: Body, out: Path) -> None:
    """Raise ValueError unless the body is that of the motions, FileNotFoundError if `out` is no folder."""
    for motion in motions:
        if motion.body != body.identity:
            raise ValueError(
                f"expected the body of the motion, {motion.body}, found {body.identity}; pass the motion's body"
            )
    if not out.is_dir():
        raise FileNotFoundError(f"{out}: expected a folder, found none; create it or write elsewhere")


def _write(name: str, parts: list[Segment], body: Body, out: Path, options: ExportOptions) -> list[Path]:
    if name in _FORMATS_WITH_TIMES or (name == "glb" and options.fps is None):
        parts = [part if options.fps is None else part.at_rate(options.fps) for part in parts]
    else:
        parts = [part.at_rate(options.fps) for part in parts]
    if name in _FORMATS_WITH_TIMES:
        parts = [concat_segments(parts)]
    numbered = len(parts) > 1
    paths = [
        out / f"motion{f'-{n}' if numbered else ''}{FORMAT_SUFFIXES[name]}" for n in range(1, len(parts) + 1)
    ]
    for path, part in zip(paths, parts, strict=True):
        _writer(name, options)(path, part, body)
    return paths


def _writer(name: str, options: ExportOptions) -> Callable[[Path, Segment, Body], None]:
    without_options = {"amass": write_amass, "smpl": write_smpl}
    if name in without_options:
        return without_options[name]
    with_options = {"bvh": write_bvh, "glb": write_glb, "usd": write_usd, "csv": write_csv, "trc": write_trc}
    with_options |= dict.fromkeys(BLENDER_FORMATS, write_with_blender)
    return lambda path, segment, body: with_options[name](path, segment, body, options)


def motion_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each motion file: that of its folder for a `motion.npz`, else its own; numbered if equal."""
    names: list[str] = []
    for path in paths:
        name = path.resolve().parent.name if path.stem == "motion" else path.stem
        names.append(unused_name(name, names))
    return names


def unused_name(name: str, names: Sequence[str]) -> str:
    """Return a name, with a number if it is among the others already."""
    number, unused = 1, name
    while unused in names:
        number += 1
        unused = f"{name}-{number}"
    return unused
