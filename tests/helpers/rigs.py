"""Rigged characters of boxes in the manner of several programs, written as GLB files without a library."""

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

HUMAN = {
    "pelvis": ("", (0, 0.95, 0)),
    "spine1": ("pelvis", (0, 1.06, 0)),
    "spine2": ("spine1", (0, 1.18, -0.01)),
    "spine3": ("spine2", (0, 1.30, -0.01)),
    "neck": ("spine3", (0, 1.47, -0.01)),
    "head": ("neck", (0, 1.56, 0.01)),
    "left_collar": ("spine3", (0.03, 1.42, 0)),
    "left_shoulder": ("left_collar", (0.17, 1.42, -0.02)),
    "left_elbow": ("left_shoulder", (0.45, 1.42, -0.02)),
    "left_wrist": ("left_elbow", (0.70, 1.42, -0.02)),
    "left_hand": ("left_wrist", (0.79, 1.42, -0.02)),
    "left_hip": ("pelvis", (0.10, 0.91, 0)),
    "left_knee": ("left_hip", (0.10, 0.50, 0.01)),
    "left_ankle": ("left_knee", (0.10, 0.09, -0.02)),
    "left_foot": ("left_ankle", (0.11, 0.025, 0.12)),
}
"""Parent and position (m) of the joints in a T-pose, x left and z forward; the right side mirrors the left."""


@dataclass
class Rig:
    """A skeleton in its rest pose: names, parents, positions and axes in the world."""

    names: list[str] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    positions: list[np.ndarray] = field(default_factory=list)
    axes: list[np.ndarray] = field(default_factory=list)
    joint_of: dict[str, int] = field(default_factory=dict)
    """The node of each joint of HUMAN."""
    above: np.ndarray = field(default_factory=lambda: np.eye(4))
    """Transform of the node above the skeleton."""
    vrm: bool = False
    foot_length: float = 0.27

    def add(self, name: str, parent: str | int, position: Any, axes: Any = None, joint: str = "") -> int:
        self.names.append(name)
        self.parents.append(self.names.index(parent) if isinstance(parent, str) and parent else -1)
        self.positions.append(np.array(position, float))
        self.axes.append(np.eye(3) if axes is None else np.array(axes))
        if joint:
            self.joint_of[joint] = len(self.names) - 1
        return len(self.names) - 1


def human(
    arms_deg: float = 0.0, elbows_deg: float = 0.0, legs: float = 1.0, heads: float = 1.0
) -> dict[str, Any]:
    """Joints of HUMAN and their mirror images with lowered arms, bent elbows and shorter legs."""
    joints = {}
    for name, (parent, p) in HUMAN.items():
        p = np.array(p, float)
        if name.removeprefix("left_") in ("elbow", "wrist", "hand"):
            shoulder = np.array(HUMAN["left_shoulder"][1])
            elbow = np.array(HUMAN["left_elbow"][1])
            if name != "left_elbow":
                p = elbow + Rotation.from_euler("y", -elbows_deg, degrees=True).apply(p - elbow)
            p = shoulder + Rotation.from_euler("z", -arms_deg, degrees=True).apply(p - shoulder)
        if name.removeprefix("left_") in ("hip", "knee"):
            p[1] = 0.09 + (p[1] - 0.09) * legs
        elif p[1] > 0.5:
            p[1] -= (0.91 - 0.09) * (1 - legs)
        joints[name] = (parent, p)
        if name.startswith("left_"):
            mirrored = parent.replace("left_", "right_")
            joints[name.replace("left_", "right_")] = (mirrored, p * [-1, 1, 1])
    return joints


def bone_axes(joints: dict[str, Any], name: str, along: str) -> np.ndarray:
    """Axes with one axis (`x`, `-x`, `y`) along the bone to the first child."""
    child = next((n for n, (parent, _) in joints.items() if parent == name), None)
    d = joints[child][1] - joints[name][1] if child else joints[name][1] - joints[joints[name][0]][1]
    d = d / np.linalg.norm(d)
    hint = np.array([0, 0, 1.0]) if abs(d[2]) < 0.8 else np.array([0, 1.0, 0])
    side = np.cross(hint, d) / np.linalg.norm(np.cross(hint, d))
    other = np.cross(side, d)
    if along == "y":
        return (
            np.stack([-side, d, -other], axis=1)
            if np.linalg.det(np.stack([-side, d, -other], 1)) > 0
            else np.stack([side, d, -other], axis=1)
        )
    sign = -1.0 if along == "-x" else 1.0
    return np.stack([sign * d, side, np.cross(sign * d, side)], axis=1)


def mixamo_rig() -> Rig:
    """Mixamo's names with the prefix, an A pose, y along the bones; in cm below a node that scales and turns."""
    part = {
        "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
        "collar": "Shoulder", "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hand": "HandMiddle1",
        "hip": "UpLeg", "knee": "Leg", "ankle": "Foot", "foot": "ToeBase",
    }  # fmt: skip
    joints, rig = human(arms_deg=42), Rig()
    rig.above[:3, :3] = 0.01 * Rotation.from_euler("x", -90, degrees=True).as_matrix()

    def label(name: str) -> str:
        side, _, kind = name.rpartition("_")
        return f"mixamorig:{side.capitalize()}{part[kind]}"

    for name, (parent, p) in joints.items():
        rig.add(label(name), label(parent) if parent else "", p, bone_axes(joints, name, "y"), name)
    return rig


def vrm_rig() -> Rig:
    """A VRM 1.0: a T-pose, axes of the world, names that mean nothing, fingers, a humanoid that names the bones."""
    joints, rig = human(), Rig(vrm=True)
    number = {name: f"bone_{k:02d}" for k, name in enumerate(joints)}
    for name, (parent, p) in joints.items():
        rig.add(number[name], number.get(parent, ""), p, None, name)
    for side, sign in (("left", 1), ("right", -1)):
        wrist = joints[f"{side}_wrist"][1]
        rig.add(f"{side}_thumb", number[f"{side}_wrist"], wrist + [sign * 0.03, 0, 0.03])
    return rig


def unreal_rig() -> Rig:
    """Unreal's names with a root and twist bones, an A pose with bent elbows, x along the bones, backwards at right."""
    part = {
        "pelvis": "pelvis", "spine1": "spine_01", "spine2": "spine_02", "spine3": "spine_03", "neck": "neck_01",
        "head": "head", "collar": "clavicle", "shoulder": "upperarm", "elbow": "lowerarm", "wrist": "hand",
        "hand": "middle_01", "hip": "thigh", "knee": "calf", "ankle": "foot", "foot": "ball",
    }  # fmt: skip
    joints, rig = human(arms_deg=50, elbows_deg=25), Rig()
    rig.add("root", "", (0, 0, 0))
    label = lambda n: part[n.split("_")[-1]] + (f"_{n[0]}" if "_" in n else "")  # noqa: E731
    for name, (parent, p) in joints.items():
        along = "-x" if name.startswith("right") or name == "left_hip" else "x"
        rig.add(label(name), label(parent) if parent else "root", p, bone_axes(joints, name, along), name)
    for bone, child, fraction in (("shoulder", "elbow", 0.02), ("elbow", "wrist", 0.5), ("hip", "knee", 0.5)):
        for side in ("left", "right"):
            a, b = joints[f"{side}_{bone}"][1], joints[f"{side}_{child}"][1]
            name = f"{part[bone]}_twist_01_{side[0]}"
            axes = rig.axes[rig.joint_of[f"{side}_{bone}"]]
            rig.add(name, label(f"{side}_{bone}"), a + fraction * (b - a), axes)
    return rig


def makehuman_rig() -> Rig:
    """MakeHuman's names: five spine bones counted downwards, limbs of two segments, arbitrary axes, an A pose."""
    joints, rig = human(arms_deg=35), Rig()
    random = np.random.default_rng(3)
    axes = lambda: Rotation.random(rng=random).as_matrix()  # noqa: E731

    def middle(a: str, b: str, t: float) -> np.ndarray:
        return joints[a][1] * (1 - t) + joints[b][1] * t

    rig.add("root", "", joints["pelvis"][1], axes(), "pelvis")
    above = "root"
    for k, t in enumerate((0.15, 0.35, 0.55, 0.75, 1.0)):
        rig.add(f"spine0{5 - k}", above, middle("pelvis", "spine3", t), axes(), "spine3" if k == 4 else "")
        above = f"spine0{5 - k}"
    for k, t in enumerate((0.0, 0.4, 0.7)):
        rig.add(f"neck0{k + 1}", above, middle("neck", "head", t), axes(), "neck" if k == 0 else "")
        above = f"neck0{k + 1}"
    rig.add("head", above, joints["head"][1], axes(), "head")
    for side in ("left", "right"):
        s = f".{side[0].upper()}"
        rig.add(f"clavicle{s}", "spine01", joints[f"{side}_collar"][1], axes(), f"{side}_collar")
        rig.add(f"shoulder01{s}", f"clavicle{s}", middle(f"{side}_collar", f"{side}_shoulder", 0.7), axes())
        rig.add(f"pelvis{s}", "root", middle("pelvis", f"{side}_hip", 0.5), axes())
        for first, bones in (
            ("shoulder01", ("upperarm", "lowerarm", "wrist")),
            ("pelvis", ("upperleg", "lowerleg", "foot")),
        ):
            parts = ("shoulder", "elbow", "wrist") if bones[0] == "upperarm" else ("hip", "knee", "ankle")
            above = f"{first}{s}"
            for k, (bone, part_name) in enumerate(zip(bones, parts, strict=True)):
                label = f"{bone}01{s}" if k < 2 else f"{bone}{s}"
                rig.add(label, above, joints[f"{side}_{part_name}"][1], axes(), f"{side}_{part_name}")
                above = label
                if k < 2:
                    half = middle(f"{side}_{part_name}", f"{side}_{parts[k + 1]}", 0.5)
                    above = f"{bone}02{s}"
                    rig.add(above, label, half, axes())
        rig.add(f"toe1-1{s}", f"foot{s}", joints[f"{side}_foot"][1], axes(), f"{side}_foot")
        rig.add(f"finger3-1{s}", f"wrist{s}", joints[f"{side}_hand"][1], axes(), f"{side}_hand")
    return rig


def cartoon_rig() -> Rig:
    """A stocky figure with half as long legs and large feet that faces -z, with Rigify's names and one spine bone."""
    part = {
        "pelvis": "spine", "spine3": "spine.001", "neck": "spine.004", "head": "head", "collar": "shoulder",
        "shoulder": "upper_arm", "elbow": "forearm", "wrist": "hand", "hip": "thigh", "knee": "shin",
        "ankle": "foot", "foot": "toe",
    }  # fmt: skip
    joints, rig = human(arms_deg=10, legs=0.5), Rig(foot_length=0.38)
    joints = {n: ("pelvis" if n == "spine3" else p, q * [-1, 1, -1]) for n, (p, q) in joints.items()}
    label = lambda n: "DEF-" + part[n.split("_")[-1]] + (f".{n[0].upper()}" if "_" in n else "")  # noqa: E731
    for name, (parent, p) in joints.items():
        if name.split("_")[-1] in part:
            rig.add(label(name), label(parent) if parent else "", p, bone_axes(joints, name, "y"), name)
    return rig


RIGS = {
    "mixamo": mixamo_rig, "vrm": vrm_rig, "unreal": unreal_rig, "makehuman": makehuman_rig, "cartoon": cartoon_rig,
}  # fmt: skip


def boxes(rig: Rig) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return vertices in the world, triangles, and the node of each vertex: a box along each bone of HUMAN."""
    vertices, faces, owners = [], [], []
    forward = np.array([0, 0, 1.0])
    left = rig.positions[rig.joint_of["left_hip"]] - rig.positions[rig.joint_of["right_hip"]]
    forward = np.cross(left / np.linalg.norm(left), [0, 1.0, 0])
    for joint, node in rig.joint_of.items():
        start = rig.positions[node]
        kind = joint.split("_")[-1]
        if kind in ("ankle", "foot"):
            first, last = (-0.25, 0.5) if kind == "ankle" else (0.0, 0.5)
            length, width = rig.foot_length, 0.09
            corners = [
                start * [1, h, 1] + forward * t * length + left / np.linalg.norm(left) * s * width / 2
                for t in (first, last) for s in (-1, 1) for h in (0, 1)
            ]  # fmt: skip
        else:
            children = [n for n, p in enumerate(rig.parents) if p == node and n in rig.joint_of.values()]
            end = rig.positions[children[0]] if children else start + [0, 0.2 if kind == "head" else 0.02, 0]
            d = (end - start) / max(np.linalg.norm(end - start), 1e-9)
            u = np.cross(d, [0.3, 0.2, 1.0])
            u /= np.linalg.norm(u)
            v, r = np.cross(d, u), 0.10 if kind.startswith(("spine", "pelvis", "head")) else 0.045
            corners = [p + r * (a * u + b * v) for p in (start, end) for a in (-1, 1) for b in (-1, 1)]
        base = len(vertices)
        vertices += corners
        owners += [node] * 8
        quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        faces += [[base + q for q in t] for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    return np.array(vertices), np.array(faces), np.array(owners)


def write_rig(rig: Rig, path: Path, document_changes: dict[str, Any] | None = None) -> Path:
    """Write the rig as a GLB with its mesh, a skin, and an animation `idle` of its own."""
    world = np.tile(np.eye(4), (len(rig.names), 1, 1))
    world[:, :3, :3], world[:, :3, 3] = rig.axes, rig.positions
    scale = np.linalg.norm(rig.above[:3, 0])
    inner = world.copy()  # In the frame of the node above, whose scale the bones do not carry.
    inner[:, :3, :3] = rig.above[:3, :3].T / scale @ world[:, :3, :3]
    inner[:, :3, 3] = (world[:, :3, 3] - rig.above[:3, 3]) @ np.linalg.inv(rig.above[:3, :3]).T
    local = [np.linalg.inv(inner[p]) @ T if p >= 0 else T for p, T in zip(rig.parents, inner, strict=True)]
    nodes: list[dict[str, Any]] = []
    for index, (name, T) in enumerate(zip(rig.names, local, strict=True)):
        node = {
            "name": name,
            "translation": T[:3, 3].tolist(),
            "rotation": Rotation.from_matrix(T[:3, :3]).as_quat().tolist(),
        }
        children = [child for child, parent in enumerate(rig.parents) if parent == index]
        nodes.append(node | ({"children": children} if children else {}))
    count = len(nodes)
    armature = {"name": "Armature", "children": [n for n, p in enumerate(rig.parents) if p < 0]}
    armature |= {
        "rotation": Rotation.from_matrix(rig.above[:3, :3] / scale).as_quat().tolist(),
        "scale": [scale] * 3,
    }
    nodes += [armature, {"name": "mesh", "mesh": 0, "skin": 0}]
    vertices, faces, owners = boxes(rig)
    skinned = sorted(n for n in range(count) if rig.names[n] != "root" or n in rig.joint_of.values())
    bound = rig.above @ inner
    inverse = np.linalg.inv(bound[skinned]).transpose(0, 2, 1).reshape(-1, 16)
    joints = np.zeros((len(vertices), 4), np.uint8)
    joints[:, 0] = np.searchsorted(skinned, owners)
    weights = np.zeros((len(vertices), 4), np.float32)
    weights[:, 0] = 1
    data, views, accessors = bytearray(), [], []

    def add(array: np.ndarray, kind: str, code: int, target: int | None = None) -> int:
        array = np.ascontiguousarray(array)
        view = {"buffer": 0, "byteOffset": len(data), "byteLength": array.nbytes}
        views.append(view | ({"target": target} if target else {}))
        data.extend(array.tobytes() + bytes(-array.nbytes % 4))
        bounds = {"min": np.atleast_1d(array.min(0)).tolist(), "max": np.atleast_1d(array.max(0)).tolist()}
        accessors.append(
            {"bufferView": len(views) - 1, "componentType": code, "count": len(array), "type": kind} | bounds
        )
        return len(accessors) - 1

    document: dict[str, Any] = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [count, count + 1]}],
        "nodes": nodes,
        "meshes": [{"primitives": [{
            "attributes": {
                "POSITION": add(vertices.astype(np.float32), "VEC3", 5126, 34962),
                "JOINTS_0": add(joints, "VEC4", 5121, 34962),
                "WEIGHTS_0": add(weights, "VEC4", 5126, 34962),
            },
            "indices": add(faces.astype(np.uint32).ravel(), "SCALAR", 5125, 34963),
        }]}],
        "skins": [{"joints": skinned, "inverseBindMatrices": add(inverse.astype(np.float32), "MAT4", 5126)}],
    }  # fmt: skip
    head = rig.joint_of["head"]
    still = np.tile(np.array(nodes[head]["rotation"], np.float32), (2, 1))
    document["animations"] = [{
        "name": "idle",
        "channels": [{"sampler": 0, "target": {"node": head, "path": "rotation"}}],
        "samplers": [{"input": add(np.array([0, 1], np.float32), "SCALAR", 5126), "output": add(still, "VEC4", 5126)}],
    }]  # fmt: skip
    document |= {"accessors": accessors, "bufferViews": views, "buffers": [{"byteLength": len(data)}]}
    if rig.vrm:
        document |= {"extensionsUsed": ["VRMC_vrm"], "extensions": {"VRMC_vrm": {
            "specVersion": "1.0", "meta": {"name": "boxes", "authors": ["tests"], "licenseUrl": "https://vrm.dev/licenses/1.0/"},
            "humanoid": {"humanBones": {bone: {"node": rig.joint_of[joint]} for joint, bone in vrm_bones().items()}},
        }}}  # fmt: skip
    document |= document_changes or {}
    write_glb(path, document, bytes(data))
    return path


def vrm_bones() -> dict[str, str]:
    """VRM's name of each joint of HUMAN."""
    part = {
        "collar": "Shoulder", "shoulder": "UpperArm", "elbow": "LowerArm", "wrist": "Hand", "hip": "UpperLeg",
        "knee": "LowerLeg", "ankle": "Foot", "foot": "Toes", "hand": "MiddleProximal",
    }  # fmt: skip
    names = {
        "pelvis": "hips",
        "spine1": "spine",
        "spine2": "chest",
        "spine3": "upperChest",
        "neck": "neck",
        "head": "head",
    }
    return names | {f"{side}_{p}": f"{side}{bone}" for side in ("left", "right") for p, bone in part.items()}


def write_glb(path: Path, document: dict[str, Any], data: bytes) -> None:
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    data += bytes(-len(data) % 4)
    body = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(data), b"BIN\0") + data
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(body)) + body)
