"""One scene with all people and the camera, on the clock of the video."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.cli.main import main
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig_options import RigOptions
from selfmocap.export.scene import export_scene
from selfmocap.geometry.camera import Camera
from tests.helpers.exported_files import joints_world, wandering_motion
from tests.helpers.played_gltf import PlayedGltf


@pytest.fixture(scope="module")
def people(body: Body) -> dict[str, Motion]:
    """Two people, the second from 2 s on."""
    return {
        "person-1": wandering_motion(body, index=list(range(30))),
        "person-2": wandering_motion(body, index=list(range(60, 75)), seed=4),
    }


def with_moving_camera(motion: Motion) -> Motion:
    """The same motion seen by a camera that turns and moves along x by 1 m a second."""
    time = motion.frame_times.float()
    R = torch.diag(torch.tensor([1.0, -1.0, -1.0])).repeat(len(time), 1, 1)
    turn = torch.eye(3).repeat(len(time), 1, 1)
    turn[:, 0, 0] = turn[:, 2, 2] = (0.1 * time).cos()
    turn[:, 0, 2], turn[:, 2, 0] = (0.1 * time).sin(), -(0.1 * time).sin()
    R = R @ turn
    p = torch.stack([time, torch.ones_like(time), torch.zeros_like(time)], dim=1)
    camera = Camera(motion.camera.focal, motion.camera.center, R, -(R @ p[..., None])[..., 0])
    return replace(motion, camera=camera, joints_cam=camera.to_camera(torch.from_numpy(joints_world(motion))))


def test_all_people_and_the_camera_are_in_one_glb(
    people: dict[str, Motion], body: Body, tmp_path: Path
) -> None:
    chosen = ExportOptions(rig=RigOptions("mixamo", prefix="", origin="first-frame", t_pose=True))
    (path,) = export_scene(people, body, tmp_path, ["bvh", "glb"], chosen)
    played = PlayedGltf(path, "motion")
    assert len(set(played.names)) == len(played.names)
    animation = played.file.animations[0]
    for person, motion in people.items():
        node = played.names.index(f"{person}_LeftHand")
        (sampler,) = (c.sampler for c in animation.channels if c.target.node == node)
        times = played.array(animation.samplers[sampler].input)[:, 0]
        assert times == pytest.approx(motion.frame_times.numpy(), abs=1e-5)
    camera = played.file.cameras[0].perspective
    assert np.tan(camera.yfov / 2) == pytest.approx(360 / 1000)
    assert camera.aspectRatio == pytest.approx(1280 / 720)


def test_a_moving_camera_sees_the_person_where_the_video_shows_them(body: Body, tmp_path: Path) -> None:
    motion = with_moving_camera(wandering_motion(body, frames=20))
    (path,) = export_scene({"person-1": motion}, body, tmp_path, ["glb"])
    played = PlayedGltf(path, "motion")
    view = np.linalg.inv(played.world[played.names.index("camera")])
    head = played.position("person-1_Head")
    seen = np.einsum("tab,tb->ta", view[:, :3, :3], head) + view[:, :3, 3]
    lens = played.file.cameras[0].perspective
    half = np.tan(lens.yfov / 2)
    projected = np.stack([
        640 + 640 * seen[:, 0] / -seen[:, 2] / half / lens.aspectRatio, 360 - 360 * seen[:, 1] / -seen[:, 2] / half
    ], axis=1)  # fmt: skip
    expected = motion.joints_cam[:, JOINT["head"]].numpy()
    expected = 1000 * expected[:, :2] / expected[:, 2:] + [640, 360]
    assert np.abs(projected - expected).max() < 0.1


def test_usd_holds_the_same_scene(people: dict[str, Motion], body: Body, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="pip install 'selfmocap[usd]'")
    from pxr import Usd, UsdGeom, UsdSkel

    moving = {name: with_moving_camera(motion) for name, motion in people.items()}
    chosen = ExportOptions(up_axis="z", unit="cm")
    (path,) = export_scene(moving, body, tmp_path, ["usd"], chosen)
    stage = Usd.Stage.Open(str(path))
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0, 74)
    assert [prim.GetName() for prim in stage.GetDefaultPrim().GetChildren()] == [
        "person_1",
        "person_2",
        "camera",
    ]
    samples = UsdSkel.Animation(stage.GetPrimAtPath("/scene/person_2/skeleton/motion")).GetRotationsAttr()
    assert samples.GetTimeSamples()[0] == 60
    camera = UsdGeom.Camera(stage.GetPrimAtPath("/scene/camera")).GetCamera(15.0)
    view = np.array(camera.frustum.ComputeViewMatrix()).T
    hips = joints_world(moving["person-1"])[15, 0]
    seen = view @ [*(100 * hips[[0, 2, 1]] * [1, -1, 1]), 1]
    assert seen[:3] / 100 == pytest.approx(
        moving["person-1"].joints_cam[15, 0].numpy() * [1, -1, -1], abs=1e-3
    )


def test_the_command_writes_each_person_and_the_scene(people: dict[str, Motion], tmp_path: Path) -> None:
    for name, motion in people.items():
        (tmp_path / name).mkdir()
        motion.save(tmp_path / name / "motion.npz")
    with pytest.raises(SystemExit) as stop:
        main(["export", *(str(tmp_path / name / "motion.npz") for name in people), "--formats", "glb", "csv"])
    assert stop.value.code == 0
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert {"person-1/motion.glb", "person-2/motion.glb", "person-2/motion.csv", "scene.glb"} <= names
    assert "scene.csv" not in names


def test_no_motion_is_refused(body: Body, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one motion"):
        export_scene({}, body, tmp_path, ["glb"])
