"""Write FBX and Blender's own files: what Blender makes of the GLB, from the first frame on at a constant rate."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from selfmocap.body_model.body import Body
from selfmocap.export.blender import convert_with_blender
from selfmocap.export.camera_track import CameraTrack
from selfmocap.export.glb import write_glb, write_glb_scene
from selfmocap.export.options import ExportOptions
from selfmocap.export.segments import Segment


def write_with_blender(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment as `.fbx` (centimetres, y up) or `.blend` (metres, z up); the first frame is frame 0."""
    with TemporaryDirectory() as folder:
        source = Path(folder) / "motion.glb"
        write_glb(source, replace(segment, times=segment.times - segment.times[0]), body, options)
        convert_with_blender([source], path, segment.fps)


def write_scene_with_blender(
    path: Path, people: Mapping[str, Segment], body: Body, options: ExportOptions, camera: CameraTrack | None
) -> None:
    """Write all people, and the camera, on the video's clock: its first frame is frame 0. Segments share one rate.

    Each person has a skeleton of their own, whose joints are named as in a GLB."""
    with TemporaryDirectory() as folder:
        sources = [Path(folder) / f"{person}.glb" for person in people]
        for source, (person, segment) in zip(sources, people.items(), strict=True):
            write_glb_scene(source, {person: segment}, body, options, camera)
            camera = None  # One is enough.
        convert_with_blender(sources, path, next(iter(people.values())).fps)
