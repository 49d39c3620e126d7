from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion
from tests.helpers.played_gltf import PlayedGltf


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, frames=40)


@pytest.fixture(scope="module")
def path(motion: Motion, body: Body, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_motion(motion, body, tmp_path_factory.mktemp("glb"), ["glb"])[0]


def test_joints_and_skin_read_by_pygltflib_are_the_motions(path: Path, motion: Motion, body: Body) -> None:
    scene = PlayedGltf(path, "motion")
    joints = np.stack([scene.world[joint][:, :3, 3] for joint in scene.file.skins[0].joints], axis=1)
    assert np.abs(joints - joints_world(motion)).max() < 1e-4
    assert scene.times == pytest.approx(motion.frame_times.numpy(), abs=1e-6)
    without_bulges = replace(body, posedirs_coefficients=torch.zeros_like(body.posedirs_coefficients))
    expected = without_bulges.pose(motion.parameters).vertices.numpy()
    assert np.abs(scene.skinned() - expected).max() < 1e-4


def test_the_file_follows_the_rules_of_gltf(path: Path) -> None:
    scene = PlayedGltf(path, "motion")
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


def test_frames_keep_their_times_on_the_clock_of_the_video(body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, index=[5, 6, 9, 10, 17])
    scene = PlayedGltf(export_motion(motion, body, tmp_path, ["glb"])[0], "motion")
    assert scene.times == pytest.approx(np.array([5, 6, 9, 10, 17]) / 30, abs=1e-6)
