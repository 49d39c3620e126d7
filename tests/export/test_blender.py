"""FBX files that Blender makes, read again."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from selfmocap.body_model.body import Body
from selfmocap.export import blender
from selfmocap.export.blender import convert_with_blender
from selfmocap.export.characters.write import retarget_files
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig_options import RigOptions
from selfmocap.export.scene import export_scene
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import wandering_motion
from tests.helpers.played_gltf import PlayedGltf
from tests.helpers.rigs import mixamo_rig, write_rig

needs_blender = pytest.mark.skipif(
    importlib.util.find_spec("bpy") is None and shutil.which("blender") is None,
    reason="Blender is not installed: pip install 'selfmocap[fbx]'",
)


def farthest_mm(found: PlayedGltf, expected: PlayedGltf, animation_starts: float = 0.0) -> float:
    """The largest distance of a joint in 10 frames."""
    rows = np.linspace(0, len(expected.times) - 1, 10).round().astype(int)
    others = np.searchsorted(found.times, expected.times[rows] - animation_starts - 1e-3)
    bones = {name for skin in expected.file.skins for name in (expected.names[n] for n in skin.joints)}
    errors = [expected.position(name)[rows] - found.position(name)[others] for name in bones]
    return 1000 * float(np.abs(errors).max())


@needs_blender
@pytest.mark.slow
def test_an_fbx_has_the_joints_of_the_glb_at_its_rate(body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, frames=20, fps=25.0)
    options = ExportOptions(rig=RigOptions("unreal"))
    glb, fbx = export_motion(motion, body, tmp_path, ["glb", "fbx"], options)
    content = fbx.read_bytes()
    assert content.startswith(b"Kaydara FBX Binary") and b"motion" in content
    convert_with_blender([fbx], tmp_path / "again.glb")
    again = PlayedGltf(tmp_path / "again.glb", "motion")
    assert again.times == pytest.approx(np.arange(20) / 25, abs=1e-4)
    assert farthest_mm(again, PlayedGltf(glb, "motion")) < 1


@needs_blender
@pytest.mark.slow
def test_a_character_in_an_fbx_keeps_its_animation_and_gets_others(body: Body, tmp_path: Path) -> None:
    motion = wandering_motion(body, frames=12)
    character = write_rig(mixamo_rig(), tmp_path / "hero.glb")
    convert_with_blender([character], tmp_path / "hero.fbx")
    retarget_files({"person-1": motion}, body, tmp_path / "hero.fbx", tmp_path / "moving.fbx")
    convert_with_blender([tmp_path / "moving.fbx"], tmp_path / "moving.glb")
    retarget_files({"person-1": motion}, body, character, tmp_path / "expected.glb")
    found = PlayedGltf(tmp_path / "moving.glb", "person-1")
    assert {animation.name for animation in found.file.animations} == {"idle", "person-1"}
    assert farthest_mm(found, PlayedGltf(tmp_path / "expected.glb", "person-1")) < 1


@needs_blender
@pytest.mark.slow
def test_another_file_is_refused_and_nothing_is_left(body: Body, tmp_path: Path) -> None:
    (tmp_path / "hero.fbx").write_bytes(b"Kaydara FBX Binary  \x00" + bytes(500))
    with pytest.raises(ValueError, match=r"hero\.fbx: Blender failed to convert it"):
        retarget_files(
            {"p": wandering_motion(body, frames=2)}, body, tmp_path / "hero.fbx", tmp_path / "o.fbx"
        )
    assert [path.name for path in tmp_path.iterdir()] == ["hero.fbx"]


@pytest.mark.parametrize(
    ("version", "remedy"), [("3.13.1", "selfmocap[fbx]"), ("3.12.4", "needs Python 3.11")]
)
def test_without_blender_the_error_names_the_remedy(
    version: str, remedy: str, body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blender.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(blender.shutil, "which", lambda name: None)
    monkeypatch.setattr(blender.platform, "python_version_tuple", lambda: version.split("."))
    with pytest.raises(ImportError) as error:
        export_motion(wandering_motion(body, frames=2), body, tmp_path, ["bvh", "fbx"])
    assert remedy in str(error.value) and not list(tmp_path.iterdir())


def test_a_program_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hang").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "hang").chmod(0o755)
    monkeypatch.setattr(blender, "blender_command", lambda: [str(tmp_path / "hang")])
    monkeypatch.setattr(blender, "_MAX_SECONDS", 0.2)
    with pytest.raises(ValueError, match="timed out"):
        convert_with_blender([tmp_path / "a.glb"], tmp_path / "a.fbx")
    assert [path.name for path in tmp_path.iterdir()] == ["hang"]


@needs_blender
@pytest.mark.slow
def test_a_scene_has_a_skeleton_a_person_on_the_clock_of_the_video(body: Body, tmp_path: Path) -> None:
    people = {
        "person-1": wandering_motion(body, index=list(range(10))),
        "person-2": wandering_motion(body, index=list(range(6, 14)), seed=4),
    }
    (path,) = export_scene(people, body, tmp_path, ["fbx"])
    convert_with_blender([path], tmp_path / "again.glb")
    again = PlayedGltf(tmp_path / "again.glb", "scene")
    assert {"person-1_Armature", "person-2_Armature", "camera"} <= set(again.names)
    assert again.times[-1] == pytest.approx(13 / 30, abs=1e-3)
