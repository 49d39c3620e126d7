"""A motion to files, in the formats asked for."""

from collections.abc import Callable, Sequence
from pathlib import Path

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.bvh import write_bvh
from selfmocap.export.glb import write_glb
from selfmocap.export.options import ExportOptions
from selfmocap.export.smpl import fitted, write_amass, write_smpl
from selfmocap.export.tables import write_csv, write_trc
from selfmocap.export.takes import Take, joined, takes
from selfmocap.export.usd import usd_library, write_usd

SUFFIXES = {
    "bvh": ".bvh", "glb": ".glb", "usd": ".usd", "amass": "_amass.npz", "smpl": "_smpl.npz", "csv": ".csv",
    "trc": ".trc",
}  # fmt: skip
"""The formats, and how their files' names end."""

_FOR_SMPL = {"smpl", "amass"}
_WITH_TIMES = {"smpl", "csv"}
"""Formats that hold each frame's time: one file for all takes."""


def export(
    motion: Motion,
    body: Body,
    out: Path,
    formats: Sequence[str],
    options: ExportOptions | None = None,
) -> list[Path]:
    """Writes `out/motion.bvh` and so on; the files' paths, in the order of `formats`.

    Where the person is away for more than half a second, formats that know one frame rate and no gaps get a file a
    take: `motion-1.bvh`, `motion-2.bvh`; each starts at time 0. Frame times that are not regular are resampled for
    them, to the median rate or to the options' one. `csv` and `smpl` keep the frames as they are.

    Raises ValueError for an unknown format, for a body that is not the motion's, and for a motion without frames;
    FileNotFoundError where `out` is missing; ImportError for `usd` without its package."""
    options = options or ExportOptions()
    _check(motion, body, out, formats)
    of_body, of_smpl = (takes(motion), body), None
    if _FOR_SMPL & set(formats):
        model = body if options.smpl_model is None else Body.load(options.smpl_model)
        of_smpl = (takes(fitted(motion, body, model)), model)
    paths = []
    for name in formats:
        parts, its_body = (of_smpl if name in _FOR_SMPL else None) or of_body
        paths += _write(name, parts, its_body, out, options)
    return paths


def check_formats(formats: Sequence[str]) -> None:
    """Raises ValueError for an unknown format; ImportError for `usd` without its package."""
    if unknown := [name for name in formats if name not in SUFFIXES]:
        raise ValueError(f"no format {', '.join(map(repr, unknown))}; there are {', '.join(SUFFIXES)}")
    if "usd" in formats:
        usd_library()


def _check(motion: Motion, body: Body, out: Path, formats: Sequence[str]) -> None:
    check_formats(formats)
    if motion.body != body.identity:
        raise ValueError(
            f"the motion is of the body {motion.body}, the body given is {body.identity}; give the motion's own"
        )
    if not out.is_dir():
        raise FileNotFoundError(f"{out} is not a folder; create it or write elsewhere")


def _write(name: str, parts: list[Take], body: Body, out: Path, options: ExportOptions) -> list[Path]:
    if name in _WITH_TIMES or (name == "glb" and options.fps is None):
        parts = [part if options.fps is None else part.at_rate(options.fps) for part in parts]
    else:
        parts = [part.at_rate(options.fps) for part in parts]
    if name in _WITH_TIMES:
        parts = [joined(parts)]
    several = len(parts) > 1
    paths = [out / f"motion{f'-{n}' if several else ''}{SUFFIXES[name]}" for n in range(1, len(parts) + 1)]
    for path, part in zip(paths, parts, strict=True):
        _writer(name, options)(path, part, body)
    return paths


def _writer(name: str, options: ExportOptions) -> Callable[[Path, Take, Body], None]:
    plain = {"amass": write_amass, "smpl": write_smpl}
    if name in plain:
        return plain[name]
    styled = {"bvh": write_bvh, "glb": write_glb, "usd": write_usd, "csv": write_csv, "trc": write_trc}
    return lambda path, take, body: styled[name](path, take, body, options)
