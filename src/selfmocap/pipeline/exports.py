"""The stages of a capture that write files for other programs."""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.camera import CAMERA_FILE, write_camera
from selfmocap.export.characters.write import check_character, retarget_files
from selfmocap.export.formats import FORMAT_SUFFIXES
from selfmocap.export.options import ExportOptions
from selfmocap.export.scene import SCENE_FORMATS, export_scene
from selfmocap.export.write import export_motion
from selfmocap.io.files import sha256_of_path
from selfmocap.io.stage_cache import StageCache, StageRecord

_log = logging.getLogger(__name__)


def export_people(
    stages: StageCache,
    motions: Sequence[Motion],
    processed: Sequence[StageRecord],
    body: Body,
    out: Path,
    formats: Sequence[str],
    options: ExportOptions,
) -> None:
    """Write the files of each person into `out/person-1`, ... and the scene of all people into `out`.

    `processed` are the stages that made the motions, in the same order."""
    people = {f"person-{number}": motion for number, motion in enumerate(motions, start=1)}
    for (person, motion), stage in zip(people.items(), processed, strict=True):
        for name in dict.fromkeys(formats):
            stages.run(
                f"export-{person.removeprefix('person-')}-{name}",
                _needs(name, options),
                [stage],
                lambda p=person, m=motion, n=name: ({}, export_motion(m, body, out / p, [n], options)),
            )
        if motion.camera.R_cam_world.ndim > 2:
            file = out / person / CAMERA_FILE
            stages.run(
                f"export-{person.removeprefix('person-')}-camera",
                {},
                [stage],
                lambda f=file, m=motion: _write_camera(f, m),
            )
    for name in dict.fromkeys(formats):
        if name in SCENE_FORMATS:
            stages.run(
                f"scene-{name}",
                _needs(name, options),
                processed,
                lambda n=name: ({}, export_scene(people, body, out, [n], options)),
            )


def retarget_people(
    stages: StageCache,
    motions: Sequence[Motion],
    processed: Sequence[StageRecord],
    body: Body,
    out: Path,
    onto: Path,
) -> None:
    """Write the character of the file `onto` moving like each person: `out/person-1/character.glb`, ..."""
    suffix, needs = check_character(onto), {"onto": sha256_of_path(onto)}
    for number, (motion, stage) in enumerate(zip(motions, processed, strict=True), start=1):
        file = out / f"person-{number}" / f"character{suffix}"

        def compute(file: Path = file, motion: Motion = motion) -> tuple[dict[str, Any], list[Path]]:
            retarget_files({file.parent.name: motion}, body, onto, file)
            return {}, [file]

        stages.run(f"character-{number}", needs, [stage], compute)


def remove_stale_exports(stages: StageCache, motion_file: Path) -> None:
    """Delete the exports of a motion that is about to be replaced, and of its scene, and log their names.

    They were made by `selfmocap export`; those of a capture's stages stay, since the stages replace them."""
    folder, kept = motion_file.parent, stages.files()
    found = (*_exports(folder), *_exports(folder.parent, "scene"))
    _remove(path for path in found if path.resolve() not in kept)


def remove_exports_without_motion(out: Path) -> None:
    """Delete the exports of people whom the capture no longer has, and log their names."""
    gone = (path for path in out.glob("person-*") if not (path / "motion.npz").exists())
    _remove(export for folder in gone for export in _exports(folder))


def _exports(folder: Path, stem: str = r"motion(-\d+)?") -> list[Path]:
    suffixes = "|".join(re.escape(suffix) for suffix in FORMAT_SUFFIXES.values())
    name = re.compile(rf"{stem}({suffixes})")
    return [path for path in sorted(folder.glob("*")) if name.fullmatch(path.name) and path.is_file()]


def _remove(exports: Iterable[Path]) -> None:
    for path in exports:
        path.unlink()
        _log.warning("%s was exported from a former motion and is removed; export it again", path)


def _write_camera(file: Path, motion: Motion) -> tuple[dict[str, Any], list[Path]]:
    write_camera(file, motion)
    return {}, [file]


def _needs(name: str, options: ExportOptions) -> dict[str, Any]:
    return {"format": name, "options": {key: str(value) for key, value in asdict(options).items()}}
