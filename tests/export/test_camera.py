"""A moving camera in exports: read again, it projects the world as the motion's camera does."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pygltflib
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.export.camera import write_camera
from selfmocap.export.options import ExportOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import wandering_motion
from tests.helpers.played_gltf import TYPES, WIDTHS

P_WORLD = torch.tensor([[0.3, 1.1, -0.4], [-0.6, 0.2, 0.5]])


@pytest.fixture(scope="module")
def filmed(body: Body) -> Motion:
    """A motion before a camera that turns and moves."""
    motion = wandering_motion(body, frames=12)
    time = torch.linspace(0, 1, 12)
    R = roma.rotvec_to_rotmat(time[:, None] * torch.tensor([0.2, 0.5, 0.1])) @ torch.diag(
        torch.tensor([1.0, -1, -1])
    )
    eye = torch.stack([time, 1.5 + 0 * time, 6 - time], dim=1)
    camera = replace(motion.camera, R_cam_world=R, t_cam_world=-(R @ eye[..., None])[..., 0])
    return replace(motion, camera=camera)


def expected_pixels(motion: Motion) -> np.ndarray:
    return motion.camera.project(P_WORLD.expand(len(motion), 2, 3)).numpy()


def pixels(motion: Motion, R: np.ndarray, eye: np.ndarray, focal: tuple[float, float]) -> np.ndarray:
    """Project by the rules of glTF and USD: the camera looks along -z, y is up."""
    p = np.einsum("nji,npj->npi", R, P_WORLD.numpy() - eye[:, None])
    center = motion.camera.center.numpy()
    return np.stack([-p[..., 0] / p[..., 2] * focal[0], p[..., 1] / p[..., 2] * focal[1]], axis=-1) + center


def test_glb_has_the_moving_camera(filmed: Motion, body: Body, tmp_path: Path) -> None:
    file = pygltflib.GLTF2().load(str(export_motion(filmed, body, tmp_path, ["glb"])[0]))
    (number,) = (n for n, node in enumerate(file.nodes) if node.camera is not None)
    assert number in file.scenes[0].nodes
    tracks = {}
    for channel in file.animations[0].channels:
        if channel.target.node == number:
            accessor = file.accessors[file.animations[0].samplers[channel.sampler].output]
            view = file.bufferViews[accessor.bufferView]
            count = accessor.count * WIDTHS[accessor.type]
            numbers = np.frombuffer(file.binary_blob(), TYPES[accessor.componentType], count, view.byteOffset)
            tracks[channel.target.path] = numbers.reshape(accessor.count, -1)
    lens = file.cameras[0].perspective
    fy = filmed.image_size[1] / 2 / math.tan(lens.yfov / 2)
    fx = filmed.image_size[0] / 2 / (math.tan(lens.yfov / 2) * lens.aspectRatio)
    R = Rotation.from_quat(tracks["rotation"]).as_matrix()
    found = pixels(filmed, R, tracks["translation"], (fx, fy))
    np.testing.assert_allclose(found, expected_pixels(filmed), atol=0.05)


@pytest.mark.parametrize("options", [ExportOptions(), ExportOptions(up_axis="z", unit="cm")])
def test_usd_has_the_moving_camera(
    filmed: Motion, body: Body, tmp_path: Path, options: ExportOptions
) -> None:
    pxr = pytest.importorskip("pxr")
    from pxr import Usd, UsdGeom  # pyright: ignore

    assert pxr
    stage = Usd.Stage.Open(str(export_motion(filmed, body, tmp_path, ["usd"], options)[0]))
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/person/camera"))
    width = camera.GetHorizontalApertureAttr().Get() / camera.GetFocalLengthAttr().Get()
    focal = filmed.image_size[0] / width
    matrices = np.array([camera.ComputeLocalToWorldTransform(frame) for frame in range(len(filmed))])
    z_up = np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]) if options.up_axis == "z" else np.eye(3)
    R, eye = (
        z_up @ matrices[:, :3, :3].swapaxes(1, 2),
        matrices[:, 3, :3] @ z_up.T * (0.01 if options.unit else 1),
    )
    np.testing.assert_allclose(pixels(filmed, R, eye, (focal, focal)), expected_pixels(filmed), atol=0.05)


def test_camera_json_has_every_frame(filmed: Motion, tmp_path: Path) -> None:
    write_camera(tmp_path / "camera.json", filmed)
    document = json.loads((tmp_path / "camera.json").read_text())
    assert [frame["frame"] for frame in document["frames"]] == filmed.frame_index.tolist()
    R = Rotation.from_quat([frame["quaternion"] for frame in document["frames"]]).as_matrix()
    eye = np.array([frame["position"] for frame in document["frames"]])
    found = pixels(filmed, R, eye, tuple(document["focal_px"]))
    np.testing.assert_allclose(found, expected_pixels(filmed), atol=0.05)
    static = replace(
        filmed, camera=replace(filmed.camera, R_cam_world=torch.eye(3), t_cam_world=torch.zeros(3))
    )
    with pytest.raises(ValueError, match="static one"):
        write_camera(tmp_path / "camera.json", static)


def test_resampling_keeps_the_camera_with_the_motion(filmed: Motion, body: Body, tmp_path: Path) -> None:
    path = export_motion(filmed, body, tmp_path, ["glb"], ExportOptions(fps=2 * filmed.fps))[0]
    file = pygltflib.GLTF2().load(str(path))
    counts = {file.accessors[s.output].count for s in file.animations[0].samplers}
    assert counts == {2 * len(filmed) - 1}
