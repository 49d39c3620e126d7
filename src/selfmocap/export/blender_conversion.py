"""Convert files within Blender: `blender_conversion.py OUT FPS SOURCE ...`.

`blender.py` runs this file in a process of its own, in Blender's Python: it imports nothing of this package."""
# pyright: reportMissingImports=false

import contextlib
import math
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy_extras.io_utils import axis_conversion
from mathutils import Matrix

_OLDEST_BLENDER = (4, 4)
_MEMORY_BYTES = 16 << 30
_FBX_WORLD = Matrix.Scale(100, 4) @ axis_conversion(to_forward="-Z", to_up="Y").to_4x4()
"""From Blender's world, z up in metres, to that of the FBX files: y up in centimetres."""


def convert(out: Path, fps: float, sources: list[Path]) -> None:
    """Read `.glb` and `.fbx` files into one scene, and write it as `.fbx`, `.glb` or `.blend` at one frame rate.

    `fps` is the rate of GLB files. Skeletons of several files are named after the files. An FBX gets all animations of
    a file that has several, each from its first frame on; else one from frame 0 on."""
    if bpy.app.version < _OLDEST_BLENDER:
        raise RuntimeError(f"expected Blender 4.4 or later, found {bpy.app.version_string}")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    for source in sources:
        known = set(bpy.data.objects)
        _read_fbx(source) if source.suffix == ".fbx" else _read_glb(source, fps)
        for o in set(bpy.data.objects) - known:
            if o.type == "ARMATURE" and len(sources) > 1:
                o.name = f"{source.stem}_Armature"
    ends = [action.frame_range[1] for action in bpy.data.actions]
    scene.frame_start, scene.frame_end = 0, math.ceil(max(ends, default=0) - 0.01)
    scene.name = bpy.data.actions[0].name if len(bpy.data.actions) == 1 else out.stem
    if out.suffix == ".fbx":
        _write_fbx(out, len(sources) == 1)
    elif out.suffix == ".glb":
        bpy.ops.export_scene.gltf(filepath=str(out), export_format="GLB")
    else:
        bpy.ops.wm.save_as_mainfile(filepath=str(out), compress=True)


def _read_glb(source: Path, fps: float) -> None:
    """Read a file at a rate; importers place keys right at whole rates only."""
    render, known = bpy.context.scene.render, set(bpy.data.actions)
    render.fps, render.fps_base = max(1, round(fps)), 1
    bpy.ops.import_scene.gltf(filepath=str(source), bone_heuristic="BLENDER", disable_bone_shape=True)
    for action in set(bpy.data.actions) - known:
        for curve in _curves(action):
            _scale_keys(curve, 0, fps / render.fps)
    render.fps_base = render.fps / fps


def _read_fbx(source: Path) -> None:
    """Read a file at the whole rate next to its own, without images that it names outside its folder: they would
    become part of what is written."""
    bpy.ops.import_scene.fbx(filepath=str(source), use_image_search=False, anim_offset=0)
    bpy.context.scene.render.fps_base = 1
    for action in bpy.data.actions:  # Blender writes `Armature|` before each name.
        for o in bpy.data.objects:
            action.name = action.name.removeprefix(f"{o.name}|")
    for o in (o for o in bpy.data.objects if o.type == "ARMATURE"):
        bpy.context.view_layer.objects.active = o
        bpy.ops.object.mode_set(mode="EDIT")
        for bone in o.data.edit_bones:
            bone.use_connect = False  # A connected bone does not move in its parent, whatever its keys say.
        bpy.ops.object.mode_set(mode="OBJECT")
    for image in list(bpy.data.images):
        path = Path(bpy.path.abspath(image.filepath)).resolve()
        if not image.packed_file and not path.is_relative_to(source.parent):
            bpy.data.images.remove(image)


def _write_fbx(out: Path, is_one_file: bool) -> None:
    _move_into_fbx_world()
    bpy.ops.export_scene.fbx(
        filepath=str(out),
        object_types={"ARMATURE", "MESH", "CAMERA", "EMPTY"},
        add_leaf_bones=False,
        bake_anim_simplify_factor=0,
        bake_anim_use_nla_strips=False,
        bake_anim_use_all_actions=len(bpy.data.actions) > 1 and is_one_file,
        path_mode="COPY",
        embed_textures=True,
    )


def _move_into_fbx_world() -> None:
    """Give skeletons and skins the coordinates of the FBX world, so that no object above them turns or scales."""
    moved = [o for o in bpy.data.objects if o.type == "ARMATURE"]
    moved += [o for o in bpy.data.objects if o.type == "MESH" and o.find_armature()]
    worlds = {o: o.matrix_world.copy() for o in bpy.data.objects}
    scales: dict[str, float] = {}
    for o in moved:
        T = _FBX_WORLD @ worlds[o]
        if o.type == "ARMATURE":
            scales |= {bone.name: T.median_scale for bone in o.data.bones}
        if o.data.users > 1:
            o.data = o.data.copy()
        o.data.transform(T)
        worlds[o] = _FBX_WORLD.inverted()
    for curve in (curve for action in bpy.data.actions for curve in _curves(action)):
        bone, _, channel = curve.data_path.removeprefix('pose.bones["').rpartition('"].')
        if channel == "location":
            _scale_keys(curve, 1, scales.get(bone, 1.0))
    for o in sorted(bpy.data.objects, key=_depth):
        bpy.context.view_layer.update()
        o.matrix_world = worlds[o]


def _curves(action: Any) -> Iterator[Any]:
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                yield from bag.fcurves


def _scale_keys(curve: Any, axis: int, factor: float) -> None:
    """Scale the frames (axis 0) or the values (axis 1) of a curve's keys."""
    for key in curve.keyframe_points:
        for point in (key.co, key.handle_left, key.handle_right):
            point[axis] *= factor


def _depth(o: Any) -> int:
    return 0 if o.parent is None else 1 + _depth(o.parent)


if __name__ == "__main__":
    with contextlib.suppress(ValueError):  # Where less is allowed already.
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    written, rate, *read = sys.argv[sys.argv.index("--") + 1 :]
    convert(Path(written), float(rate), [Path(path) for path in read])
