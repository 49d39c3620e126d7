from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import torch
import trimesh
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion

TYPES = {5126: np.float32, 5125: np.uint32, 5121: np.uint8}
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, frames=40)


@pytest.fixture(scope="module")
def path(motion: Motion, body: Body, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_motion(motion, body, tmp_path_factory.mktemp("glb"), ["glb"])[0]


class Scene:
    """Compute joints and skin of a glTF file over time from pygltflib's records by the rules of the format."""

    def __init__(self, path: Path) -> None:
        self.file = pygltflib.GLTF2().load(str(path))
        self.times, tracks = None, {}
        (animation,) = self.file.animations
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            self.times = self.array(sampler.input)
            tracks[channel.target.node, channel.target.path] = self.array(sampler.output)
        self.global_of: dict[int, np.ndarray] = {}
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
        local[:, :3, 3] = tracks.get((index, "translation"), node.translation or 0)
        if (index, "rotation") in tracks:
            local[:, :3, :3] = Rotation.from_quat(tracks[index, "rotation"]).as_matrix()
        self.global_of[index] = above @ local
        for child in node.children:
            self._descend(child, self.global_of[index], tracks)

    def skinned(self) -> np.ndarray:
        """(time, V, 3)."""
        node = next(node for node in self.file.nodes if node.mesh is not None)
        skin = self.file.skins[node.skin]
        attributes = self.file.meshes[node.mesh].primitives[0].attributes
        inverse = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
        maps = np.stack([self.global_of[joint] for joint in skin.joints], axis=1) @ inverse
        joints, weights = self.array(attributes.JOINTS_0), self.array(attributes.WEIGHTS_0)
        of_vertex = np.einsum("tvkab,vk->tvab", maps[:, joints], weights)
        points = np.concatenate([self.array(attributes.POSITION), np.ones((len(joints), 1))], axis=1)
        return np.einsum("tvab,vb->tva", of_vertex, points)[..., :3]


def test_joints_and_skin_read_by_pygltflib_are_the_motions(path: Path, motion: Motion, body: Body) -> None:
    scene = Scene(path)
    joints = np.stack([scene.global_of[joint][:, :3, 3] for joint in scene.file.skins[0].joints], axis=1)
    assert np.abs(joints - joints_world(motion)).max() < 1e-4
    assert scene.times[:, 0] == pytest.approx(motion.frame_times.numpy(), abs=1e-6)
    without_bulges = replace(body, posedirs_coefficients=torch.zeros_like(body.posedirs_coefficients))
    expected = without_bulges.pose(motion.parameters).vertices.numpy()
    assert np.abs(scene.skinned() - expected).max() < 1e-4


def test_the_file_follows_the_rules_of_gltf(path: Path) -> None:
    scene = Scene(path)
    for channel in scene.file.animations[0].channels:
        values = scene.array(scene.file.animations[0].samplers[channel.sampler].output)
        assert np.isfinite(values).all()
        if channel.target.path == "rotation":
            assert np.linalg.norm(values, axis=1) == pytest.approx(1, abs=1e-6)
            assert ((values[1:] * values[:-1]).sum(1) > 0).all()
    attributes = scene.file.meshes[0].primitives[0].attributes
    assert scene.array(attributes.WEIGHTS_0).sum(1) == pytest.approx(1, abs=1e-6)
    assert np.linalg.norm(scene.array(attributes.NORMAL), axis=1) == pytest.approx(1, abs=1e-5)
    for accessor in scene.file.accessors:
        assert scene.file.bufferViews[accessor.bufferView].byteOffset % 4 == 0
        array = scene.array(scene.file.accessors.index(accessor))
        assert np.array_equal(array.min(0), np.array(accessor.min, array.dtype))
        assert np.array_equal(array.max(0), np.array(accessor.max, array.dtype))


def test_trimesh_reads_a_closed_body_with_outward_faces(path: Path, body: Body) -> None:
    (mesh,) = trimesh.load(path, process=False).geometry.values()
    assert len(mesh.vertices) == len(body.vertex_joint)
    assert mesh.is_watertight and 0.03 < mesh.volume < 0.15


def test_frames_keep_their_times(body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, index=[5, 6, 9, 10, 17])
    scene = Scene(export_motion(motion, body, tmp_path, ["glb"])[0])
    assert scene.times[:, 0] == pytest.approx(np.array([0, 1, 4, 5, 12]) / 30, abs=1e-6)
