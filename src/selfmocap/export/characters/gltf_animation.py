"""Write animations of a character into its glTF file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from selfmocap._version import __version__
from selfmocap.export.characters.animation import CharacterAnimation
from selfmocap.export.characters.character import Character, rotation_part
from selfmocap.export.characters.gltf import Gltf, local_transforms, write_glb_document
from selfmocap.geometry import lazy_roma as roma


def write_animated_gltf(
    path: Path, gltf: Gltf, animations: Mapping[str, CharacterAnimation], rest: Character
) -> None:
    """Write the character with its own animations and the new ones, by name, as a `.glb`.

    Nodes of the skeleton that stand outside the rest pose in the file are put into it, as nothing animates them."""
    nodes = [dict(node) for node in gltf.rows("nodes")]
    before = local_transforms(gltf)
    for index in np.flatnonzero(np.abs(before - rest.local).max((1, 2)) > 1e-6):
        nodes[index] = with_transform(nodes[index], rest.local[index])
    for animation in animations.values():
        for index in animation.rotations:  # Nodes with a matrix may not be animated.
            if "matrix" in nodes[index]:
                nodes[index] = with_transform(nodes[index], rest.local[index])
    data, rows = bytearray(gltf.data), {name: list(gltf.rows(name)) for name in ("accessors", "bufferViews")}
    added = [animation_row(name, animation, data, rows) for name, animation in animations.items()]
    document = gltf.document | rows | {
        "nodes": nodes,
        "animations": [*gltf.rows("animations"), *added],
        "buffers": [{"byteLength": len(data)}],
    }  # fmt: skip
    document["asset"] = dict(gltf.document["asset"]) | {"generator": f"selfmocap {__version__}"}
    write_glb_document(path, document, bytes(data))


def with_transform(node: dict[str, Any], T: Float[ndarray, "4 4"]) -> dict[str, Any]:
    """Return a node with its transform as translation, rotation and scale."""
    kept = {
        name: value
        for name, value in node.items()
        if name not in ("matrix", "rotation", "translation", "scale")
    }
    return kept | {
        "translation": T[:3, 3].tolist(),
        "rotation": _quaternion(rotation_part(T)),
        "scale": np.linalg.norm(T[:3, :3], axis=0).tolist(),
    }


def _quaternion(R: Float[ndarray, "3 3"]) -> list[float]:
    return roma.rotmat_to_unitquat(torch.from_numpy(R)).tolist()


def animation_row(
    name: str, animation: CharacterAnimation, data: bytearray, rows: dict[str, list[dict[str, Any]]]
) -> dict[str, Any]:
    time = _accessor(animation.times.astype(np.float32), data, rows)
    tracks = [(node, "rotation", values) for node, values in animation.rotations.items()]
    tracks += [(animation.root, "translation", animation.root_positions)]
    samplers, channels = [], []
    for node, path, values in tracks:
        output = _accessor(values.astype(np.float32), data, rows)
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": path}})
        samplers.append({"input": time, "output": output, "interpolation": "LINEAR"})
    return {"name": name, "samplers": samplers, "channels": channels}


def _accessor(values: np.ndarray, data: bytearray, rows: dict[str, list[dict[str, Any]]]) -> int:
    """Append (n,) or (n, width) float32 numbers to the data and return the index of their accessor."""
    flat = values.reshape(len(values), -1)
    data += bytes(-len(data) % 4)
    rows["bufferViews"].append({"buffer": 0, "byteOffset": len(data), "byteLength": flat.nbytes})
    data += flat.tobytes()
    kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[flat.shape[1]]
    accessor = {
        "bufferView": len(rows["bufferViews"]) - 1,
        "componentType": 5126,
        "count": len(flat),
        "type": kind,
    }
    bounds = {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()}
    rows["accessors"].append(accessor | bounds)
    return len(rows["accessors"]) - 1
