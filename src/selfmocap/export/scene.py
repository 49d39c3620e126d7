"""Write one scene: all people of a video and its camera, on the video's clock."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.camera_track import camera_track
from selfmocap.export.fbx import write_scene_with_blender
from selfmocap.export.formats import BLENDER_FORMATS, FORMAT_SUFFIXES, check_formats
from selfmocap.export.glb import write_glb_scene
from selfmocap.export.options import ExportOptions
from selfmocap.export.segments import concat_segments, split_into_segments
from selfmocap.export.usd import write_usd_scene
from selfmocap.export.write import check_bodies

_WRITERS = {"glb": write_glb_scene, "usd": write_usd_scene} | dict.fromkeys(
    BLENDER_FORMATS, write_scene_with_blender
)
SCENE_FORMATS = frozenset(_WRITERS)
"""Formats that hold several people and a camera."""


def export_scene(
    motions: Mapping[str, Motion],
    body: Body,
    out: Path,
    formats: Sequence[str],
    options: ExportOptions | None = None,
) -> list[Path]:
    """Write `out/scene.glb` and so on, for those of the formats that hold a scene, and return their paths.

    `motions` are those of one video, by the name of the person. A person holds the last pose where the video does not
    show them. Options that would move people apart do not apply: `in_place`, `origin`, `t_pose`. Raises the errors of
    `export_motion`, and ValueError for no motion."""
    check_formats(formats)
    if not motions:
        raise ValueError("expected at least one motion for a scene, found none")
    check_bodies(motions.values(), body, out)
    options = options or ExportOptions()
    in_world = replace(options, rig=replace(options.rig, in_place=False, origin="camera", t_pose=False))
    people = {name: concat_segments(split_into_segments(motion)) for name, motion in motions.items()}
    paths = []
    for name in formats:
        if name in _WRITERS:
            resampled = name != "glb" or options.fps is not None
            parts = {p: part.at_rate(options.fps) if resampled else part for p, part in people.items()}
            paths.append(out / f"scene{FORMAT_SUFFIXES[name]}")
            _WRITERS[name](paths[-1], parts, body, in_world, camera_track(list(motions.values())))
    return paths
