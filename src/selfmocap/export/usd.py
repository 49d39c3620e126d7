"""Write Universal Scene Description (`.usd`, UsdSkel): a skinned mesh of the person's shape with its animation."""
# pyright: reportAttributeAccessIssue=false
# (pxr defines its names when it is imported)

from pathlib import Path
from typing import Any

import numpy as np

from selfmocap.body_model.body import Body
from selfmocap.body_model.skeleton import JOINT_PARENTS
from selfmocap.export.camera import MovingView
from selfmocap.export.formats import usd_library
from selfmocap.export.options import ExportOptions
from selfmocap.export.rig import ExportRig, export_rig, rotation_to_output
from selfmocap.export.segments import Segment
from selfmocap.export.skin import INFLUENCES, skinned_mesh
from selfmocap.geometry.rotations import continuous_quaternions
from selfmocap.io.atomic import atomic_write

_APERTURE = 36.0
"""Width of the film of a moving camera; only its ratio to the focal length counts."""


def write_usd(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment at its constant rate, one time code per frame from 0; the default unit is m.

    The file states its axis and unit, so that importers convert. A camera that moves is animated too."""
    usd_library()
    from pxr import Sdf, Usd, UsdGeom, UsdSkel  # pyright: ignore

    skeleton = export_rig(segment, body, options, unit="m")
    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, skeleton.up_axis.upper())
    UsdGeom.SetStageMetersPerUnit(stage, skeleton.metres)
    stage.SetTimeCodesPerSecond(skeleton.fps)
    stage.SetFramesPerSecond(skeleton.fps)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(len(segment) - 1)
    stage.SetDefaultPrim(UsdSkel.Root.Define(stage, "/person").GetPrim())
    _define_skeleton(stage, skeleton)
    _define_animation(stage, skeleton)
    mesh = _define_mesh(stage, skeleton, body)
    for prim in (mesh, stage.GetPrimAtPath("/person/skeleton")):
        binding = UsdSkel.BindingAPI.Apply(prim)
        binding.CreateSkeletonRel().SetTargets([Sdf.Path("/person/skeleton")])
        binding.CreateAnimationSourceRel().SetTargets([Sdf.Path("/person/skeleton/motion")])
    if segment.view is not None:
        _define_camera(stage, skeleton, segment.view, options)
    with atomic_write(path) as temporary:
        stage.Export(str(temporary))


def _joint_paths(skeleton: ExportRig) -> list[str]:
    """Return the path of each joint from the root. Colons are replaced, as they would mean a namespace."""
    paths: list[str] = []
    for name, parent in zip(skeleton.names, JOINT_PARENTS, strict=True):
        prefix = f"{paths[parent]}/" if parent >= 0 else ""
        paths.append(prefix + name.replace(":", "_"))
    return paths


def _define_skeleton(stage: Any, skeleton: ExportRig) -> None:
    from pxr import Gf, UsdSkel, Vt  # pyright: ignore

    rest = skeleton.rest_joints.numpy()
    local = np.stack([rest[j] - (rest[p] if p >= 0 else 0) for j, p in enumerate(JOINT_PARENTS)])

    def translations(positions: np.ndarray) -> Any:
        return Vt.Matrix4dArray(
            [Gf.Matrix4d(1).SetTranslate(Gf.Vec3d(*position)) for position in positions.tolist()]
        )

    prim = UsdSkel.Skeleton.Define(stage, "/person/skeleton")
    prim.CreateJointsAttr(_joint_paths(skeleton))
    prim.CreateBindTransformsAttr(translations(rest))
    prim.CreateRestTransformsAttr(translations(local))


def _define_animation(stage: Any, skeleton: ExportRig) -> None:
    from pxr import Gf, UsdSkel, Vt  # pyright: ignore

    rest = skeleton.rest_joints.numpy()
    offsets = np.stack([rest[j] - rest[max(p, 0)] for j, p in enumerate(JOINT_PARENTS)]).astype(np.float32)
    prim = UsdSkel.Animation.Define(stage, "/person/skeleton/motion")
    prim.CreateJointsAttr(_joint_paths(skeleton))
    prim.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1, 1, 1)] * len(JOINT_PARENTS)))
    rotations, translations = prim.CreateRotationsAttr(), prim.CreateTranslationsAttr()
    quaternions = continuous_quaternions(skeleton.R_parent_joint).tolist()
    for frame, (joints, root) in enumerate(zip(quaternions, skeleton.p_world_root.numpy(), strict=True)):
        rotations.Set(Vt.QuatfArray([Gf.Quatf(w, x, y, z) for x, y, z, w in joints]), frame)
        translations.Set(
            Vt.Vec3fArray.FromNumpy(np.concatenate([[root], offsets[1:]]).astype(np.float32)), frame
        )


def _define_camera(stage: Any, skeleton: ExportRig, view: MovingView, options: ExportOptions) -> None:
    from pxr import Gf, UsdGeom  # pyright: ignore

    R_out_world = rotation_to_output(options)
    matrices = np.tile(np.eye(4), (len(view.R_world_view), 1, 1))
    # USD multiplies row vectors from the left.
    matrices[:, :3, :3] = (R_out_world @ view.R_world_view).mT.numpy()
    matrices[:, 3, :3] = (view.p_world_view @ R_out_world.T / skeleton.metres).numpy()
    prim = UsdGeom.Camera.Define(stage, "/person/camera")
    width, height = (size / focal for size, focal in zip(view.size, view.focal, strict=True))
    prim.CreateHorizontalApertureAttr(_APERTURE)
    prim.CreateVerticalApertureAttr(_APERTURE * height / width)
    prim.CreateFocalLengthAttr(_APERTURE / width)
    prim.CreateClippingRangeAttr(Gf.Vec2f(0.01 / skeleton.metres, 1000 / skeleton.metres))
    transform = prim.AddTransformOp()
    for frame, matrix in enumerate(matrices.tolist()):
        transform.Set(Gf.Matrix4d(matrix), frame)


def _define_mesh(stage: Any, skeleton: ExportRig, body: Body) -> Any:
    from pxr import Gf, UsdGeom, UsdSkel, Vt  # pyright: ignore

    mesh = skinned_mesh(skeleton, body)
    prim = UsdGeom.Mesh.Define(stage, "/person/body")
    prim.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(mesh.vertices))
    prim.CreateFaceVertexCountsAttr(Vt.IntArray([3] * len(mesh.faces)))
    prim.CreateFaceVertexIndicesAttr(Vt.IntArray(mesh.faces.ravel().tolist()))
    prim.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(mesh.normals))
    prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    prim.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    prim.CreateExtentAttr([Gf.Vec3f(*end.tolist()) for end in (mesh.vertices.min(0), mesh.vertices.max(0))])
    binding = UsdSkel.BindingAPI.Apply(prim.GetPrim())
    binding.CreateGeomBindTransformAttr(Gf.Matrix4d(1))
    binding.CreateJointIndicesPrimvar(False, INFLUENCES).Set(Vt.IntArray(mesh.joints.ravel().tolist()))
    binding.CreateJointWeightsPrimvar(False, INFLUENCES).Set(Vt.FloatArray(mesh.weights.ravel().tolist()))
    return prim.GetPrim()
