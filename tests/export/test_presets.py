"""Skeletons of other programs: the person moves equally, and the animation plays on their rigs by names alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.datasets.bvh import read_bvh
from selfmocap.export.options import ExportOptions
from selfmocap.export.presets import PRESETS, Skeleton, preset_names
from selfmocap.export.rig_options import RigOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion
from tests.helpers.played_gltf import PlayedGltf
from tests.helpers.rigs import human


@pytest.fixture(scope="module")
def motion(body: Body) -> Motion:
    return wandering_motion(body, index=list(range(30, 50)))


def options(**rig: object) -> ExportOptions:
    return ExportOptions(rig=RigOptions(**rig))


@pytest.mark.parametrize("skeleton", PRESETS)
def test_joints_and_skin_move_equally_in_every_skeleton(
    skeleton: Skeleton, motion: Motion, body: Body, tmp_path: Path
) -> None:
    (smpl,) = export_motion(motion, body, tmp_path, ["glb"])
    expected = PlayedGltf(smpl, "motion").skinned()
    (path,) = export_motion(motion, body, tmp_path, ["glb"], options(skeleton=skeleton, root_bone=True))
    played = PlayedGltf(path, "motion")
    labels = preset_names(PRESETS[skeleton], None)
    for joint, name in labels.items():
        assert np.abs(played.position(name) - joints_world(motion)[:, JOINT[joint]]).max() < 1e-4, name
    knuckles = body.weights[[JOINT["left_hand"], JOINT["right_hand"]]].sum(0).numpy()
    same = slice(None) if "left_hand" in labels else knuckles == 0
    difference = np.abs(played.skinned() - expected)[:, same].max(2)
    if skeleton == "unreal":  # Skin between two bones is blended from the A-pose.
        assert np.quantile(difference, 0.9) < 0.005 and difference.max() < 0.1
    else:
        assert difference.max() < 0.002


@pytest.mark.parametrize("skeleton", PRESETS)
@pytest.mark.parametrize("up_axis", ["y", "z"])
def test_bvh_of_every_skeleton_is_read_again(
    skeleton: Skeleton, up_axis: str, motion: Motion, body: Body, tmp_path: Path
) -> None:
    chosen = ExportOptions(up_axis=up_axis, rig=RigOptions(skeleton, euler_order="XYZ"))
    (path,) = export_motion(motion, body, tmp_path, ["bvh"], chosen)
    assert {line.split(maxsplit=2)[2] for line in path.read_text().splitlines() if "CHANNELS 3" in line} == {
        "Xrotation Yrotation Zrotation"
    }
    read = read_bvh(path)
    labels = preset_names(PRESETS[skeleton], None)
    found = read.world()[1][:, [read.joint_names.index(name) for name in labels.values()]].numpy()
    expected = joints_world(motion)[:, [JOINT[joint] for joint in labels]]
    spans = [np.linalg.norm(p[:, :, None] - p[:, None], axis=-1) for p in (found, expected)]
    assert np.abs(spans[0] - spans[1]).max() < 1e-3


def test_the_animation_plays_on_mixamos_rig_by_names(motion: Motion, body: Body, tmp_path: Path) -> None:
    """A rig of other proportions whose bones have y along them, as all of Mixamo's have."""
    (path,) = export_motion(motion, body, tmp_path, ["glb"], options(skeleton="mixamo"))
    played, labels = PlayedGltf(path, "motion"), preset_names(PRESETS["mixamo"], None)
    joints = {name: row for name, row in human().items() if name in labels}
    children = {parent: name for name, (parent, _) in reversed(joints.items()) if parent}
    axes = {}
    for name, (_, p) in joints.items():
        y = joints[children[name]][1] - p if name in children else np.array([0.0, 1.0, 0.0])
        y = y / np.linalg.norm(y)
        hint = {"arm": [0, 0, 1.0 if "right" in name else -1.0], "leg": [-1.0, 0, 0], "": [1.0, 0, 0]}[
            "arm" if name.endswith(("collar", "shoulder", "elbow", "wrist"))
            else "leg" if name.endswith(("hip", "knee", "ankle", "foot")) else ""
        ]  # fmt: skip
        x = np.array(hint) - (np.array(hint) @ y) * y
        x /= np.linalg.norm(x)
        axes[name] = np.stack([x, y, np.cross(x, y)], axis=1)
    tracks = local_rotations(played)
    R, p = {}, {}
    for name, (parent, place) in joints.items():
        R[name] = (R[parent] if parent else np.eye(3)) @ tracks[labels[name]]
        offset = axes[parent].T @ (place - joints[parent][1]) if parent else np.zeros(3)
        p[name] = p[parent] + R[parent] @ offset if parent else np.zeros((len(played.times), 3))
    expected = joints_world(motion)
    for side in ("left", "right"):
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            a = p[f"{side}_{end}"] - p[f"{side}_{start}"]
            b = expected[:, JOINT[f"{side}_{end}"]] - expected[:, JOINT[f"{side}_{start}"]]
            cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
            assert np.degrees(np.arccos(cosine.clip(-1, 1))).max() < 3, (side, start)


def local_rotations(played: PlayedGltf) -> dict[str, np.ndarray]:
    tracks = {}
    for channel in played.file.animations[0].channels:
        if channel.target.path == "rotation":
            values = played.array(played.file.animations[0].samplers[channel.sampler].output)
            tracks[played.names[channel.target.node]] = Rotation.from_quat(values).as_matrix()
    return tracks


@pytest.mark.parametrize("skeleton", PRESETS)
def test_the_rest_pose_stands_on_the_floor_where_the_person_begins(
    skeleton: Skeleton, motion: Motion, body: Body, tmp_path: Path
) -> None:
    (path,) = export_motion(motion, body, tmp_path, ["glb"], options(skeleton=skeleton))
    file = PlayedGltf(path, "motion")
    vertices = file.array(file.file.meshes[0].primitives[0].attributes.POSITION)
    assert vertices[:, 1].min() == pytest.approx(0, abs=1e-5)
    first = joints_world(motion)[0, JOINT["pelvis"]]
    assert vertices[:, 0].mean() == pytest.approx(first[0], abs=0.05)
    assert vertices[:, 2].mean() == pytest.approx(first[2], abs=0.1)


def test_unreals_rest_pose_is_an_a_pose() -> None:
    left = PRESETS["unreal"].limb_directions()["left_shoulder"]
    right = PRESETS["unreal"].limb_directions()["right_shoulder"]
    assert left == pytest.approx([0.645, -0.761, -0.073], abs=0.01)
    assert right == pytest.approx(left * [-1, 1, 1])
    for joint in ("left_hip", "right_hip", "right_elbow"):
        assert np.linalg.det(PRESETS["unreal"].joint_axes(joint)) == pytest.approx(1)


def test_prefix_place_and_t_pose(motion: Motion, body: Body, tmp_path: Path) -> None:
    chosen = options(
        skeleton="mixamo", prefix="", in_place=True, origin="first-frame", t_pose=True, root_bone=True
    )
    (path,) = export_motion(motion, body, tmp_path, ["glb"], chosen)
    played = PlayedGltf(path, "motion")
    assert played.names[:2] == ["root", "Hips"]
    assert len(played.times) == len(motion) + 1
    hips = played.position("Hips")
    assert np.abs(hips[1:, [0, 2]]).max() < 1e-6 and np.ptp(hips[1:, 1]) > 0.01
    skin = played.skinned()[0]
    assert skin[:, 1].min() == pytest.approx(0, abs=1e-4)
    left = played.position("LeftHand")[0] - played.position("LeftArm")[0]
    assert left / np.linalg.norm(left) == pytest.approx([1, 0, 0], abs=1e-3)


def test_an_option_that_does_not_exist_is_refused() -> None:
    wrong: list[Callable[[], RigOptions]] = [
        lambda: RigOptions(prefix="a\n"), lambda: RigOptions(euler_order="XXY")
    ]  # fmt: skip
    for make in wrong:
        with pytest.raises((ValueError, TypeError), match="prefix|euler_order"):
            make()


def test_usd_of_every_skeleton(body: Body, motion: Motion, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="pip install 'selfmocap[usd]'")
    from pxr import Usd, UsdSkel

    for skeleton in PRESETS:
        (tmp_path / skeleton).mkdir()
        chosen = options(skeleton=skeleton, root_bone=True)
        (path,) = export_motion(motion, body, tmp_path / skeleton, ["usd"], chosen)
        stage = Usd.Stage.Open(str(path))
        assert stage.GetStartTimeCode() == 30
        cache, root = UsdSkel.Cache(), UsdSkel.Root(stage.GetDefaultPrim())
        assert cache.Populate(root, Usd.PrimDefaultPredicate)
        (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
        query = cache.GetSkelQuery(binding.GetSkeleton())
        names = [path.rpartition("/")[2] for path in query.GetJointOrder()]
        found = np.array(query.ComputeJointSkelTransforms(39.0))[:, 3, :3]
        for joint, name in preset_names(PRESETS[skeleton], None).items():
            expected = joints_world(motion)[9, JOINT[joint]]
            assert np.abs(found[names.index(name.replace(":", "_"))] - expected).max() < 1e-4
