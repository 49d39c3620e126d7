"""Characters of several programs move like the body: read again by another implementation of the format."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.body_model.motion import Motion
from selfmocap.body_model.skeleton import JOINT
from selfmocap.export.characters.gltf import read_gltf
from selfmocap.export.characters.gltf_character import gltf_character
from selfmocap.export.characters.source import source_motion
from selfmocap.export.characters.write import retarget_files
from selfmocap.export.segments import concat_segments, split_into_segments
from tests.helpers.exported_files import joints_world, wandering_motion
from tests.helpers.played_gltf import PlayedGltf
from tests.helpers.rigs import RIGS, Rig, boxes, cartoon_rig, unreal_rig, write_rig
from tests.helpers.walking import LEVEL, walking_motion

ARMS = (("shoulder", "elbow"), ("elbow", "wrist"))
LEGS = (("hip", "knee"), ("knee", "ankle"))


@pytest.fixture(scope="module")
def walk(body: Body) -> Motion:
    return walking_motion(body, body.keypoint_proxy("coco-23"), LEVEL, seconds=2.0)


@pytest.fixture(scope="module")
def flight(body: Body) -> Motion:
    """Large rotations of all joints, far above the floor."""
    motion = wandering_motion(body, frames=20)
    lifted = motion.parameters.p_world_root + torch.tensor([0.0, 5.0, 0.0])
    parameters = type(motion.parameters)(motion.parameters.betas, motion.parameters.R_parent_joint, lifted)
    return Motion.from_parameters(body, parameters, motion.camera, motion.image_size, motion.frame_times)


def retargeted(rig: Rig, motion: Motion, body: Body, folder: Path) -> PlayedGltf:
    rig_file = write_rig(rig, folder / "rig.glb")
    retarget_files({"walk": motion}, body, rig_file, folder / "animated.glb")
    return PlayedGltf(folder / "animated.glb", "walk")


def angles_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def bone_errors_deg(played: PlayedGltf, rig: Rig, motion: Motion, bones: tuple) -> np.ndarray:
    p = joints_world(motion)

    def of(joint: str) -> np.ndarray:
        return played.position(rig.names[rig.joint_of[joint]])

    return np.stack([
        angles_deg(of(f"{s}_{b}") - of(f"{s}_{a}"), p[:, JOINT[f"{s}_{b}"]] - p[:, JOINT[f"{s}_{a}"]])
        for s in ("left", "right") for a, b in bones
    ])  # fmt: skip


@pytest.mark.parametrize("make", RIGS.values(), ids=RIGS)
def test_limbs_point_where_the_bodys_do(
    make: Callable[[], Rig], flight: Motion, body: Body, tmp_path: Path
) -> None:
    rig = make()
    played = retargeted(rig, flight, body, tmp_path)
    assert played.times == pytest.approx(flight.frame_times.numpy(), abs=1e-6)
    assert bone_errors_deg(played, rig, flight, ARMS + LEGS).max() < 0.1


@pytest.mark.parametrize("make", RIGS.values(), ids=RIGS)
def test_planted_feet_stand(make: Callable[[], Rig], walk: Motion, body: Body, tmp_path: Path) -> None:
    rig = make()
    played = retargeted(rig, walk, body, tmp_path)
    planted = source_motion(concat_segments(split_into_segments(walk)), body).planted
    vertices, (_, _, owners) = played.skinned(), boxes(rig)
    assert planted.any(2).mean() > 0.4
    for k, side in enumerate(("left", "right")):
        foot = np.isin(owners, [rig.joint_of[f"{side}_ankle"], rig.joint_of[f"{side}_foot"]])
        heights = vertices[:, foot, 1].min(1)
        assert np.abs(heights[planted[:, k].any(1)]).max() < 0.01
        assert heights.min() > -0.01
        flat = planted[:, k].all(1)
        still = flat[1:] & flat[:-1]
        slide = np.linalg.norm(np.diff(vertices[:, foot].mean(1)[:, [0, 2]], axis=0), axis=1)[still]
        assert slide.max() < 0.002
        along = boxes(rig)[0][foot, 2]
        ends = [
            vertices[:, foot][:, np.abs(along - end) < 0.02].mean(1) for end in (along.min(), along.max())
        ]
        steps = np.linalg.norm(np.diff(np.stack(ends, 1)[..., [0, 2]], axis=0), axis=-1)
        assert steps.min(1)[still].max() < 0.0005, "one end of a flat foot stands"
    errors = bone_errors_deg(played, rig, walk, ARMS)
    assert errors.max() < 0.1
    if make is not cartoon_rig:  # Its feet are half as far from its hips.
        assert bone_errors_deg(played, rig, walk, LEGS).mean() < 3


def test_the_hips_of_short_legs_move_less(walk: Motion, body: Body, tmp_path: Path) -> None:
    rig = cartoon_rig()
    hips = retargeted(rig, walk, body, tmp_path).position(rig.names[rig.joint_of["pelvis"]])
    source = joints_world(walk)[:, JOINT["pelvis"]]
    ratio = np.linalg.norm(hips[-1] - hips[0]) / np.linalg.norm(source[-1] - source[0])
    assert 0.4 < ratio < 0.6


def test_the_file_keeps_what_it_had(walk: Motion, body: Body, tmp_path: Path) -> None:
    rig_file = write_rig(unreal_rig(), tmp_path / "rig.glb")
    retarget_files({"idle": walk, "walk": walk[:30]}, body, rig_file, tmp_path / "animated.glb")
    before, after = read_gltf(rig_file), read_gltf(tmp_path / "animated.glb")
    assert [a["name"] for a in after.rows("animations")] == ["idle", "idle-2", "walk"]
    assert after.data[: len(before.data)] == before.data
    for name in ("nodes", "meshes", "skins", "scenes"):
        assert after.rows(name) == before.rows(name)
    assert len(PlayedGltf(tmp_path / "animated.glb", "walk").times) == 30


def test_a_file_in_another_pose_than_its_mesh_was_bound_in_moves_equally(
    walk: Motion, body: Body, tmp_path: Path
) -> None:
    gltf = read_gltf(write_rig(unreal_rig(), tmp_path / "rig.glb"))
    nodes = [dict(node) for node in gltf.rows("nodes")]
    for node in nodes:
        if node["name"] in ("upperarm_l", "calf_r", "pelvis"):
            node["rotation"] = [0.5, 0.5, 0.5, 0.5] if node["name"] != "pelvis" else node["rotation"]
    posed = type(gltf)(gltf.path, gltf.document | {"nodes": nodes}, gltf.data)
    assert np.abs(gltf_character(posed, {}).local - gltf_character(gltf, {}).local).max() < 1e-5


def test_twist_bones_share_the_twist(body: Body, tmp_path: Path) -> None:
    """A palm that turns by 60 degrees turns a twist bone in the middle of the forearm by 30."""
    motion = walking_motion(body, body.keypoint_proxy("coco-23"), LEVEL, seconds=1.0)
    R = motion.parameters.R_parent_joint.clone()
    angle = torch.linspace(0, torch.pi / 3, len(R), dtype=R.dtype)
    R[:, JOINT["left_wrist"]] = torch.eye(3, dtype=R.dtype)
    turn = torch.eye(3, dtype=R.dtype).repeat(len(R), 1, 1)
    turn[:, 1, 1] = turn[:, 2, 2] = angle.cos()
    turn[:, 2, 1], turn[:, 1, 2] = angle.sin(), -angle.sin()
    R[:, JOINT["left_wrist"]] = turn
    parameters = type(motion.parameters)(motion.parameters.betas, R, motion.parameters.p_world_root)
    moved = Motion.from_parameters(body, parameters, motion.camera, motion.image_size, motion.frame_times)
    played = retargeted(unreal_rig(), moved, body, tmp_path)
    forearm, twist, hand = (
        played.world[played.names.index(name)][:, :3, :3]
        for name in ("lowerarm_l", "lowerarm_twist_01_l", "hand_l")
    )

    def turned_deg(R: np.ndarray) -> np.ndarray:
        relative = forearm.swapaxes(1, 2) @ R
        change = relative[0].T @ relative
        return np.degrees(np.arccos(np.clip((np.trace(change, axis1=1, axis2=2) - 1) / 2, -1, 1)))

    assert turned_deg(hand)[-1] == pytest.approx(60, abs=1)
    assert turned_deg(twist)[-1] == pytest.approx(30, abs=1.5)


@pytest.mark.parametrize("make", RIGS.values(), ids=RIGS)
def test_knees_do_not_pop(make: Callable[[], Rig], walk: Motion, body: Body, tmp_path: Path) -> None:
    """The speed of a knee changes no more from frame to frame than the body's."""
    rig = make()
    played = retargeted(rig, walk, body, tmp_path)
    p = joints_world(walk)
    for side in ("left", "right"):
        joints = [f"{side}_{part}" for part in ("hip", "knee", "ankle")]
        ours = [played.position(rig.names[rig.joint_of[joint]]) for joint in joints]
        expected = [p[:, JOINT[joint]] for joint in joints]
        change, limit = (np.abs(np.diff(angles_deg(k - h, a - k), n=2)).max() for h, k, a in (ours, expected))
        assert change < limit + 3


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_few_frames_are_enough(frames: int, walk: Motion, body: Body, tmp_path: Path) -> None:
    rig = unreal_rig()
    played = retargeted(rig, walk[:frames], body, tmp_path)
    assert len(played.times) == frames
    assert np.isfinite(played.skinned()).all()
