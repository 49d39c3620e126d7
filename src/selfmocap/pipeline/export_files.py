"""Export motions, and the people of other systems' results, to files of other programs."""

from collections.abc import Sequence
from pathlib import Path

import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.datasets.results.read import is_motion_file, read_result
from selfmocap.export.options import ExportOptions
from selfmocap.export.scene import export_scene
from selfmocap.export.write import export_motion, motion_names
from selfmocap.io.video import open_video


def export_files(
    files: Sequence[Path],
    out: Path | None,
    formats: Sequence[str],
    options: ExportOptions,
    video: Path | None = None,
) -> tuple[list[Path], list[str]]:
    """Export each motion.npz, and the people of each result into `person-N` with their motion.npz.

    Each goes into its own folder, or into `out` (of several files, into a folder each). Several motions of one video
    also give a scene of all of them. `video` gives a result exact frame times. A result is exported on the user's SMPL
    model where the options have one. Returns the files and warnings. Raises ValueError for no file, and the errors of
    `read_result` and `export_motion`."""
    if not files:
        raise ValueError("expected a motion.npz or a result of another system, found none")
    paths: list[Path] = []
    warnings: list[str] = []
    motions: dict[str, Motion] = {}
    body = Body.load()
    for name, file in zip(motion_names(files), files, strict=True):
        folder = file.parent if out is None else out / name if len(files) > 1 else out
        folder.mkdir(parents=True, exist_ok=True)
        if is_motion_file(file):
            motions[name] = Motion.load(file)
            paths += export_motion(motions[name], body, folder, formats, options)
        else:
            written, notes = _export_result(file, folder, formats, options, video, body)
            paths += written
            warnings += notes
    if len(motions) > 1:
        folder = files[0].resolve().parent.parent if out is None else out
        paths += export_scene(motions, body, folder, formats, options)
    return paths, warnings


def _export_result(
    file: Path, folder: Path, formats: Sequence[str], options: ExportOptions, video: Path | None, body: Body
) -> tuple[list[Path], list[str]]:
    smpl = None if options.smpl_model is None else Body.load(options.smpl_model)
    film = None if video is None else open_video(video)
    times, size = (None, None) if film is None else (torch.from_numpy(film.times), film.size)
    read = read_result(file, body, smpl, times, size)
    paths = []
    for number, motion in enumerate(read.motions, start=1):
        person = folder / f"person-{number}"
        person.mkdir(parents=True, exist_ok=True)
        motion.save(person / "motion.npz")
        paths += [person / "motion.npz", *export_motion(motion, smpl or body, person, formats, options)]
    return paths, read.warnings
