import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from selfmocap.body_model.body import Body
from selfmocap.export.options import ExportOptions
from selfmocap.export.write import export_motion
from tests.helpers.exported_files import joints_world, wandering_motion


def test_usd_gives_equal_joints_and_skin(body: Body, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="pip install 'selfmocap[usd]'")
    from pxr import Usd, UsdGeom, UsdSkel

    motion = wandering_motion(body, frames=12)
    (path,) = export_motion(motion, body, tmp_path, ["usd"], ExportOptions(names="mixamo"))
    stage = Usd.Stage.Open(str(path))
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Y", 1.0)
    assert (stage.GetTimeCodesPerSecond(), stage.GetEndTimeCode()) == (30.0, 11.0)
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache = UsdSkel.Cache()
    assert cache.Populate(root, Usd.PrimDefaultPredicate)
    (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
    query = cache.GetSkelQuery(binding.GetSkeleton())
    (skinned,) = binding.GetSkinningTargets()
    points = UsdGeom.Mesh(skinned.GetPrim()).GetPointsAttr().Get()
    without_bulges = replace(body, posedirs_coefficients=torch.zeros_like(body.posedirs_coefficients))
    expected = without_bulges.pose(motion.parameters).vertices.numpy()
    assert query.GetJointOrder()[4] == "mixamorig_Hips/mixamorig_LeftUpLeg/mixamorig_LeftLeg"
    for frame in range(len(motion)):
        joints = np.array(query.ComputeJointSkelTransforms(frame))[:, 3, :3]
        assert np.abs(joints - joints_world(motion)[frame]).max() < 1e-4
        moved = type(points)(points)
        assert skinned.ComputeSkinnedPoints(query.ComputeSkinningTransforms(frame), moved, frame)
        assert np.abs(np.array(moved) - expected[frame]).max() < 1e-4


def test_z_up_in_cm_is_stated_in_the_file(body: Body, tmp_path: Path) -> None:
    pytest.importorskip("pxr", reason="pip install 'selfmocap[usd]'")
    from pxr import Usd, UsdGeom, UsdSkel

    motion = wandering_motion(body, frames=3)
    (path,) = export_motion(motion, body, tmp_path, ["usd"], ExportOptions(up_axis="z", unit="cm"))
    stage = Usd.Stage.Open(str(path))
    assert (UsdGeom.GetStageUpAxis(stage), UsdGeom.GetStageMetersPerUnit(stage)) == ("Z", 0.01)
    skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath("/person/skeleton"))
    query = UsdSkel.Cache().GetSkelQuery(skeleton)
    x, y, z = 100 * joints_world(motion)[2].T
    joints = np.array(query.ComputeJointSkelTransforms(2))[:, 3, :3]
    assert np.abs(joints - np.stack([x, -z, y], axis=1)).max() < 0.01


def test_without_its_package_the_error_names_the_remedy_and_nothing_is_written(
    body: Body, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pxr", None)
    with pytest.raises(ImportError, match=r"pip install 'selfmocap\[usd\]'"):
        export_motion(wandering_motion(body, frames=2), body, tmp_path, ["bvh", "usd"])
    assert list(tmp_path.iterdir()) == []
