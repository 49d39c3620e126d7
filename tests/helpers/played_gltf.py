"""Play an animation of a glTF file by the rules of the format, with pygltflib's records."""

from pathlib import Path

import numpy as np
import pygltflib
from scipy.spatial.transform import Rotation

TYPES = {5126: np.float32, 5125: np.uint32, 5123: np.uint16, 5121: np.uint8}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


class PlayedGltf:
    """The transforms of all nodes in the world at the key times of one animation; between its keys, a node stays."""

    def __init__(self, path: Path, animation: str) -> None:
        self.file = pygltflib.GLTF2().load_binary(str(path))
        self.names = [node.name for node in self.file.nodes]
        tracks = {}
        (chosen,) = (a for a in self.file.animations if a.name == animation)
        self.times = np.unique(np.concatenate([self.array(s.input)[:, 0] for s in chosen.samplers]))
        for channel in chosen.channels:
            sampler = chosen.samplers[channel.sampler]
            row = np.searchsorted(self.array(sampler.input)[:, 0], self.times, side="right") - 1
            tracks[channel.target.node, channel.target.path] = self.array(sampler.output)[row.clip(0)]
        self.world: dict[int, np.ndarray] = {}
        for node in self.file.scenes[self.file.scene].nodes:
            self._descend(node, np.eye(4), tracks)

    def array(self, index: int) -> np.ndarray:
        accessor = self.file.accessors[index]
        view = self.file.bufferViews[accessor.bufferView]
        numbers = np.frombuffer(
            self.file.binary_blob(), TYPES[accessor.componentType], accessor.count * WIDTHS[accessor.type],
            view.byteOffset + (accessor.byteOffset or 0),
        )  # fmt: skip
        return numbers.reshape(accessor.count, -1)

    def _descend(self, index: int, above: np.ndarray, tracks: dict) -> None:
        node = self.file.nodes[index]
        local = np.tile(np.eye(4), (len(self.times), 1, 1))
        turn = tracks.get((index, "rotation"), node.rotation or [0, 0, 0, 1])
        local[:, :3, :3] = Rotation.from_quat(turn).as_matrix() * np.array(node.scale or [1, 1, 1])
        local[:, :3, 3] = tracks.get((index, "translation"), node.translation or 0)
        self.world[index] = above @ local
        for child in node.children:
            self._descend(child, self.world[index], tracks)

    def position(self, name: str) -> np.ndarray:
        """(time, 3)."""
        return self.world[self.names.index(name)][:, :3, 3]

    def skinned(self) -> np.ndarray:
        """The vertices of the first mesh, (time, vertices, 3)."""
        node = next(node for node in self.file.nodes if node.mesh is not None)
        skin = self.file.skins[node.skin]
        attributes = self.file.meshes[node.mesh].primitives[0].attributes
        inverse = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        maps = np.stack([self.world[joint] for joint in skin.joints], axis=1) @ inverse
        joints, weights = self.array(attributes.JOINTS_0), self.array(attributes.WEIGHTS_0)
        of_vertex = np.einsum("tvkab,vk->tvab", maps[:, joints], weights)
        points = np.concatenate([self.array(attributes.POSITION), np.ones((len(joints), 1))], axis=1)
        return np.einsum("tvab,vb->tva", of_vertex, points)[..., :3]
