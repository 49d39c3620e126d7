"""Write glTF 2.0 in one binary file (`.glb`): a skinned mesh of the person's shape with its animation."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from selfmocap._version import __version__
from selfmocap.body_model.body import Body
from selfmocap.export.animated_skeleton import AnimatedSkeleton, animated_skeleton
from selfmocap.export.camera_track import CameraTrack, camera_of_segment
from selfmocap.export.characters.gltf import write_glb_document
from selfmocap.export.options import ExportOptions
from selfmocap.export.segments import Segment
from selfmocap.export.skin import SkinnedMesh, skinned_mesh
from selfmocap.geometry import lazy_roma as roma
from selfmocap.geometry.rotations import continuous_quaternions

_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_COMPONENTS = {"float32": 5126, "uint32": 5125, "uint8": 5121}
_ARRAY_BUFFER, _ELEMENT_BUFFER = 34962, 34963
_MATERIAL = {
    "name": "skin",
    "pbrMetallicRoughness": {
        "baseColorFactor": [0.7, 0.62, 0.56, 1.0],
        "metallicFactor": 0.0,
        "roughnessFactor": 0.8,
    },
}


@dataclass
class _Buffer:
    """The binary chunk, and the tables of its contents."""

    data: bytearray = field(default_factory=bytearray)
    views: list[dict[str, Any]] = field(default_factory=list)
    accessors: list[dict[str, Any]] = field(default_factory=list)

    def add(self, array: np.ndarray, target: int | None = None) -> int:
        """Append (n,) or (n, width) numbers and return the index of their accessor."""
        array = np.ascontiguousarray(array)
        flat = array.reshape(len(array), -1)
        view = {"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes}
        self.views.append(view if target is None else view | {"target": target})
        self.data += array.tobytes() + bytes(-array.nbytes % 4)
        self.accessors.append(
            {
                "bufferView": len(self.views) - 1,
                "componentType": _COMPONENTS[array.dtype.name],
                "count": len(flat),
                "type": _TYPES[flat.shape[1]],
                "min": flat.min(0).tolist(),
                "max": flat.max(0).tolist(),
            }
        )
        return len(self.accessors) - 1


@dataclass
class _Content:
    """What a file holds so far."""

    buffer: _Buffer = field(default_factory=_Buffer)
    nodes: list[dict[str, Any]] = field(default_factory=list)
    meshes: list[dict[str, Any]] = field(default_factory=list)
    skins: list[dict[str, Any]] = field(default_factory=list)
    top: list[int] = field(default_factory=list)
    """Nodes without a parent."""
    samplers: list[dict[str, Any]] = field(default_factory=list)
    channels: list[dict[str, Any]] = field(default_factory=list)

    def add_track(self, node: int, path: str, time: int, values: np.ndarray) -> None:
        """Animate a node; `time` is the accessor of the key times."""
        output = self.buffer.add(values.astype(np.float32))
        self.channels.append({"sampler": len(self.samplers), "target": {"node": node, "path": path}})
        self.samplers.append({"input": time, "output": output, "interpolation": "LINEAR"})


def write_glb(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment with the times of its frames on the video's clock; metres, y up, as the format requires. A camera
    that moves is animated too, unless an option moves the person in the world."""
    write_glb_scene(
        path, {"": segment}, body, options, camera_of_segment(segment) if options.rig.keeps_world else None
    )


def write_glb_scene(
    path: Path, people: Mapping[str, Segment], body: Body, options: ExportOptions, camera: CameraTrack | None
) -> None:
    """Write all people, and the camera, with one animation on the video's clock.

    Names of joints begin with the name of their person and `_`, unless it is empty."""
    content = _Content()
    for person, segment in people.items():
        in_metres = replace(options, up_axis="y", unit="m")
        _add_person(content, person, animated_skeleton(segment, body, in_metres, unit="m"), body)
    cameras = [] if camera is None else [_add_camera(content, camera)]
    document = {
        "asset": {"version": "2.0", "generator": f"selfmocap {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": content.top}],
        "nodes": content.nodes,
        "materials": [_MATERIAL],
        "meshes": content.meshes,
        "skins": content.skins,
        "animations": [{"name": "motion", "samplers": content.samplers, "channels": content.channels}],
        "accessors": content.buffer.accessors,
        "bufferViews": content.buffer.views,
        "buffers": [{"byteLength": len(content.buffer.data)}],
    }
    document |= {"cameras": cameras} if cameras else {}
    write_glb_document(path, document, bytes(content.buffer.data))


def _add_person(content: _Content, person: str, skeleton: AnimatedSkeleton, body: Body) -> None:
    prefix, first, buffer = f"{person}_" if person else "", len(content.nodes), content.buffer
    R, p = skeleton.rest_transforms()
    turns = roma.rotmat_to_unitquat(torch.from_numpy(R)).tolist()
    for joint, name in enumerate(skeleton.names):
        children = [first + child for child, parent in enumerate(skeleton.parents) if parent == joint]
        node = {"name": prefix + name, "translation": p[joint].tolist(), "rotation": turns[joint]}
        content.nodes.append(node | ({"children": children} if children else {}))
    mesh = {"mesh": len(content.meshes), "skin": len(content.skins)}
    content.nodes.append({"name": person or "body", **mesh})
    content.top += [first, len(content.nodes) - 1]
    skin = skinned_mesh(skeleton.vertices, skeleton.weights, body.faces.numpy())
    content.meshes.append({"name": person or "body", "primitives": [_primitive(skin, buffer)]})
    content.skins.append(_skin(skeleton, first, buffer))
    time = buffer.add(skeleton.times.astype(np.float32))
    for joint, positions in skeleton.positions.items():
        content.add_track(first + joint, "translation", time, positions)
    quaternions = continuous_quaternions(torch.from_numpy(skeleton.R_parent_joint)).numpy()
    for joint in range(len(skeleton.names)):
        content.add_track(first + joint, "rotation", time, quaternions[:, joint])


def _add_camera(content: _Content, camera: CameraTrack) -> dict[str, Any]:
    """Add the camera's node, animated if it moves, and return the entry of its lens."""
    node = {"name": "camera", "camera": 0, "translation": camera.p_world[0].tolist()}
    quaternions = continuous_quaternions(torch.from_numpy(camera.R_world_camera)).numpy()
    content.top.append(len(content.nodes))
    content.nodes.append(node | {"rotation": quaternions[0].tolist()})
    if camera.moves:
        time = content.buffer.add(camera.times.astype(np.float32))
        content.add_track(content.top[-1], "translation", time, camera.p_world)
        content.add_track(content.top[-1], "rotation", time, quaternions)
    lens = {"yfov": camera.yfov, "aspectRatio": camera.aspect, "znear": 0.01}
    return {"name": "camera", "type": "perspective", "perspective": lens}


def _primitive(mesh: SkinnedMesh, buffer: _Buffer) -> dict[str, Any]:
    attributes = {
        "POSITION": buffer.add(mesh.vertices, _ARRAY_BUFFER),
        "NORMAL": buffer.add(mesh.normals, _ARRAY_BUFFER),
        "JOINTS_0": buffer.add(mesh.joints.astype(np.uint8), _ARRAY_BUFFER),
        "WEIGHTS_0": buffer.add(mesh.weights, _ARRAY_BUFFER),
    }
    indices = buffer.add(mesh.faces.astype(np.uint32).ravel(), _ELEMENT_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": 0}


def _skin(skeleton: AnimatedSkeleton, first: int, buffer: _Buffer) -> dict[str, Any]:
    """Add the inverse rest transform of each joint, column by column."""
    R, p = skeleton.R_world_rest, skeleton.p_world_rest
    inverse = np.tile(np.eye(4), (len(R), 1, 1))
    inverse[:, :3, :3] = R  # Its transpose, written by columns.
    inverse[:, 3, :3] = -np.einsum("jba,jb->ja", R, p)
    matrices = buffer.add(inverse.astype(np.float32).reshape(-1, 16))
    return {"joints": list(range(first, first + len(R))), "skeleton": first, "inverseBindMatrices": matrices}
