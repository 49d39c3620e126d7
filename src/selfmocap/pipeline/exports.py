"""The stages of a capture that write files for other programs."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.camera import CAMERA_FILE, write_camera
from selfmocap.export.options import ExportOptions
from selfmocap.export.scene import SCENE_FORMATS, export_scene
from selfmocap.export.write import export_motion
from selfmocap.io.stage_cache import StageCache, StageRecord


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


def _write_camera(file: Path, motion: Motion) -> tuple[dict[str, Any], list[Path]]:
    write_camera(file, motion)
    return {}, [file]


def _needs(name: str, options: ExportOptions) -> dict[str, Any]:
    return {"format": name, "options": {key: str(value) for key, value in asdict(options).items()}}
