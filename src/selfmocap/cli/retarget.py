"""The command `retarget`."""

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from selfmocap.cli.console import OUTPUT, bold


def retarget_command(
    motions: Annotated[Positional[tuple[Path, ...]], arg(metavar="MOTION")],
    onto: Path,
    out: Annotated[Path, arg(aliases=["-o"])],
    bone_map: Annotated[Path | None, arg(name="map")] = None,
) -> None:
    """Retarget motions onto a rigged character: its bones point where the body's do, its feet stand on the floor.

    Args:
        motions: Files motion.npz; each becomes an animation of the character.
        onto: The character: .glb, .gltf, .vrm, .fbx or .bvh.
        out: File to write: .glb, .vrm, .vrma (VRM animation) or .fbx for a glTF or VRM, .fbx or .glb for an FBX, .bvh
            for a BVH.
        bone_map: JSON file of bone names by joint, {"left_hip": "thigh.L"}, for bones that are not recognised.
    """
    from selfmocap.body_model.body import Body
    from selfmocap.body_model.motion import Motion
    from selfmocap.export.characters.write import read_bone_map, retarget_files
    from selfmocap.export.write import motion_names

    if not motions:
        raise ValueError("expected at least one motion.npz, found none")
    loaded = {name: Motion.load(path) for name, path in zip(motion_names(motions), motions, strict=True)}
    retarget_files(loaded, Body.load(), onto, out, read_bone_map(bone_map) if bone_map else None)
    OUTPUT.print(f"wrote {bold(out)}")
