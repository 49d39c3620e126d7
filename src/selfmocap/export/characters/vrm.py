"""The humanoid of VRM files (0.x and 1.0), and VRM animations."""

from pathlib import Path

from selfmocap._version import __version__
from selfmocap.body_model.skeleton import FINGERS, HAND_SIDES
from selfmocap.export.characters.animation import CharacterAnimation
from selfmocap.export.characters.character import Character
from selfmocap.export.characters.gltf import Gltf, write_glb_document
from selfmocap.export.characters.gltf_animation import animation_row, with_transform

_VRM_PARTS = {
    "UpperLeg": "hip", "LowerLeg": "knee", "Foot": "ankle", "Toes": "foot", "Shoulder": "collar",
    "UpperArm": "shoulder", "LowerArm": "elbow", "Hand": "wrist",
}  # fmt: skip
VRM_JOINTS = {"hips": "pelvis", "head": "head"} | {
    f"{side}{bone}": f"{side}_{part}" for side in HAND_SIDES for bone, part in _VRM_PARTS.items()
}
"""The body's joint of each bone of VRM's humanoid, but for the fingers."""
_VRM_FINGERS = {
    f"{side}{'Little' if finger == 'pinky' else finger.capitalize()}{part}": f"{side}_{finger}{number}"
    for side in HAND_SIDES
    for finger in FINGERS
    for number, part in enumerate(("Proximal", "Intermediate", "Distal"), 1)
}
_VRM_1_THUMBS = {
    f"{side}Thumb{part}": f"{side}_thumb{number}"
    for side in HAND_SIDES
    for number, part in enumerate(("Metacarpal", "Proximal", "Distal"), 1)
}
"""In VRM 0.x the bones of thumbs are named as those of the other fingers."""


def write_vrma(path: Path, gltf: Gltf, animation: CharacterAnimation, character: Character) -> None:
    """Write a VRM animation (`.vrma`, VRMC_vrm_animation 1.0): the bones of the humanoid without a mesh.

    Raises ValueError if the file is no VRM."""
    humanoid = _human_bones(gltf, len(character.names))
    if not humanoid:
        raise ValueError(f"{gltf.path}: expected a VRM, found none; write a .glb instead of a .vrma")
    nodes = []
    for index, name in enumerate(character.names):
        children = [child for child, parent in enumerate(character.parents) if parent == index]
        node = with_transform({"name": name}, character.local[index])
        nodes.append(node | ({"children": children} if children else {}))
    data, rows = bytearray(), {"accessors": [], "bufferViews": []}
    extension = {
        "specVersion": "1.0",
        "humanoid": {"humanBones": {bone: {"node": node} for bone, node in humanoid.items()}},
    }
    document = {
        "asset": {"version": "2.0", "generator": f"selfmocap {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [node for node, parent in enumerate(character.parents) if parent < 0]}],
        "nodes": nodes,
        "animations": [animation_row("motion", animation, data, rows)],
        **rows,
        "buffers": [{"byteLength": len(data)}],
        "extensionsUsed": ["VRMC_vrm_animation"],
        "extensions": {"VRMC_vrm_animation": extension},
    }
    write_glb_document(path, document, bytes(data))


def _human_bones(gltf: Gltf, count: int) -> dict[str, int]:
    """Return the node of each bone of VRM's humanoid (1.0: an object; 0.x: a list)."""
    extensions = gltf.document.get("extensions", {})
    humanoid = (extensions.get("VRMC_vrm") or extensions.get("VRM") or {}).get("humanoid", {})
    rows = humanoid.get("humanBones", {})
    pairs = (
        [(bone, row.get("node")) for bone, row in rows.items()]
        if isinstance(rows, dict)
        else [(row.get("bone"), row.get("node")) for row in rows]
    )
    for bone, node in pairs:
        if not isinstance(node, int) or not 0 <= node < count:
            raise ValueError(f"{gltf.path}: the bone {bone!r} of the humanoid is node {node!r} of {count}")
    return dict(pairs)


def vrm_joints(gltf: Gltf, count: int) -> dict[str, int]:
    """Return the node of each of the body's joints that the humanoid of a VRM names; none if the file is no VRM."""
    bones = _human_bones(gltf, count)
    thumbs = _VRM_1_THUMBS if _VRM_1_THUMBS.keys() & bones.keys() - _VRM_FINGERS.keys() else {}
    joints = VRM_JOINTS | _VRM_FINGERS | thumbs
    return {joints[bone]: node for bone, node in bones.items() if bone in joints}
