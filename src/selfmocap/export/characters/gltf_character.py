"""Read the character of a glTF or VRM file."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from selfmocap.export.characters.bones import Bones, named_nodes, recognise_bones
from selfmocap.export.characters.character import (
    Character,
    check_scales,
    nearest_axes,
    rotation_part,
    world_transforms,
)
from selfmocap.export.characters.gltf import Gltf, local_transforms, node_parents
from selfmocap.export.characters.soles import sole_points
from selfmocap.export.characters.vrm import vrm_joints

_SAME_POSE_DEG = 1.0


def gltf_character(gltf: Gltf, given: Mapping[str, str]) -> Character:
    """Return the character of a glTF file. `given` are names of nodes by joint, from the user.

    The skeleton is that of the skin with the most joints that has the bones of a person. The rest pose is the pose in
    which the mesh was bound. Raises ValueError for a file without a person's skeleton."""
    parents, names = node_parents(gltf), tuple(str(node.get("name", "")) for node in gltf.rows("nodes"))
    joints = vrm_joints(gltf, len(names)) | named_nodes(names, given)
    local, skins = local_transforms(gltf), _skins(gltf, len(names))
    bones, skin = _bones_of_a_skin(names, parents, joints, [nodes for nodes, _ in skins])
    used = sorted({*bones.joints.values(), *bones.spine, *bones.neck})
    check_scales([names[node] for node in used], world_transforms(parents, local)[used])
    if skin is not None:
        local = _bind_pose(parents, local, *skins[skin])
    world = world_transforms(parents, local)
    return Character(
        names, parents, local, bones, sole_points(parents, world, bones, _foot_vertices(gltf, skins))
    )


def _skins(gltf: Gltf, count: int) -> list[tuple[list[int], Float[ndarray, "_ 4 4"]]]:
    """Return the joints of each skin with the transforms from the mesh to them in the pose of binding."""
    skins = []
    for number, skin in enumerate(gltf.rows("skins")):
        joints = skin.get("joints", [])
        if not all(isinstance(node, int) and 0 <= node < count for node in joints) or not joints:
            raise ValueError(
                f"{gltf.path}: skin {number} has joints that are no nodes; export the file again"
            )
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        if "inverseBindMatrices" in skin:
            matrices = gltf.array(skin["inverseBindMatrices"])
            if matrices.shape[1] != 16 or len(matrices) < len(joints) or not np.isfinite(matrices).all():
                raise ValueError(
                    f"{gltf.path}: skin {number} lacks inverse bind matrices; export the file again"
                )
            inverse = matrices[: len(joints)].reshape(-1, 4, 4).transpose(0, 2, 1).astype(float)
        if (np.abs(np.linalg.det(inverse)) < 1e-12).any():
            raise ValueError(
                f"{gltf.path}: skin {number} has a bind matrix without an inverse; export the file again"
            )
        skins.append((joints, inverse))
    return skins


def _bones_of_a_skin(
    names: Sequence[str], parents: Sequence[int], given: Mapping[str, int], skins: Sequence[list[int]]
) -> tuple[Bones, int | None]:
    """Recognise the bones among the joints of the largest skin that has them, else among all nodes."""
    for number in sorted(range(len(skins)), key=lambda number: -len(skins[number])):
        inside = set(skins[number]) | set(given.values())
        shown = [name if node in inside else "" for node, name in enumerate(names)]
        try:
            return recognise_bones(shown, parents, given), number
        except ValueError:
            continue
    return recognise_bones(names, parents, given), None


def _bind_pose(
    parents: Sequence[int],
    local: Float[ndarray, "nodes 4 4"],
    joints: Sequence[int],
    inverse: Float[ndarray, "joints 4 4"],
) -> Float[ndarray, "nodes 4 4"]:
    """Return the transforms of all nodes in the pose in which the mesh was bound; equal ones stay exactly.

    The uppermost joints have no joint above to be bound to: their orientation is the one nearest to the file's in
    which the axes of the mesh are those of the world."""
    bind = dict(zip(joints, np.linalg.inv(inverse), strict=True))
    world, result = world_transforms(parents, local), local.copy()
    for node, B in bind.items():
        above = parents[node]
        if above in bind:
            result[node] = np.linalg.inv(bind[above]) @ B
        else:
            R_world_mesh = rotation_part(world[node]) @ rotation_part(B).T
            R_world = nearest_axes(R_world_mesh) @ rotation_part(B)
            R_above = rotation_part(world[above]) if above >= 0 else np.eye(3)
            scale = np.linalg.norm(local[node, :3, :3], axis=0)
            result[node, :3, :3] = R_above.T @ R_world * scale
    turned = np.einsum("nab,nab->n", rotation_part(local), rotation_part(result))
    same = np.degrees(np.arccos(np.clip((turned - 1) / 2, -1, 1))) < _SAME_POSE_DEG
    return np.where(same[:, None, None], local, result)


def _foot_vertices(
    gltf: Gltf, skins: Sequence[tuple[list[int], Float[ndarray, "_ 4 4"]]]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return the node that moves each vertex most, and the vertex in its frame, for each readable mesh part."""
    parts = []
    for node in gltf.rows("nodes"):
        if "skin" not in node or "mesh" not in node:
            continue
        gltf.row("skins", node["skin"])
        joints, inverse = skins[node["skin"]]
        for primitive in gltf.row("meshes", node["mesh"]).get("primitives", []):
            attributes = primitive.get("attributes", {})
            if not {"POSITION", "JOINTS_0", "WEIGHTS_0"} <= attributes.keys():
                continue
            p, j, w = (gltf.array(attributes[name]) for name in ("POSITION", "JOINTS_0", "WEIGHTS_0"))
            if not (len(p) == len(j) == len(w)) or p.shape[1] != 3 or j.max(initial=0) >= len(joints):
                raise ValueError(
                    f"{gltf.path}: the vertices of a skin do not fit its joints; export the file again"
                )
            strongest = j[np.arange(len(j)), w.argmax(1)].astype(int)
            T = inverse[strongest]
            parts.append(
                (np.array(joints)[strongest], np.einsum("vab,vb->va", T[:, :3, :3], p) + T[:, :3, 3])
            )
    return parts
