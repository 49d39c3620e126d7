"""Write glTF 2.0 in one binary file (`.glb`): a skinned mesh of the person's shape with its animation."""

import json
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from selfmocap._version import __version__
from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT, JOINT_PARENTS
from selfmocap.export.camera import MovingView
from selfmocap.export.names import joint_children
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig import ExportRig, export_rig
from selfmocap.export.segments import Segment
from selfmocap.export.skin import SkinnedMesh, skinned_mesh
from selfmocap.geometry.rotations import continuous_quaternions
from selfmocap.io.atomic import atomic_write

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
_ROOT, _BODY, _CAMERA = JOINT["pelvis"], len(JOINT_PARENTS), len(JOINT_PARENTS) + 1
"""Nodes; the others are the joints."""
_NEAR = 0.01
"""Metres. Nothing nearer to the camera is drawn."""


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


def write_glb(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment with the times of its frames, from 0; metres, y up, as the format requires. A camera that moves
    is animated too."""
    skeleton = export_rig(segment, body, replace(options, up_axis="y", unit="m"), unit="m")
    buffer = _Buffer()
    document = {
        "asset": {"version": "2.0", "generator": f"selfmocap {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [_ROOT, _BODY, *([] if segment.view is None else [_CAMERA])]}],
        "nodes": [
            *_joint_nodes(skeleton),
            {"name": "body", "mesh": 0, "skin": 0},
            *_camera_nodes(segment.view),
        ],
        "materials": [_MATERIAL],
        "meshes": [{"name": "body", "primitives": [_primitive(skinned_mesh(skeleton, body), buffer)]}],
        "skins": [_skin(skeleton, buffer)],
        "animations": [_animation(skeleton, segment.view, buffer)],
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.data)}],
    }
    if segment.view is not None:
        document["cameras"] = [_perspective(segment.view)]
    _write(path, document, bytes(buffer.data))


def _joint_nodes(skeleton: ExportRig) -> list[dict[str, Any]]:
    nodes = []
    for joint, parent in enumerate(JOINT_PARENTS):
        parent_position = skeleton.rest_joints[parent] if parent >= 0 else 0
        node = {
            "name": skeleton.names[joint],
            "translation": (skeleton.rest_joints[joint] - parent_position).tolist(),
        }
        nodes.append(node | ({"children": children} if (children := joint_children(joint)) else {}))
    return nodes


def _primitive(mesh: SkinnedMesh, buffer: _Buffer) -> dict[str, Any]:
    attributes = {
        "POSITION": buffer.add(mesh.vertices, _ARRAY_BUFFER),
        "NORMAL": buffer.add(mesh.normals, _ARRAY_BUFFER),
        "JOINTS_0": buffer.add(mesh.joints.astype(np.uint8), _ARRAY_BUFFER),
        "WEIGHTS_0": buffer.add(mesh.weights, _ARRAY_BUFFER),
    }
    indices = buffer.add(mesh.faces.astype(np.uint32).ravel(), _ELEMENT_BUFFER)
    return {"attributes": attributes, "indices": indices, "material": 0}


def _skin(skeleton: ExportRig, buffer: _Buffer) -> dict[str, Any]:
    """Add the inverse rest transform of each joint, column by column: a translation, as all axes are the world's."""
    inverse = np.tile(np.eye(4, dtype=np.float32), (len(JOINT_PARENTS), 1, 1))
    inverse[:, 3, :3] = -skeleton.rest_joints.numpy()
    matrices = buffer.add(inverse.reshape(-1, 16))
    return {"joints": list(range(len(JOINT_PARENTS))), "skeleton": _ROOT, "inverseBindMatrices": matrices}


def _camera_nodes(view: MovingView | None) -> list[dict[str, Any]]:
    return [] if view is None else [{"name": "camera", "camera": 0}]


def _perspective(view: MovingView) -> dict[str, Any]:
    width, height = view.size[0] / view.focal[0], view.size[1] / view.focal[1]
    lens = {"aspectRatio": width / height, "yfov": view.vertical_angle, "znear": _NEAR}
    return {"type": "perspective", "name": "camera", "perspective": lens}


def _animation(skeleton: ExportRig, view: MovingView | None, buffer: _Buffer) -> dict[str, Any]:
    time = buffer.add(skeleton.times.numpy().astype(np.float32))
    quaternions = continuous_quaternions(skeleton.R_parent_joint).numpy().astype(np.float32)
    tracks = [(_ROOT, "translation", buffer.add(skeleton.p_world_root.numpy().astype(np.float32)))]
    tracks += [(joint, "rotation", buffer.add(quaternions[:, joint])) for joint in range(len(JOINT_PARENTS))]
    if view is not None:
        turned = continuous_quaternions(view.R_world_view).numpy().astype(np.float32)
        tracks.append((_CAMERA, "translation", buffer.add(view.p_world_view.numpy().astype(np.float32))))
        tracks.append((_CAMERA, "rotation", buffer.add(turned)))
    return {
        "name": "motion",
        "samplers": [{"input": time, "output": output, "interpolation": "LINEAR"} for *_, output in tracks],
        "channels": [
            {"sampler": number, "target": {"node": joint, "path": path}}
            for number, (joint, path, _) in enumerate(tracks)
        ],
    }


def _write(path: Path, document: dict[str, Any], data: bytes) -> None:
    text = json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(data)))
        for kind, chunk in ((b"JSON", text), (b"BIN\0", data)):
            file.write(struct.pack("<I4s", len(chunk), kind) + chunk)
