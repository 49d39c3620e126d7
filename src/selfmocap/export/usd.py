"""Write Universal Scene Description (`.usd`, UsdSkel): a skinned mesh of the person's shape with its animation."""
# pyright: reportAttributeAccessIssue=false
# (pxr defines its names when it is imported)

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from selfmocap.body_model.body import Body
from selfmocap.export.animated_skeleton import AnimatedSkeleton, animated_skeleton
from selfmocap.export.camera_track import CameraTrack, camera_of_segment
from selfmocap.export.formats import usd_library
from selfmocap.export.options import METRES, ExportOptions
from selfmocap.export.rig import rotation_to_output
from selfmocap.export.segments import Segment
from selfmocap.export.skin import INFLUENCES, skinned_mesh
from selfmocap.geometry.rotations import continuous_quaternions
from selfmocap.io.atomic import atomic_write

_APERTURE_MM = 36.0
"""Width of the sensor; only its ratio to the focal length matters."""


def write_usd(path: Path, segment: Segment, body: Body, options: ExportOptions) -> None:
    """Write a segment at its constant rate on the video's clock: time code = time * rate; the default unit is m.

    The file states its axis and unit, so that importers convert. A camera that moves is animated too, unless an option
    moves the person in the world."""
    stage = _stage(segment.fps, options)
    _define_person(stage, "/person", segment, body, options)
    stage.SetDefaultPrim(stage.GetPrimAtPath("/person"))
    if options.rig.keeps_world and (camera := camera_of_segment(segment)) is not None:
        _define_camera(stage, "/person/camera", camera, options)
    _export(stage, path)


def write_usd_scene(
    path: Path, people: Mapping[str, Segment], body: Body, options: ExportOptions, camera: CameraTrack | None
) -> None:
    """Write all people, and the camera, below `/scene` on the video's clock. Segments share one rate."""
    stage = _stage(next(iter(people.values())).fps, options)
    from pxr import UsdGeom  # pyright: ignore

    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/scene").GetPrim())
    for person, segment in people.items():
        _define_person(stage, f"/scene/{_identifier(person)}", segment, body, options)
    if camera is not None:
        _define_camera(stage, "/scene/camera", camera, options)
    _export(stage, path)


def _stage(fps: float, options: ExportOptions) -> Any:
    usd_library()
    from pxr import Usd, UsdGeom  # pyright: ignore

    stage = Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, options.up_axis.upper())
    UsdGeom.SetStageMetersPerUnit(stage, METRES[options.unit or "m"])
    stage.SetTimeCodesPerSecond(fps)
    stage.SetFramesPerSecond(fps)
    return stage


def _export(stage: Any, path: Path) -> None:
    codes = [code for prim in stage.Traverse() for a in prim.GetAttributes() for code in a.GetTimeSamples()]
    stage.SetStartTimeCode(min(codes))
    stage.SetEndTimeCode(max(codes))
    with atomic_write(path) as temporary:
        stage.Export(str(temporary))


def _identifier(name: str) -> str:
    """Return a name without the characters that USD does not allow in a path; colons would mean a namespace."""
    text = re.sub(r"\W", "_", name, flags=re.ASCII)
    return text if text[:1].isidentifier() else f"_{text}"


def _define_person(stage: Any, place: str, segment: Segment, body: Body, options: ExportOptions) -> None:
    from pxr import Sdf, UsdSkel  # pyright: ignore

    skeleton = animated_skeleton(segment, body, options, unit="m")
    UsdSkel.Root.Define(stage, place)
    _define_skeleton(stage, place, skeleton)
    _define_animation(stage, place, skeleton)
    mesh = _define_mesh(stage, place, skeleton, body)
    for prim in (mesh, stage.GetPrimAtPath(f"{place}/skeleton")):
        binding = UsdSkel.BindingAPI.Apply(prim)
        binding.CreateSkeletonRel().SetTargets([Sdf.Path(f"{place}/skeleton")])
        binding.CreateAnimationSourceRel().SetTargets([Sdf.Path(f"{place}/skeleton/motion")])


def _joint_paths(skeleton: AnimatedSkeleton) -> list[str]:
    """Return the path of each joint from the first."""
    paths: list[str] = []
    for name, parent in zip(skeleton.names, skeleton.parents, strict=True):
        prefix = f"{paths[parent]}/" if parent >= 0 else ""
        paths.append(prefix + _identifier(name))
    return paths


def _matrices(R: Float[ndarray, "joints 3 3"], p: Float[ndarray, "joints 3"]) -> Any:
    """Convert to USD's matrices, which act on rows."""
    from pxr import Gf, Vt  # pyright: ignore

    rows = np.tile(np.eye(4), (len(R), 1, 1))
    rows[:, :3, :3], rows[:, 3, :3] = R.swapaxes(1, 2), p
    return Vt.Matrix4dArray([Gf.Matrix4d(*row.ravel().tolist()) for row in rows])


def _define_skeleton(stage: Any, place: str, skeleton: AnimatedSkeleton) -> None:
    from pxr import UsdSkel  # pyright: ignore

    prim = UsdSkel.Skeleton.Define(stage, f"{place}/skeleton")
    prim.CreateJointsAttr(_joint_paths(skeleton))
    prim.CreateBindTransformsAttr(_matrices(skeleton.R_world_rest, skeleton.p_world_rest))
    prim.CreateRestTransformsAttr(_matrices(*skeleton.rest_transforms()))


def _define_animation(stage: Any, place: str, skeleton: AnimatedSkeleton) -> None:
    from pxr import Gf, UsdSkel, Vt  # pyright: ignore

    prim = UsdSkel.Animation.Define(stage, f"{place}/skeleton/motion")
    prim.CreateJointsAttr(_joint_paths(skeleton))
    prim.CreateScalesAttr(Vt.Vec3hArray([Gf.Vec3h(1, 1, 1)] * len(skeleton.names)))
    rotations, translations = prim.CreateRotationsAttr(), prim.CreateTranslationsAttr()
    quaternions = continuous_quaternions(torch.from_numpy(skeleton.R_parent_joint)).tolist()
    p = np.tile(skeleton.rest_transforms()[1], (len(quaternions), 1, 1))
    for joint, positions in skeleton.positions.items():
        p[:, joint] = positions
    for code, joints, places in zip(_time_codes(stage, skeleton.times), quaternions, p, strict=True):
        rotations.Set(Vt.QuatfArray([Gf.Quatf(w, x, y, z) for x, y, z, w in joints]), code)
        translations.Set(Vt.Vec3fArray.FromNumpy(places.astype(np.float32)), code)


def _time_codes(stage: Any, times: Float[ndarray, " time"]) -> list[float]:
    """Return times as frames of the stage, whole where they nearly are."""
    codes = times * stage.GetTimeCodesPerSecond()
    return np.where(np.abs(codes - codes.round()) < 1e-3, codes.round(), codes).tolist()


def _define_camera(stage: Any, place: str, camera: CameraTrack, options: ExportOptions) -> None:
    from pxr import Gf, UsdGeom  # pyright: ignore

    prim = UsdGeom.Camera.Define(stage, place)
    (fx, fy), (width, height) = camera.focal, camera.image_size
    metres = METRES[options.unit or "m"]
    prim.CreateHorizontalApertureAttr(_APERTURE_MM)
    prim.CreateVerticalApertureAttr(_APERTURE_MM * height / width * fx / fy)
    prim.CreateFocalLengthAttr(_APERTURE_MM * fx / width)
    prim.CreateClippingRangeAttr(Gf.Vec2f(0.01 / metres, 1000 / metres))
    R_out = rotation_to_output(options).numpy()
    move, turn = prim.AddTranslateOp(), prim.AddOrientOp()
    quaternions = continuous_quaternions(torch.from_numpy(R_out @ camera.R_world_camera)).tolist()
    codes = _time_codes(stage, camera.times) if camera.moves else [None]
    for code, (x, y, z, w), p in zip(codes, quaternions, camera.p_world @ R_out.T / metres, strict=True):
        at = () if code is None else (code,)
        move.Set(Gf.Vec3d(*p.tolist()), *at)
        turn.Set(Gf.Quatf(w, x, y, z), *at)


def _define_mesh(stage: Any, place: str, skeleton: AnimatedSkeleton, body: Body) -> Any:
    from pxr import Gf, UsdGeom, UsdSkel, Vt  # pyright: ignore

    mesh = skinned_mesh(skeleton.vertices, skeleton.weights, body.faces.numpy())
    prim = UsdGeom.Mesh.Define(stage, f"{place}/body")
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
