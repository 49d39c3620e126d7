"""Retarget motions onto the character of a file, and write the character animated."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import ALL_JOINT_NAMES
from selfmocap.export.blender import convert_with_blender
from selfmocap.export.characters.animation import CharacterAnimation
from selfmocap.export.characters.bvh_character import bvh_character, write_bvh_animation
from selfmocap.export.characters.character import Character
from selfmocap.export.characters.gltf import MAX_GLTF_BYTES, Gltf, read_gltf, refuse_malformed
from selfmocap.export.characters.gltf_animation import write_animated_gltf
from selfmocap.export.characters.gltf_character import gltf_character
from selfmocap.export.characters.retarget import retarget_onto
from selfmocap.export.characters.vrm import write_vrma
from selfmocap.export.segments import Segment, concat_segments, split_into_segments
from selfmocap.export.write import unused_name
from selfmocap.io.bvh_syntax import BvhText, parse_bvh
from selfmocap.io.files import existing_file, read_json_object

_GLTF_SUFFIXES = (".glb", ".gltf", ".vrm")
_OUTPUTS = {
    **dict.fromkeys(_GLTF_SUFFIXES, (".glb", ".vrm", ".vrma", ".fbx")), ".fbx": (".fbx", ".glb"), ".bvh": (".bvh",)
}  # fmt: skip
"""Suffixes of the files that may be written, by that of the character."""


def retarget_files(
    motions: Mapping[str, Motion],
    body: Body,
    onto: Path,
    out: Path,
    bone_map: Mapping[str, str] | None = None,
) -> None:
    """Retarget motions onto the character in the file `onto`, and write it to `out`.

    A glTF or VRM keeps its own animations and gets one per motion, by the names of `motions`, on the video's clock; a
    `.vrma` or a `.bvh` holds one motion. In a `.bvh` and an `.fbx` motions begin with their first frame, at a constant
    rate. Blender converts an FBX to GLB and back. `bone_map` are names of the character's bones by the body's joints.
    Raises ValueError that names the file and the remedy, FileNotFoundError, ImportError for `.fbx` without Blender."""
    suffix, target = _suffix(onto), out.suffix.lower()
    if target not in _OUTPUTS[suffix]:
        allowed = " or ".join(_OUTPUTS[suffix])
        raise ValueError(
            f"{out}: a character in {suffix} is written as {allowed}, found {target or 'no suffix'}"
        )
    if target in (".vrma", ".bvh") and len(motions) != 1:
        raise ValueError(
            f"{out}: {target} holds one motion, found {len(motions)}; retarget each to its own file"
        )
    segments = {name: _segment(motion, body) for name, motion in motions.items()}
    if suffix == ".bvh":
        text, character = _read_bvh(onto, bone_map)
        (segment,) = segments.values()
        write_bvh_animation(out, text, retarget_onto(segment.at_rate(), body, character), character)
        return
    gltf, character = _read_gltf(onto, bone_map)
    if target == ".fbx":
        segments = {name: _from_zero(segment.at_rate()) for name, segment in segments.items()}
    animations = {name: retarget_onto(segment, body, character) for name, segment in segments.items()}
    if target == ".vrma":
        (animation,) = animations.values()
        write_vrma(out, gltf, animation, character)
        return
    named = _distinct(animations, gltf.rows("animations"))
    if target != ".fbx":
        write_animated_gltf(out, gltf, named, character)
        return
    with TemporaryDirectory() as folder:
        animated = Path(folder) / "animated.glb"
        write_animated_gltf(animated, gltf, named, character)
        convert_with_blender([animated], out, max(animation.fps for animation in animations.values()))


def check_character(onto: Path) -> str:
    """Read a character, and return the suffix of the file that `retarget_files` may write of it: `.glb`, `.vrm`,
    `.fbx` or `.bvh`. Raises ValueError that names the file and the remedy, FileNotFoundError."""
    suffix = _suffix(onto)
    (_read_bvh if suffix == ".bvh" else _read_gltf)(onto, None)
    return ".glb" if suffix == ".gltf" else suffix


def _suffix(onto: Path) -> str:
    suffix = onto.suffix.lower()
    if suffix not in _OUTPUTS:
        raise ValueError(
            f"{onto}: expected a character in {', '.join(_OUTPUTS)}, found {suffix or 'no suffix'}"
        )
    return suffix


def _read_bvh(onto: Path, bone_map: Mapping[str, str] | None) -> tuple[BvhText, Character]:
    text = parse_bvh(onto)
    return text, bvh_character(onto, text, bone_map or {})


def _read_gltf(onto: Path, bone_map: Mapping[str, str] | None) -> tuple[Gltf, Character]:
    gltf = _read_fbx(onto) if onto.suffix.lower() == ".fbx" else read_gltf(onto)
    with refuse_malformed(onto):
        return gltf, gltf_character(gltf, bone_map or {})


def _read_fbx(onto: Path) -> Gltf:
    if existing_file(onto).stat().st_size > MAX_GLTF_BYTES:
        raise ValueError(
            f"{onto}: expected at most {MAX_GLTF_BYTES} bytes, found more; remove meshes or images"
        )
    with TemporaryDirectory() as folder:
        converted = Path(folder) / "character.glb"
        convert_with_blender([onto], converted)
        return replace(read_gltf(converted), path=onto)


def _from_zero(segment: Segment) -> Segment:
    return replace(segment, times=segment.times - segment.times[0])


def read_bone_map(path: Path) -> dict[str, str]:
    """Read a JSON object of bone names by the body's joints: `{"left_hip": "thigh.L"}`.

    Raises ValueError for other content, FileNotFoundError."""
    table = read_json_object(path)
    for joint, bone in table.items():
        if joint not in ALL_JOINT_NAMES or not isinstance(bone, str):
            raise ValueError(
                f"{path}: expected the name of a bone for a joint out of {', '.join(ALL_JOINT_NAMES)}; found "
                f"{joint!r}: {bone!r}"
            )
    return table


def _segment(motion: Motion, body: Body) -> Segment:
    if motion.body != body.identity:
        raise ValueError(
            f"expected a motion of the body {body.identity}, found one of {motion.body}; pass its body"
        )
    return concat_segments(split_into_segments(motion))


def _distinct(
    animations: Mapping[str, CharacterAnimation], present: Sequence[Mapping[str, Any]]
) -> dict[str, CharacterAnimation]:
    """Rename animations whose name the file has already."""
    names, renamed = [str(animation.get("name")) for animation in present], {}
    for name, animation in animations.items():
        names.append(unused_name(name, names))
        renamed[names[-1]] = animation
    return renamed
